"""Tells the control plane which prefixes the node's engines hold: everything once in a session, then what changed.

The session runner tells when a session is `opened` and `closed`, and hands on what is `wanted`. Once a second at most, and
not at all while the link does not keep up: what changed meanwhile comes together, and what came and went is never told.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from node_agent.session.inside import ResidencySummary, ResidencyUpdate

_log = structlog.get_logger(__name__)

PERIOD_SECONDS = 1.0


class Residency(Protocol):
    """What the pump needs of one engine process."""

    @property
    def engine_id(self) -> str: ...

    def summary(self) -> ResidencySummary | None: ...

    def take_update(self) -> ResidencyUpdate | None: ...

    def whole(self) -> ResidencyUpdate: ...


class ResidencyPump:
    def __init__(
        self, residencies: Callable[[], Iterable[Residency]], *, period_seconds: float = PERIOD_SECONDS
    ) -> None:
        self._residencies = residencies
        self._period_seconds = period_seconds
        self._say: Callable[[ResidencyUpdate], None] | None = None  # None: no session
        self._keeps_up: Callable[[], bool] = lambda: False
        self._told: dict[str, Residency] = {}  # by engine: of which everything was told in this session

    def opened(self, say: Callable[[ResidencyUpdate], None], keeps_up: Callable[[], bool]) -> None:
        """There is a session. `keeps_up`: whether the link can take another message now."""
        self._say, self._keeps_up = say, keeps_up
        self._told.clear()

    def closed(self) -> None:
        self._say = None

    def wanted(self, engine_id: str) -> None:
        """The control plane does not trust what it holds: everything is told again."""
        self._told.pop(engine_id, None)

    async def run(self) -> None:
        """Until cancelled. A fault in here ends no session: it is logged, and everything is told anew."""
        while True:
            try:
                self.tell()
            except Exception:  # noqa: BLE001 - reports and commands must not end with it
                _log.exception("residency_not_told")
                self._told.clear()
            await asyncio.sleep(self._period_seconds)

    def tell(self) -> None:
        """Say what there is to say now."""
        present = {residency.engine_id: residency for residency in self._residencies()}
        self._told = {engine_id: told for engine_id, told in self._told.items() if present.get(engine_id) is told}
        for engine_id, residency in present.items():
            if self._say is None or not self._keeps_up():
                return
            if residency.summary() is None:
                continue
            update = residency.take_update() if engine_id in self._told else residency.whole()
            self._told[engine_id] = residency
            if update is not None:
                self._say(update)
