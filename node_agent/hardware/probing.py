"""Measures the roofs of this node's devices: for `stoker-agent probe`, and when the control plane asks for it.

One measurement at a time on a node, whoever asked for it. Refused while an engine runs, unless forced: it would slow
the engine, and its figures would be too low. What was measured is kept by `probes.roofline`.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from node_agent.clock import Clock
from node_agent.errors import ProbeError, ProbeRefusedError
from node_agent.probes.devices import probe_devices
from node_agent.probes.roofline import SECONDS_MAX, Roofline, keep_roofline, measure_roofline, with_ceilings
from node_agent.session.facts import Device


@dataclass(frozen=True, slots=True)
class ProbedDevice:
    device: Device  # with the ceilings that are reported from now on
    measured: Roofline | None  # None: it could not be measured, and its ceilings are what was known before
    problem: str = ""  # why not


class NodeProbe:
    def __init__(
        self,
        *,
        engine_python: Path,
        state_dir: Path,
        clock: Clock,
        running_engines: Callable[[], Sequence[str]],
        on_begin: Callable[[Device], None] = lambda _device: None,
        on_measured: Callable[[], None] = lambda: None,
        seconds_max: float = SECONDS_MAX,
    ) -> None:
        """`seconds_max`: for each device. `on_measured`: after each of them, so that reports have it at once."""
        self._engine_python = engine_python
        self._state_dir = state_dir
        self._clock = clock
        self._running_engines = running_engines
        self._on_begin = on_begin
        self._on_measured = on_measured
        self._seconds_max = seconds_max

    async def probe_node(self, force: bool, *, device_id: str | None = None) -> tuple[ProbedDevice, ...]:
        """All devices, or that one. Raises ProbeRefusedError, or ProbeError when none could be measured."""
        running = self._running_engines()
        if running and not force:
            raise ProbeRefusedError(
                f"engines run on this node ({', '.join(running)}): measuring would slow them and give wrong figures; "
                "drain them first, or force it (--force)"
            )
        with self._alone():
            devices = await probe_devices(self._engine_python)
            wanted = [device for device in devices if device_id in (None, device.device_id)]
            if not wanted:
                names = ", ".join(device.device_id for device in devices)
                raise ProbeError(f"there is no device {device_id!a}: this node has {names}")
            probed = [await self._probe(device) for device in wanted]
        if all(one.measured is None for one in probed):
            raise ProbeError("; ".join(f"{one.device.device_id}: {one.problem}" for one in probed))
        return tuple(probed)

    async def measure(self, force: bool) -> str:
        """All devices, told in a sentence: what a command from the control plane ends with. Raises as `probe_node`."""
        return "; ".join(_in_words(one) for one in await self.probe_node(force))

    async def _probe(self, device: Device) -> ProbedDevice:
        self._on_begin(device)
        running_before = bool(self._running_engines())
        try:
            measured = await measure_roofline(
                self._engine_python, device, clock=self._clock, seconds_max=self._seconds_max
            )
            # An engine may have been started meanwhile.
            measured = replace(measured, disturbed=running_before or bool(self._running_engines()))
            keep_roofline(self._state_dir, device, measured)
        except ProbeError as error:
            return ProbedDevice(with_ceilings(device, self._state_dir), None, str(error))
        self._on_measured()
        return ProbedDevice(with_ceilings(device, self._state_dir), measured)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The command line and the agent are two processes; the kernel drops the lock with its holder."""
        path = self._state_dir / "roofline" / "lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ProbeError(f"what is measured cannot be kept in {path.parent}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ProbeRefusedError("the devices of this node are being measured already: wait for its end") from error
        else:
            yield
        finally:
            os.close(descriptor)


def _in_words(probed: ProbedDevice) -> str:
    if probed.measured is None:
        return f"{probed.device.device_id} was not measured: {probed.problem}"
    reached = ", ".join(f"{dtype} {flops / 1e12:.3g} TFLOP/s" for dtype, flops in probed.measured.flops_per_second)
    disturbed = " (disturbed by a running engine)" if probed.measured.disturbed else ""
    return f"{probed.device.device_id} reaches {reached}{disturbed}"
