"""Reads the devices every few seconds, and keeps how they are, what is broken and where their memory is.

Run by the composition root; the session reads `health` and `ledgers` for its reports. Whatever fails here is told as an
event and tried again; it never ends the agent, and never blocks the loop: drivers are called in a thread.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from node_agent.clock import Clock
from node_agent.errors import AgentError
from node_agent.hardware import faults
from node_agent.hardware.background import in_background
from node_agent.hardware.engine_memory import EngineOnDevices, RequestLengths, engine_on_devices, placed
from node_agent.hardware.ledger import build_ledgers, foreign_bytes_by_pid
from node_agent.hardware.readers import open_readers
from node_agent.hardware.readings import DeviceReading, Readers
from node_agent.hardware.weight_files import weights_on_disk_bytes
from node_agent.session.facts import Device, EngineStatus, NodeEvent
from node_agent.session.hardware import DeviceHealth, MemoryLedger
from node_agent.session.values import Severity

_log = structlog.get_logger(__name__)
# A driver that takes longer hangs.
_READ_SECONDS_MAX = 30.0
_NOT_LISTED = "the driver does not list it any more"


@dataclass(frozen=True)
class NodeEngines:
    """What the monitor asks of the rest of the agent."""

    statuses: Callable[[], Sequence[EngineStatus]]
    processes: Callable[[int], Sequence[int]]  # all of an engine's, by its pid; called in a thread
    source: Callable[[str], str] = field(default=lambda _engine_id: "")  # of the engine's model: a folder or an id


@dataclass(frozen=True)
class _Look:
    """One round in the thread."""

    readings: tuple[DeviceReading, ...]
    engines: tuple[EngineOnDevices, ...]
    unread: str


class DeviceMonitor:
    def __init__(
        self,
        *,
        engines: NodeEngines,
        clock: Clock,
        on_event: Callable[[NodeEvent], None],
        interval_seconds: float,
        open_devices: Callable[[], Readers] = open_readers,
        read_seconds_max: float = _READ_SECONDS_MAX,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._engines = engines
        self._clock = clock
        self._on_event = on_event
        self._interval_seconds = interval_seconds
        self._open_devices = open_devices
        self._read_seconds_max = read_seconds_max
        self._environ = dict(os.environ if environ is None else environ)
        self._readers: Readers | None = None
        self._readings: tuple[DeviceReading, ...] = ()
        self._ledgers: tuple[MemoryLedger, ...] = ()
        self._judgements: dict[str, faults.Judgement] = {}
        self._lengths: dict[str, RequestLengths] = {}
        self._weights: dict[tuple[str, str], int | None] = {}
        self._reopen = False
        self._pending: asyncio.Future[_Look] | None = None
        self._trouble = ""

    def health(self) -> tuple[DeviceHealth, ...]:
        """As last read; `measured_at` tells when. Empty before the first reading and where nothing can be read."""
        return tuple(
            replace(reading.health, faults=self._judgements[reading.device_id].faults) for reading in self._readings
        )

    def ledgers(self) -> tuple[MemoryLedger, ...]:
        """Likewise. Without the devices that are lost or partitioned."""
        return self._ledgers

    def devices(self) -> tuple[Device, ...]:
        """Likewise, as the driver describes them, without ceilings."""
        return tuple(reading.device for reading in self._readings)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._interval_seconds)

    async def look(self) -> None:
        """Once. Raises nothing but cancellation."""
        now = self._clock.now()
        try:
            found = await self._read(now)
            self._take(found, now)
        except TimeoutError:
            self._tell(
                f"the devices' driver has not answered for {self._read_seconds_max:.0f} s: their health is unknown; see the "
                "kernel's log (dmesg), and restart the node if it does not answer again"
            )
        except AgentError as error:
            self._tell(str(error))
            self._reopen = True
        except Exception as error:  # noqa: BLE001 - the agent goes on without these figures
            _log.exception("hardware_reading_crashed")
            self._tell(f"reading the devices failed ({type(error).__name__}): see the agent's log")
            self._reopen = True
        else:
            self._tell(found.unread, recovered="the devices can be read again")

    async def _read(self, now: datetime) -> _Look:
        """One call at a time: a driver that hangs is not called again until it has returned."""
        if self._pending is None:
            statuses = [status for status in self._engines.statuses() if status.pid]
            means = self._request_lengths(statuses)
            sources = {status.engine_id: self._engines.source(status.engine_id) for status in statuses}
            self._pending = in_background(
                lambda: self._look(now, statuses, means, sources), name="stoker-agent hardware"
            )
        pending = self._pending
        async with asyncio.timeout(self._read_seconds_max):
            await asyncio.wait((pending,))
        self._pending = None
        return pending.result()

    def _look(
        self,
        now: datetime,
        statuses: Sequence[EngineStatus],
        means: Mapping[str, float | None],
        sources: Mapping[str, str],
    ) -> _Look:
        """In the thread."""
        readers = self._opened()
        self._weights = {key: self._weights_of(status, key) for status in statuses for key in [_key(status, sources)]}
        engines = tuple(
            engine_on_devices(
                status,
                self._engines.processes(status.pid),
                weights_on_disk_bytes=self._weights[_key(status, sources)],
                request_tokens_mean=means[status.engine_id],
            )
            for status in statuses
        )
        pids = frozenset(pid for engine in engines for pid in engine.pids)
        readings = tuple(reading for reader in readers.readers for reading in reader.read(now, pids))
        return _Look(readings, tuple(placed(engine, readings) for engine in engines), readers.unread)

    def _opened(self) -> Readers:
        """After trouble they are opened anew."""
        if self._reopen and self._readers is not None:
            for reader in self._readers.readers:
                reader.close()
            self._readers = None
        if self._readers is None:
            self._readers = self._open_devices()
        self._reopen = False
        return self._readers

    def _weights_of(self, status: EngineStatus, key: tuple[str, str]) -> int | None:
        """Only as long as the engine itself does not tell. Files that were found are not looked at again."""
        _, source = key
        if not source or (status.shape is not None and status.shape.weights_bytes is not None):
            return None
        known = self._weights.get(key)
        return weights_on_disk_bytes(source, self._environ) if known is None else known

    def _request_lengths(self, statuses: Sequence[EngineStatus]) -> dict[str, float | None]:
        self._lengths = {
            status.engine_id: self._lengths.get(status.engine_id) or RequestLengths() for status in statuses
        }
        return {
            status.engine_id: self._lengths[status.engine_id].note(status.instance_id, status.counters)
            for status in statuses
        }

    def _take(self, found: _Look, now: datetime) -> None:
        before = {reading.device_id: reading for reading in self._readings}
        here = {reading.device_id for reading in found.readings}
        gone = tuple(replace(old, lost=_NOT_LISTED, new_xids=()) for name, old in before.items() if name not in here)
        readings = (*found.readings, *gone)
        judgements: dict[str, faults.Judgement] = {}
        told: list[NodeEvent] = []
        for reading in readings:
            name, old = reading.device_id, before.get(reading.device_id)
            same = old is not None and old.device.uuid == reading.device.uuid
            earlier = self._judgements[name] if same else faults.Judgement()
            judgements[name] = faults.judge(earlier, reading, foreign_bytes_by_pid(reading, found.engines), now)
            told += faults.events(name, earlier, judgements[name], now)
        self._readings, self._judgements = readings, judgements
        self._ledgers = build_ledgers(readings, found.engines)
        for event in told:
            self._on_event(event)

    def _tell(self, trouble: str, *, recovered: str = "") -> None:
        """Each trouble once, and its end."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        message, severity = (trouble, Severity.WARNING) if trouble else (recovered, Severity.INFO)
        kind = "device_health_unknown" if trouble else "device_health_known"
        self._on_event(NodeEvent(kind, message, severity, self._clock.now()))


def _key(status: EngineStatus, sources: Mapping[str, str]) -> tuple[str, str]:
    return status.instance_id, sources[status.engine_id]
