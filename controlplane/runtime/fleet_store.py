"""The fleet's live state: one writer applies what happened and swaps a frozen snapshot; readers never lock.

Called by services: `post` from anywhere in the daemon's loop, `snapshot` to read, `subscribe` to be told of every swap. The
writer sleeps until something is posted, waits a moment for more, and applies the batch. It does no I/O.
"""

import asyncio
from collections.abc import Callable

from controlplane.clock import Clock
from controlplane.fleet.apply import apply
from controlplane.fleet.events import ClockTicked, Event
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.snapshot import FleetSnapshot, TrustThresholds

Subscriber = Callable[[FleetSnapshot, FleetSnapshot, tuple[FleetEvent, ...]], None]

BATCH_SECONDS = 0.05  # a burst of reports becomes one snapshot; far below what a person or a router notices
TICK_SECONDS = 1.0  # ages are looked at this often when nothing else happens


class FleetStore:
    """Holds the current snapshot. All methods are for the daemon's event loop."""

    def __init__(self, clock: Clock, thresholds: TrustThresholds) -> None:
        self._clock = clock
        self.thresholds = thresholds
        self._snapshot = FleetSnapshot(version=0, at=clock.now())
        self._pending: list[Event] = []
        self._wake = asyncio.Event()
        self._subscribers: list[Subscriber] = []

    @property
    def snapshot(self) -> FleetSnapshot:
        return self._snapshot

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call `subscriber(before, after, notables)` after every swap; it must be quick and must not fail."""
        self._subscribers.append(subscriber)

    def post(self, event: Event) -> None:
        """Have the event applied with the next batch."""
        self._pending.append(event)
        self._wake.set()

    def apply_now(self, *events: Event) -> FleetSnapshot:
        """Apply what is pending and `events` at once; for changes whose maker must see them in force on return."""
        self._pending.extend(events)
        self._drain()
        return self._snapshot

    async def run(self) -> None:
        """Apply batches until cancelled."""
        while True:
            try:
                async with asyncio.timeout(TICK_SECONDS):
                    await self._wake.wait()
                await asyncio.sleep(BATCH_SECONDS)
            except TimeoutError:
                self._pending.append(ClockTicked())
            self._drain()

    def _drain(self) -> None:
        events, self._pending = self._pending, []
        self._wake.clear()
        before = self._snapshot
        after, notables = apply(before, events, self._clock.now(), self.thresholds)
        if after is before and not notables:
            return
        self._snapshot = after
        for subscriber in self._subscribers:
            subscriber(before, after, notables)
