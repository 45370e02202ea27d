"""Placements: deployments on nodes' devices."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, select

from controlplane.errors import ConflictError
from controlplane.fleet.desired import Adapter, Deployment, Placement
from controlplane.storage.repositories.deployments import Deployments
from controlplane.storage.repositories.statements import put_row
from controlplane.storage.tables import deployments, nodes, placements


class Placements:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, placement_id: str) -> Placement | None:
        row = self._connection.execute(_joined().where(placements.c.placement_id == placement_id)).first()
        return None if row is None else _fact(row)

    def all(self) -> list[Placement]:
        """By id."""
        return [_fact(row) for row in self._connection.execute(_joined().order_by(placements.c.placement_id))]

    def put(self, placement: Placement) -> None:
        """Add the placement, or replace the one of that id.

        A deployment that is not stored yet is stored with it. One that is stored otherwise is another decision, to be
        taken first with `deployments.put`: ConflictError. So is a node that is not enrolled.
        """
        known = Deployments(self._connection)
        stored = known.get(placement.deployment.name)
        if stored is None:
            known.put(placement.deployment)
        elif stored != placement.deployment:
            raise ConflictError(
                f"deployment {placement.deployment.name} exists with another model, source or arguments"
            )
        if self._connection.scalar(select(nodes.c.name).where(nodes.c.name == placement.node)) is None:
            raise ConflictError(f"node {placement.node} is not enrolled")
        put_row(
            self._connection,
            placements,
            {
                "placement_id": placement.placement_id,
                "deployment": placement.deployment.name,
                "node": placement.node,
                "generation": placement.generation,
                "desired": placement.desired,
                "device_ids": list(placement.device_ids),
                "drain_seconds_max": placement.drain_seconds_max,
                "created_at": placement.created_at,
                "created_by": placement.created_by,
                "adapters": [asdict(adapter) for adapter in placement.adapters],
            },
        )

    def remove(self, placement_id: str) -> bool:
        """False: there was none. The deployment stays: see `Deployments.remove_unused`."""
        found = delete(placements).where(placements.c.placement_id == placement_id)
        return self._connection.execute(found).rowcount > 0


def _joined() -> Select[Any]:
    return select(placements, deployments.c.model, deployments.c.source, deployments.c.engine_args).join(deployments)


def _fact(row: Row[Any]) -> Placement:
    return Placement(
        placement_id=row.placement_id,
        deployment=Deployment(
            name=row.deployment, model=row.model, source=row.source, engine_args=tuple(row.engine_args)
        ),
        node=row.node,
        generation=row.generation,
        desired=row.desired,
        created_at=row.created_at,
        created_by=row.created_by,
        device_ids=tuple(row.device_ids),
        drain_seconds_max=row.drain_seconds_max,
        adapters=tuple(
            Adapter(item["name"], item["source"], item["revision"], item["wanted"]) for item in row.adapters
        ),
    )
