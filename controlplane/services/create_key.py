"""Make an API key for a tenant.

Called by `rpc.operator_service` and by `stoker-controlplane key create`. Never keeps the key: it is a signed token, and
what is stored is its id.
"""

import math
import secrets
from dataclasses import dataclass, field
from datetime import timedelta

from controlplane.clock import Clock
from controlplane.errors import InvalidInputError
from controlplane.fleet import ids
from controlplane.fleet.access import ApiKey, OperatorIdentity
from controlplane.fleet.history import AuditEntry
from controlplane.identity.api_keys import ApiKeySigner
from controlplane.services.free_text import actor_of, checked_text
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork

LIFETIME_SECONDS_MAX = 3_153_600_000.0  # a century
NOTE_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True)
class CreatedKey:
    key: ApiKey
    secret: str = field(repr=False)  # shown once


class CreateKey:
    def __init__(self, database: Database, signer: ApiKeySigner, clock: Clock) -> None:
        self._database = database
        self._signer = signer
        self._clock = clock

    async def __call__(
        self, by: OperatorIdentity, tenant: str, lifetime_seconds: float = 0, note: str = ""
    ) -> CreatedKey:
        """`lifetime_seconds` 0: until it is revoked. Raises InvalidInputError."""
        if not (math.isfinite(lifetime_seconds) and 0 <= lifetime_seconds <= LIFETIME_SECONDS_MAX):
            raise InvalidInputError("an API key's lifetime must be positive: leave it out for a key without an end")
        now = self._clock.now().replace(microsecond=0)  # as the token tells it
        lifetime = timedelta(seconds=math.ceil(lifetime_seconds)) if lifetime_seconds else None
        key = ApiKey(
            key_id=secrets.token_hex(8),
            tenant=ids.tenant_name(tenant),
            created_at=now,
            created_by=actor_of(by.name),
            expires_at=None if lifetime is None else now + lifetime,
            note=checked_text("note", note, NOTE_LENGTH_MAX),
        )
        secret = self._signer.mint(key.tenant, lifetime, now, key.key_id)
        until = "no end" if key.expires_at is None else f"until {key.expires_at:%Y-%m-%d %H:%M:%S} UTC"

        def put(uow: UnitOfWork) -> None:
            uow.tenants.add_new(key.tenant, now, key.created_by)
            uow.keys.put(key)
            detail = f"for tenant {key.tenant}, {until}"
            uow.audit.append(AuditEntry(now, actor_of(by.name), "create_key", key.key_id, detail, "created", by.peer))

        await self._database.run(put)
        return CreatedKey(key, secret)
