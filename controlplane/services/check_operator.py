"""Whether an operator's certificate still counts: a newer one of the same name ends it, and so does a revocation.

Called by `rpc.callers` for every call of an operator. Keeps the answer for a while, so that a call does not cost a query and
operators get in while the database is away.
"""

from collections.abc import Mapping

from controlplane.clock import Clock
from controlplane.errors import IdentityRefusedError, UnavailableError
from controlplane.storage.database import Database

KEPT_SECONDS = 10.0
READ_SECONDS_MAX = 2.0  # every call of an operator may wait for this


class CheckOperator:
    def __init__(self, database: Database, clock: Clock, serials: Mapping[str, str]) -> None:
        """`serials`: by operator, that of the one certificate that counts, as of now."""
        self._database = database
        self._clock = clock
        self._serials = serials
        self._read_at = clock.monotonic()

    async def __call__(self, name: str, serial: str) -> None:
        """Raises IdentityRefusedError."""
        known = self._serials.get(name)
        if known != serial or self._clock.monotonic() - self._read_at > KEPT_SECONDS:
            await self._refresh()
        if self._serials.get(name) != serial:
            raise IdentityRefusedError(
                f"this certificate of operator {name} does not count any more: a newer one was made, or it was revoked; "
                "ask an admin for a new one (stoker operator create)"
            )

    async def _refresh(self) -> None:
        try:
            self._serials = await self._database.read(lambda uow: uow.operators.serials(), seconds_max=READ_SECONDS_MAX)
            self._read_at = self._clock.monotonic()
        except UnavailableError:
            pass  # what was known must do: nobody is let in who was not before
