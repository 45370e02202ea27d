"""Keeps a reading of each engine every ten seconds while the control plane cannot be told. Run by the composition root.

Live reports need none of this: with a session nothing is kept.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from node_agent.clock import Clock
from node_agent.session.facts import EngineStatus
from node_agent.session.records import EngineSample

SAMPLE_SECONDS = 10.0
_log = structlog.get_logger(__name__)


class SampleKeeper(Protocol):
    """What the sampler needs of the spool."""

    async def keep_samples(self, samples: list[EngineSample]) -> None: ...


class SpoolSampler:
    """`connected` tells whether there is a session; `statuses` are the engines' as they are now."""

    def __init__(
        self,
        spool: SampleKeeper,
        *,
        connected: Callable[[], bool],
        statuses: Callable[[], tuple[EngineStatus, ...]],
        clock: Clock,
        interval_seconds: float = SAMPLE_SECONDS,
    ) -> None:
        self._spool = spool
        self._connected = connected
        self._statuses = statuses
        self._clock = clock
        self._interval_seconds = interval_seconds

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._interval_seconds)
            try:
                await self.sample()
            except Exception:  # noqa: BLE001 - a missed reading is better than none ever again
                _log.exception("sample_not_kept")

    async def sample(self) -> None:
        """Keep one reading of each engine that has a process, if nobody is told."""
        if self._connected():
            return
        now = self._clock.now()
        samples = [EngineSample(now, status) for status in self._statuses() if status.instance_id]
        if samples:
            await self._spool.keep_samples(samples)
