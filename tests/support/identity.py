"""An installation's identities and database in a temporary directory, for tests of what uses them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from controlplane.fleet.access import OperatorIdentity, Role
from controlplane.fleet.history import AuditEntry
from controlplane.identity import certificates
from controlplane.identity.authority import Authority
from controlplane.storage import migrate
from controlplane.storage.database import Database
from tests.support.clock import SettableClock

ADMIN = OperatorIdentity("admin", Role.ADMIN, "ipv4:10.0.0.9:5000")


@dataclass
class Installation:
    database: Database
    authority: Authority
    clock: SettableClock

    async def audit(self) -> list[AuditEntry]:
        return await self.database.run(lambda uow: uow.audit.list())


@asynccontextmanager
async def installation(directory: Path) -> AsyncIterator[Installation]:
    url = f"sqlite:///{directory / 'test.db'}"
    migrate.upgrade(url)
    clock = SettableClock()
    database = Database.open(url)
    try:
        yield Installation(database, Authority.create(directory / "identity", clock.now()), clock)
    finally:
        await database.close()


def new_request(common_name: str = "whatever") -> bytes:
    """A certificate request with a key of its own."""
    return certificates.request_pem(certificates.new_key(), common_name)
