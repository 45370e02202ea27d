"""The node's devices, found in the background: looking takes seconds, and the session does not wait for it.

Run by the composition root; the session reads `devices` for each report. A failed look is told once and tried again,
and what was found before stays.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from node_agent.clock import Clock
from node_agent.errors import AgentError
from node_agent.session.facts import Device, NodeEvent, Severity

_log = structlog.get_logger(__name__)
_LOOK_AGAIN_SECONDS = 60.0


class DeviceInventory:
    def __init__(
        self,
        *,
        probe: Callable[[], Awaitable[tuple[Device, ...]]],
        with_ceilings: Callable[[Device], Device],
        clock: Clock,
        on_event: Callable[[NodeEvent], None],
        look_again_seconds: float = _LOOK_AGAIN_SECONDS,
    ) -> None:
        self._probe = probe
        self._with_ceilings = with_ceilings
        self._clock = clock
        self._on_event = on_event
        self._look_again_seconds = look_again_seconds
        self._devices: tuple[Device, ...] = ()
        self._told = ""

    @property
    def devices(self) -> tuple[Device, ...]:
        """As last found; empty until then."""
        return self._devices

    async def run(self) -> None:
        """Until cancelled: devices are looked for once, what was measured on them again and again."""
        while not await self._look():  # noqa: ASYNC110 - looking is the work, not waiting for someone
            await asyncio.sleep(self._look_again_seconds)
        while True:
            self._devices = tuple(self._with_ceilings(device) for device in self._devices)
            await asyncio.sleep(self._look_again_seconds)

    async def _look(self) -> bool:
        try:
            self._devices = await self._probe()
        except AgentError as error:
            self._tell(str(error))
            return False
        except Exception as error:  # noqa: BLE001 - no probe may end the agent
            _log.exception("probe_crashed")
            self._tell(f"looking for devices failed ({type(error).__name__}): see the agent's log")
            return False
        _log.info("devices_found", devices=[f"{device.device_id} {device.kind}" for device in self._devices])
        return True

    def _tell(self, message: str) -> None:
        if message != self._told:
            self._on_event(NodeEvent("devices_unknown", message, Severity.WARNING, self._clock.now()))
        self._told = message
