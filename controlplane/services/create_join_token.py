"""Make a one-time right to enrol a node.

Called by `rpc.operator_service` and, before there is anybody to call, by `stoker-controlplane token create`. Never
keeps the token: what is stored is a hash of its secret.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from controlplane.clock import Clock
from controlplane.errors import InvalidInputError
from controlplane.fleet import ids
from controlplane.fleet.access import JoinToken, OperatorIdentity
from controlplane.fleet.history import AuditEntry
from controlplane.identity import join_tokens
from controlplane.identity.authority import Authority
from controlplane.services.free_text import actor_of
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork

LIFETIME_SECONDS_MIN, LIFETIME_SECONDS_MAX = 60.0, 2_592_000.0


@dataclass(frozen=True, slots=True)
class CreatedJoinToken:
    token: str = field(repr=False)  # shown once
    token_id: str
    expires_at: datetime


class CreateJoinToken:
    def __init__(
        self, database: Database, authority: Authority, clock: Clock, lifetime_seconds: Callable[[], float]
    ) -> None:
        """`lifetime_seconds` of a token for which none is asked."""
        self._database = database
        self._authority = authority
        self._clock = clock
        self._lifetime_seconds = lifetime_seconds

    async def __call__(
        self,
        by: OperatorIdentity,
        lifetime_seconds: float = 0,
        node_name: str = "",
        *,
        replace: bool = False,
        simulator: bool = False,
    ) -> CreatedJoinToken:
        """`lifetime_seconds` 0: the default; `node_name` "": any; `simulator`: for `stoker-agent simulate`.

        Raises InvalidInputError.
        """
        seconds = lifetime_seconds or self._lifetime_seconds()
        if not LIFETIME_SECONDS_MIN <= seconds <= LIFETIME_SECONDS_MAX:
            raise InvalidInputError("a join token lives between a minute and 30 days: ask for a lifetime in between")
        if replace and not node_name:
            raise InvalidInputError(
                "a token that replaces a node must name it: otherwise it could take any node's place"
            )
        name = ids.node_name(node_name) if node_name else ""
        now = self._clock.now()
        minted = join_tokens.mint(self._authority.ca_der)
        token = JoinToken(
            token_id=minted.token_id,
            secret_hash=minted.secret_hash,
            created_at=now,
            created_by=actor_of(by.name),
            expires_at=now + timedelta(seconds=seconds),
            node_name=name,
            replace=replace,
            simulator=simulator,
        )
        kind = "simulator" if simulator else "node"
        whom = (
            f"{name or f'any {kind}'}{', a simulator' if simulator and name else ''}{', replacing' if replace else ''}"
        )
        detail = f"for {whom}, until {token.expires_at:%Y-%m-%d %H:%M:%S} UTC"

        def put(uow: UnitOfWork) -> None:
            uow.tokens.put(token)
            uow.audit.append(
                AuditEntry(now, actor_of(by.name), "create_join_token", token.token_id, detail, "created", by.peer)
            )

        await self._database.run(put)
        return CreatedJoinToken(minted.text, token.token_id, token.expires_at)
