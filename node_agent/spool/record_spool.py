"""The spool as the event loop sees it: records in, batches out. The disk is waited for on a thread of its own.

Made by the composition root. The server of the plug-ins calls `keep_requests` and acknowledges what it returns,
`sampler` calls `keep_samples`, `link.record_pump` takes batches and tells what has arrived. Nothing here raises for the
sake of a disk: trouble becomes events of the node.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import structlog

from node_agent.clock import Clock
from node_agent.session.facts import NodeEvent
from node_agent.session.records import EngineSample, RecordBatch, RequestRecord
from node_agent.spool.record_store import Limits, RecordStore

T = TypeVar("T")

FILE_NAME = "spool.sqlite3"
_log = structlog.get_logger(__name__)


class RecordSpool:
    """`on_event` is called in the event loop."""

    def __init__(self, state_dir: Path, limits: Limits, clock: Clock, on_event: Callable[[NodeEvent], None]) -> None:
        self._store = RecordStore(state_dir / FILE_NAME, limits)
        self._clock = clock
        self._on_event = on_event
        # Ages are told by a clock that does not jump: one that did would make all records look old at once.
        self._wall_less_monotonic = clock.now().timestamp() - clock.monotonic()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stoker-spool")
        self._wake: Callable[[], None] = lambda: None

    async def keep_requests(self, instance_id: str, records: Sequence[tuple[int, RequestRecord]]) -> int:
        """Keep what an engine's plug-in tells, each with the plug-in's number; repeats are ignored.

        Returns the highest number up to which all that came is kept: acknowledge up to it. With the disk broken "kept" means
        in memory, which is said in an event.
        """
        highest = await self._run(lambda at: self._store.append_requests(instance_id, records, at))
        self._wake()
        return highest

    async def keep_samples(self, samples: Sequence[EngineSample]) -> None:
        await self._run(lambda at: self._store.append_samples(samples, at))
        self._wake()

    async def oldest(self, records_max: int, bytes_max: int) -> RecordBatch | None:
        """What is to be delivered next; None: nothing. The same again until `delivered` says otherwise."""
        return await self._run(lambda at: self._store.read_oldest(records_max, bytes_max, at))

    async def delivered(self, spool_id: str, sequence: int) -> None:
        """The control plane has every record of that spool up to this one."""
        await self._run(lambda at: self._store.forget_through(spool_id, sequence, at))

    def on_arrival(self, wake: Callable[[], None]) -> None:
        """Call this whenever something was kept."""
        self._wake = wake

    async def close(self) -> None:
        """Finish what is being written and close the file. Nothing may be called after it."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._store.close)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[float], T]) -> T:
        at_seconds = self._clock.monotonic() + self._wall_less_monotonic
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, at_seconds)
        finally:
            for trouble in self._store.troubles():
                self._on_event(
                    NodeEvent(trouble.kind, trouble.message, trouble.severity, self._clock.now(), action=trouble.action)
                )
