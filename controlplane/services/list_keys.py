"""Tell which API keys there are: their ids, never the keys. Called by `rpc.operator_service`."""

from controlplane.fleet import ids
from controlplane.fleet.access import ApiKey
from controlplane.storage.database import Database


class ListKeys:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(self, tenant: str = "") -> list[ApiKey]:
        """Oldest first, revoked ones too; "" is every tenant. Raises InvalidInputError."""
        name = ids.tenant_name(tenant) if tenant else ""
        return await self._database.read(lambda uow: uow.keys.list(name))
