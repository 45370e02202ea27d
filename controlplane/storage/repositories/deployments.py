"""Deployments: models with their engine arguments."""

from typing import Any

from sqlalchemy import Connection, Row, delete, exists, select

from controlplane.fleet.desired import Deployment
from controlplane.storage.repositories.statements import put_row
from controlplane.storage.tables import deployments, placements


class Deployments:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, name: str) -> Deployment | None:
        row = self._connection.execute(select(deployments).where(deployments.c.name == name)).first()
        return None if row is None else deployment_fact(row)

    def all(self) -> list[Deployment]:
        """By name."""
        return [
            deployment_fact(row) for row in self._connection.execute(select(deployments).order_by(deployments.c.name))
        ]

    def put(self, deployment: Deployment) -> None:
        """Add the deployment, or change the one of that name for all its placements."""
        put_row(
            self._connection,
            deployments,
            {
                "name": deployment.name,
                "model": deployment.model,
                "source": deployment.source,
                "engine_args": list(deployment.engine_args),
            },
        )

    def remove_unused(self) -> list[str]:
        """Remove the deployments that no placement has; their names, sorted."""
        used = exists().where(placements.c.deployment == deployments.c.name)
        removed = self._connection.scalars(delete(deployments).where(~used).returning(deployments.c.name)).all()
        return sorted(removed)


def deployment_fact(row: Row[Any]) -> Deployment:
    return Deployment(name=row.name, model=row.model, source=row.source, engine_args=tuple(row.engine_args))
