"""History as the daemon records it, with a switch: what `bench.history_load` measures the load with and without.

Everything between the fleet's snapshots and the database: samples, admission counts, the writers, and the roll-up job, which
runs every ten seconds so that each round has all of it that its samples need.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from controlplane.bootstrap.history_wiring import history_sinks
from controlplane.clock import SystemClock
from controlplane.fleet.snapshot import FleetSnapshot
from controlplane.jobs import roll_up
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.inflight import Inflight
from controlplane.runtime.tasks import TaskScope
from controlplane.services.count_admission import CountAdmission
from controlplane.services.record_history import HistorySinks, RecordHistory
from controlplane.settings.model import HistorySettings
from controlplane.storage.batch_writer import BatchWriter
from controlplane.storage.database import Database
from controlplane.storage.row_writers import HistoryWriters

TABLES = ("engine_samples", "device_samples", "node_samples", "recompute_samples")
ROLL_UP_SECONDS = 10.0

Add = Callable[[Sequence[Any]], None]


class Recording:
    """Off until `start`."""

    def __init__(self, database: Database, store: FleetStore, inflight: Inflight, clock: SystemClock) -> None:
        self._database, self._store, self._clock = database, store, clock
        settings = HistorySettings()
        self.rows = HistoryWriters.of(database, clock, settings.flush_seconds, settings.buffer_max)
        self.handed = Counter[str]()
        self.admission = CountAdmission("bench", clock, self.rows.admission.add)
        self.roll_up_seconds = 0.0
        self.history = RecordHistory(store, inflight, clock, self._sinks(), lambda: settings.sample_interval_seconds)
        self.on = False
        store.subscribe(self._on_change)
        self._tasks = TaskScope()

    def start(self) -> None:
        self.on, self._tasks = True, TaskScope()
        for writer in self.rows.all:
            self._tasks.spawn("writer", writer.run())
        self._tasks.spawn("history", self.history.run())
        self._tasks.spawn("admission counts", self.admission.run())
        self._tasks.spawn("roll up", self._roll_up())

    async def stop(self) -> float:
        """Have everything written. How long that took."""
        self.on = False
        await self._tasks.close()
        began = time.monotonic()
        for writer in self.rows.all:
            if not await writer.flush():
                raise SystemExit(f"{writer.what} could not be written")
        return time.monotonic() - began

    @property
    def waiting(self) -> dict[str, int]:
        """Rows that are not written yet, by table."""
        rows = self.rows
        kinds: tuple[BatchWriter[Any], ...] = (rows.samples, rows.devices, rows.nodes, rows.bills)
        return {name: writer.waiting_count for name, writer in zip(TABLES, kinds, strict=True)}

    def _sinks(self) -> HistorySinks:
        def counted(name: str, add: Add) -> Add:
            def count(rows: Sequence[Any]) -> None:
                self.handed[name] += len(rows)
                add(rows)

            return count

        sinks = history_sinks(self.rows)
        return replace(
            sinks,
            samples=counted("engine_samples", sinks.samples),
            devices=counted("device_samples", sinks.devices),
            nodes=counted("node_samples", sinks.nodes),
            bills=counted("recompute_samples", sinks.bills),
        )

    def _on_change(self, before: FleetSnapshot, after: FleetSnapshot, told: Any) -> None:
        if self.on:
            self.history.on_change(before, after, told)

    async def _roll_up(self) -> None:
        while True:
            await asyncio.sleep(ROLL_UP_SECONDS)
            began = time.monotonic()
            await roll_up.run(self._database, self._clock.now())
            self.roll_up_seconds += time.monotonic() - began
