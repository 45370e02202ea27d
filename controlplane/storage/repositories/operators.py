"""Operators and the certificate that each one has now. An older certificate of the same operator is not it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from controlplane.fleet.access import Role
from controlplane.storage.repositories.statements import put_row
from controlplane.storage.tables import operators


@dataclass(frozen=True, slots=True)
class OperatorRecord:
    """An operator with the serial number of the only certificate that counts."""

    name: str
    role: Role
    serial: str
    not_after: datetime
    created_at: datetime
    created_by: str
    revoked_at: datetime | None = None


class Operators:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(
        self, name: str, role: Role, serial: str, not_after: datetime, created_by: str, created_at: datetime
    ) -> OperatorRecord:
        """Add the operator, or replace the certificate, and with it any revocation, of the one of that name."""
        record = OperatorRecord(name, role, serial, not_after, created_at, created_by)
        row = {column.name: getattr(record, column.name) for column in operators.columns}
        put_row(self._connection, operators, row)
        return record

    def get(self, name: str) -> OperatorRecord | None:
        row = self._connection.execute(select(operators).where(operators.c.name == name)).mappings().first()
        return None if row is None else OperatorRecord(**row)

    def revoke(self, name: str, at: datetime) -> bool:
        """True when this call revoked it; False when it was revoked before or never was."""
        found = update(operators).where(operators.c.name == name, operators.c.revoked_at.is_(None))
        return self._connection.execute(found.values(revoked_at=at)).rowcount > 0

    def serials(self) -> dict[str, str]:
        """By name, the certificate that counts; without the revoked ones."""
        return {record.name: record.serial for record in self.list() if record.revoked_at is None}

    def list(self) -> list[OperatorRecord]:
        """By name, revoked ones too."""
        found = select(operators).order_by(operators.c.name)
        return [OperatorRecord(**row) for row in self._connection.execute(found).mappings()]
