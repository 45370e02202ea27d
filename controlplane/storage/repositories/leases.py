"""Leases, and the tenants whose names have been used."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from controlplane.fleet.leases import Lease
from controlplane.storage.repositories.statements import add_new_rows, put_row
from controlplane.storage.tables import leases, tenants


class Leases:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, lease: Lease) -> None:
        """Add the lease, or replace the one of that id."""
        put_row(self._connection, leases, {**asdict(lease), "nodes": list(lease.nodes)})

    def get(self, lease_id: str) -> Lease | None:
        row = self._connection.execute(select(leases).where(leases.c.lease_id == lease_id)).mappings().first()
        return None if row is None else _fact(row)

    def list(self, ending_after: datetime | None = None) -> list[Lease]:
        """The one that ends first, first."""
        found = select(leases).order_by(leases.c.ends_at, leases.c.lease_id)
        if ending_after is not None:
            found = found.where(leases.c.ends_at > ending_after)
        return [_fact(row) for row in self._connection.execute(found).mappings()]


class Tenants:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add_new(self, name: str, at: datetime, created_by: str) -> None:
        """Note a tenant's name when it is first used."""
        row: dict[str, Any] = {"name": name, "note": "", "created_at": at, "created_by": created_by}
        add_new_rows(self._connection, tenants, [row])

    def names(self) -> list[str]:
        return list(self._connection.scalars(select(tenants.c.name).order_by(tenants.c.name)))


def _fact(row: RowMapping) -> Lease:
    return Lease(**{**row, "nodes": tuple(row["nodes"])})
