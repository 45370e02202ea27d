"""The life of `stoker-agent simulate`: sessions, engines that answer HTTP, renewal, until a signal. Called by the command."""

import asyncio
import gc
import random
import signal
from dataclasses import dataclass, field

import structlog

from node_agent.clock import Clock
from node_agent.link.identity import IdentityStore
from node_agent.link.renewal import Renewal
from node_agent.link.shared_link import SharedLink
from node_agent.session.facts import NodeEvent
from node_agent.simulation.fleet import SimulatedFleet
from node_agent.simulation.running import Simulation
from node_agent.simulation.serving import Access, Serving
from node_agent.tasks import TaskScope

_log = structlog.get_logger(__name__)
_YOUNG_OBJECTS_MAX = 50_000


@dataclass(slots=True)
class Life:
    """`address` None: there is no control plane; `access` None: no engine answers HTTP."""

    fleet: SimulatedFleet
    clock: Clock
    draw: random.Random
    store: IdentityStore
    address: str | None
    channels_count: int
    access: Access | None
    _crashed: bool = False
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> int:
        """The exit code: 0 when it was asked to end, 1 when a part of it crashed."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        # Thousands of nodes are objects that stay: looking through them for garbage again and again costs a third of a core.
        gc.freeze()
        gc.set_threshold(_YOUNG_OBJECTS_MAX, 50, 1000)
        async with TaskScope("simulate", on_crash=self._crash) as scope:
            if self.access is not None:
                serving = Serving(self.fleet, self.clock, self.access)
                await serving.start()
                scope.spawn(serving.run(), name="engines")
            link = None
            if self.address is not None:
                link = SharedLink(
                    address=self.address, store=self.store, clock=self.clock, channels_count=self.channels_count
                )
                scope.spawn(Simulation(self.fleet, link, self.clock, self.draw).run(), name="sessions")
                scope.spawn(self._renewal(self.address).run(), name="renewal")
            _log.info("simulation_started", nodes=len(self.fleet.nodes), scenario=self.fleet.scenario.name)
            await self._stop.wait()
        if link is not None:
            await link.close()
        return 1 if self._crashed else 0

    def _crash(self, _task: str, _error: BaseException) -> None:
        self._crashed = True
        self._stop.set()

    def _renewal(self, address: str) -> Renewal:
        return Renewal(
            address=address,
            node_name=self.fleet.prefix,
            advertised_hosts=(),
            store=self.store,
            clock=self.clock,
            draw=self.draw.random,
            on_event=_told,
        )


def _told(event: NodeEvent) -> None:
    _log.info(event.kind, message=event.message)
