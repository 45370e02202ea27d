"""Show the audit to operators. Called by `rpc.operator_service`; reads only."""

from datetime import datetime

from controlplane.storage.database import Database
from controlplane.storage.repositories.audit import AuditPage

ENTRIES_DEFAULT = 200
ENTRIES_MAX = 10_000


class ListAudit:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(
        self, *, since: datetime | None, limit: int, actor: str, action: str, audit_id: int = 0
    ) -> AuditPage:
        """The newest that match, oldest first; a limit of 0 means ENTRIES_DEFAULT, an id of 0 all."""
        wanted = min(limit or ENTRIES_DEFAULT, ENTRIES_MAX)
        return await self._database.read(lambda uow: uow.audit.page(since, wanted, actor, action, audit_id))
