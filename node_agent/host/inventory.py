"""The node's devices, found in the background: looking takes seconds, and the session does not wait for it.

Run by the composition root; the session reads `devices` for each report. torch describes the devices as engines will see
them. A failed look is told once and tried again; until torch has answered, what the driver tells is shown. It is asked
again when the driver sees other boards than before.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from node_agent.clock import Clock
from node_agent.errors import AgentError
from node_agent.session.facts import Device, NodeEvent
from node_agent.session.values import Severity

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
        seen: Callable[[], tuple[Device, ...]] = lambda: (),
        look_again_seconds: float = _LOOK_AGAIN_SECONDS,
    ) -> None:
        self._probe = probe
        self._with_ceilings = with_ceilings
        self._clock = clock
        self._on_event = on_event
        self._seen = seen
        self._look_again_seconds = look_again_seconds
        self._devices: tuple[Device, ...] = ()
        self._found: tuple[Device, ...] = ()
        self._boards: frozenset[str] = frozenset()
        self._told = ""

    @property
    def devices(self) -> tuple[Device, ...]:
        """As last found; empty until then."""
        return self._devices

    def refresh(self) -> None:
        """Takes what was measured of the devices since, and what the driver tells as long as torch does not."""
        self._devices = tuple(self._with_ceilings(device) for device in self._found or self._seen())

    async def run(self) -> None:
        """Until cancelled: devices are looked for once, what was measured on them again and again."""
        while True:
            if not self._found or self._boards_changed():
                await self._look()
            self.refresh()
            await asyncio.sleep(self._look_again_seconds)

    def _boards_changed(self) -> bool:
        now = _boards(self._seen())
        before, self._boards = self._boards, now or self._boards
        return bool(before) and self._boards != before

    async def _look(self) -> None:
        try:
            self._found = await self._probe()
        except AgentError as error:
            self._tell(str(error))
            return
        except Exception as error:  # noqa: BLE001 - no probe may end the agent
            _log.exception("probe_crashed")
            self._tell(f"looking for devices failed ({type(error).__name__}): see the agent's log")
            return
        self._told, self._boards = "", _boards(self._seen())
        _log.info("devices_found", devices=[f"{device.device_id} {device.kind}" for device in self._found])

    def _tell(self, message: str) -> None:
        if message != self._told:
            self._on_event(NodeEvent("devices_unknown", message, Severity.WARNING, self._clock.now()))
        self._told = message


def _boards(devices: tuple[Device, ...]) -> frozenset[str]:
    return frozenset(device.uuid for device in devices if device.uuid)
