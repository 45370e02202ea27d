"""End an API key before its time.

Called by `rpc.operator_service`. The token itself stays well-signed for ever: what ends it is that the decision service
and the gateway's deny list know its id, so `on_revoked` must reach both.
"""

from collections.abc import Callable
from dataclasses import dataclass

from controlplane.clock import Clock
from controlplane.errors import NotFoundError
from controlplane.fleet.access import ApiKey, OperatorIdentity
from controlplane.fleet.history import AuditEntry
from controlplane.services.free_text import actor_of
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class RevokedKey:
    key: ApiKey
    changed: bool  # False: it was revoked before

    @property
    def step(self) -> str:
        """What was done, for people."""
        done = "is revoked" if self.changed else "was revoked before"
        return f"key {self.key.key_id} of tenant {self.key.tenant} {done}"


class RevokeKey:
    def __init__(self, database: Database, clock: Clock, on_revoked: Callable[[str], None]) -> None:
        """`on_revoked` is told the key's id, before it is in the database: a key is refused rather too early."""
        self._database = database
        self._clock = clock
        self._on_revoked = on_revoked

    async def __call__(self, by: OperatorIdentity, key_id: str) -> RevokedKey:
        """Raises NotFoundError."""
        key = await self._database.run(lambda uow: uow.keys.get(key_id))
        if key is None:
            raise NotFoundError(f"there is no API key {key_id[:40]!a}: list them with `stoker key list`")
        self._on_revoked(key.key_id)
        now = self._clock.now()

        def revoke(uow: UnitOfWork) -> RevokedKey:
            changed = uow.keys.revoke(key_id, now)
            outcome = "revoked" if changed else "was revoked before"
            detail, revoked = f"of tenant {key.tenant}", RevokedKey(uow.keys.get(key_id) or key, changed)
            uow.audit.append(
                AuditEntry(now, actor_of(by.name), "revoke_key", key.key_id, detail, outcome, by.peer, revoked.step)
            )
            return revoked

        return await self._database.run(revoke)
