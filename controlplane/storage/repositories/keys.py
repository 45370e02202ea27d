"""Tenants' API keys, without the keys."""

from datetime import datetime

from sqlalchemy import Connection, or_, select, update

from controlplane.fleet.access import ApiKey
from controlplane.storage.repositories.statements import put_row
from controlplane.storage.tables import api_keys


class ApiKeys:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, key: ApiKey) -> None:
        """Add the key, or replace the one of that id."""
        put_row(self._connection, api_keys, {column.name: getattr(key, column.name) for column in api_keys.columns})

    def get(self, key_id: str) -> ApiKey | None:
        row = self._connection.execute(select(api_keys).where(api_keys.c.key_id == key_id)).mappings().first()
        return None if row is None else ApiKey(**row)

    def revoke(self, key_id: str, at: datetime) -> bool:
        """True when this call revoked it; False when it was revoked before or never was."""
        found = update(api_keys).where(api_keys.c.key_id == key_id, api_keys.c.revoked_at.is_(None))
        return self._connection.execute(found.values(revoked_at=at)).rowcount > 0

    def revoked_ids(self, not_expired_at: datetime | None = None) -> frozenset[str]:
        """Every revoked key's id; with `not_expired_at` without those whose own end has passed by then."""
        found = select(api_keys.c.key_id).where(api_keys.c.revoked_at.is_not(None))
        if not_expired_at is not None:
            found = found.where(or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > not_expired_at))
        return frozenset(self._connection.scalars(found))

    def list(self, tenant: str = "") -> list[ApiKey]:
        """Oldest first, revoked ones too; "" matches all tenants."""
        found = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.key_id)
        if tenant:
            found = found.where(api_keys.c.tenant == tenant)
        return [ApiKey(**row) for row in self._connection.execute(found).mappings()]
