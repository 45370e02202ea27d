"""The feed: one worker that keeps a console's view of the fleet current.

The Textual app runs it as a worker. It watches from where it left off, folds updates into a view, hands the view on
at most once per `coalesce_seconds`, and reconnects with jittered back-off. It never gives up: what is known stays on
screen, and the connection says how good it is. Never touches a widget.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Protocol

from console.link.errors import LinkError
from console.link.tasks import run_together
from console.model.apply import FleetUpdate, apply_update
from console.model.fleet_view import Connection, FleetView

BACKOFF_SECONDS_MIN = 0.25
BACKOFF_SECONDS_MAX = 5.0
REFUSALS_BELIEVED = 3
REFUSED_SECONDS = 30.0  # an admin may give the role back; until then there is no point in knocking often


class Watcher(Protocol):
    """What the feed needs of a client."""

    def watch(self, boot_id: str, cursor: int, on_open: Callable[[], None]) -> AsyncIterator[FleetUpdate]:
        """`on_open` may be called before the first update, when the stream stands."""
        ...


class Feed:
    def __init__(
        self,
        client: Watcher,
        *,
        on_view: Callable[[FleetView], None],
        on_connection: Callable[[Connection, str], None],
        coalesce_seconds: float = 0.1,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`draw` gives numbers from 0 to 1 for the jitter; tests pass their own, and their own `sleep`."""
        self._client = client
        self._on_view = on_view
        self._on_connection = on_connection
        self._coalesce_seconds = coalesce_seconds
        self._sleep = sleep
        self._draw = draw
        self._view = FleetView()
        self._changed = asyncio.Event()
        self._refusals = 0  # in a row

    async def run(self) -> None:
        """Until cancelled."""
        self._on_connection(Connection.CONNECTING, "Connecting to the control plane.")
        await run_together(self._watch(), self._hand_on())

    async def _watch(self) -> None:
        attempts = 0
        while True:
            attempts, pause_seconds = await self._watch_once(attempts)
            await self._sleep(pause_seconds)

    async def _watch_once(self, attempts: int) -> tuple[int, float]:
        """Watches until the stream ends, however it does: the failures in a row, and the pause before the next try."""
        live = False

        def opened() -> None:
            nonlocal live
            if not live:
                live = True
                self._refusals = 0
                self._on_connection(Connection.LIVE, "")

        updates = self._client.watch(self._view.boot_id, self._view.cursor, opened)
        try:
            async for update in updates:
                self._view = apply_update(self._view, update)
                self._changed.set()
                attempts = 0  # not when it opens: a daemon that takes calls and ends them at once is no success
                opened()
            reason = "The control plane ended the watch; reconnecting."
        except LinkError as error:
            reason = error.message
            if error.kind == "refused":
                self._on_connection(Connection.REFUSED, reason)
                # A daemon that goes down or comes up can look like one that refuses us: believe it when it does so again.
                self._refusals += 1
                slow = self._refusals >= REFUSALS_BELIEVED
                return attempts + 1, REFUSED_SECONDS if slow else backoff_seconds(attempts, self._draw())
        finally:
            if isinstance(updates, AsyncGenerator):
                await updates.aclose()  # ends the call now, not when somebody collects the garbage
        self._on_connection(Connection.LOST, reason)
        return attempts + 1, backoff_seconds(attempts, self._draw())

    async def _hand_on(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._on_view(self._view)
            await self._sleep(self._coalesce_seconds)


def backoff_seconds(failures: int, drawn: float) -> float:
    """The pause after so many failures in a row: doubles up to a limit, and half of it is chance."""
    longest = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN * 2.0 ** min(failures, 16))
    return longest * (0.5 + 0.5 * drawn)
