"""Enrolled nodes and their cordons."""

from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from controlplane.errors import ConflictError
from controlplane.fleet.desired import EnrolledNode
from controlplane.fleet.observed import NodeLocation
from controlplane.storage.repositories.statements import put_row
from controlplane.storage.tables import nodes, placements


class Nodes:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, name: str) -> EnrolledNode | None:
        row = self._connection.execute(select(nodes).where(nodes.c.name == name)).first()
        return None if row is None else _fact(row)

    def all(self) -> list[EnrolledNode]:
        """By name."""
        return [_fact(row) for row in self._connection.execute(select(nodes).order_by(nodes.c.name))]

    def put(self, node: EnrolledNode) -> None:
        """Add the node, or replace the one of that name."""
        put_row(
            self._connection,
            nodes,
            {
                "name": node.name,
                "provider": node.location.provider,
                "region": node.location.region,
                "zone": node.location.zone,
                "labels": dict(node.location.labels),
                "enrolled_at": node.enrolled_at,
                "identity_serial": node.identity_serial,
                "advertised_hosts": list(node.advertised_hosts),
                "cordoned": node.cordoned,
                "cordon_reason": node.cordon_reason,
                "certificate_not_after": node.certificate_not_after,
                "simulator": node.simulator,
                "simulated_by": node.simulated_by,
            },
        )

    def remove(self, name: str) -> bool:
        """False: there was none. Raises ConflictError while placements are on the node."""
        on_it = select(placements.c.placement_id).where(placements.c.node == name).order_by(placements.c.placement_id)
        left = self._connection.scalars(on_it).all()
        if left:
            raise ConflictError(f"node {name} still has placements: remove {', '.join(left)} first")
        return self._connection.execute(delete(nodes).where(nodes.c.name == name)).rowcount > 0

    def set_cordon(self, name: str, cordoned: bool, reason: str) -> bool:
        """False: there is no such node. The reason of a node that is not cordoned is empty."""
        values = {"cordoned": cordoned, "cordon_reason": reason if cordoned else ""}
        return self._connection.execute(update(nodes).where(nodes.c.name == name).values(values)).rowcount > 0


def _fact(row: Row[Any]) -> EnrolledNode:
    return EnrolledNode(
        name=row.name,
        location=NodeLocation(provider=row.provider, region=row.region, zone=row.zone, labels=row.labels),
        enrolled_at=row.enrolled_at,
        identity_serial=row.identity_serial,
        advertised_hosts=tuple(row.advertised_hosts),
        cordoned=row.cordoned,
        cordon_reason=row.cordon_reason,
        certificate_not_after=row.certificate_not_after,
        simulator=row.simulator,
        simulated_by=row.simulated_by,
    )
