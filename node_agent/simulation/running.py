"""A whole simulated fleet, alive: one beat for all nodes, their sessions, and the simulator's own. Called by the command.

Nodes beat on a fixed grid of the simulation's seconds, spread over the interval, so that a run does not depend on how busy
this machine is; where it falls behind, the beats that it missed are skipped and counted.
"""

import asyncio
import heapq
import random
import uuid
from dataclasses import dataclass, field

import structlog

from controlplane.simulation.engine_model import EngineModel
from node_agent import __version__
from node_agent.clock import Clock
from node_agent.errors import EngineSpecError
from node_agent.link.shared_link import SharedLink
from node_agent.session.backoff import BackoffPolicy
from node_agent.session.commands import SimulatedIdentity
from node_agent.session.facts import EngineSpec
from node_agent.session.machine import SessionPolicy
from node_agent.simulation.faults import Faults
from node_agent.simulation.fleet import SimulatedFleet
from node_agent.simulation.node import NodeKind, NodePlace, SimulatedNode
from node_agent.simulation.session import CAPABILITY, NodeSession
from node_agent.tasks import TaskScope

_log = structlog.get_logger(__name__)
_DIALS_PER_SECOND = 500.0
_BREATH_SECONDS = 0.02  # beats due within it are done together: their messages then share packets
_TOLD_EVERY_SECONDS = 10.0


@dataclass(slots=True)
class Progress:
    """What the simulator did, for its own log and its benchmark."""

    beats_count: int = 0
    beats_missed_count: int = 0
    late_seconds_max: float = 0.0


@dataclass(slots=True)
class Simulation:
    fleet: SimulatedFleet
    link: SharedLink
    clock: Clock
    draw: random.Random
    progress: Progress = field(default_factory=Progress)
    sessions: list[NodeSession] = field(default_factory=list)

    @property
    def connected_count(self) -> int:
        return sum(session.established for session in self.sessions)

    @property
    def reports_count(self) -> int:
        return sum(session.reports_count for session in self.sessions)

    async def run(self) -> None:
        """Until cancelled."""
        boot_id = uuid.uuid4().hex
        own = NodeSession(self._itself(), self.link, _policy(boot_id, None), clock=self.clock, draw=self.draw)
        self.sessions = [own, *(self._session(node, boot_id) for node in self.fleet.nodes)]
        async with TaskScope("simulation") as scope:
            for number, session in enumerate(self.sessions):
                scope.spawn(session.run(scope, number / _DIALS_PER_SECOND), name=session.node.place.name)
            scope.spawn(self._tell(), name="status")
            await self._beat()

    def _session(self, node: SimulatedNode, boot_id: str) -> NodeSession:
        place = node.place
        identity = SimulatedIdentity(place.name, place.provider, place.region, place.zone)
        return NodeSession(node, self.link, _policy(boot_id, identity), clock=self.clock, draw=self.draw)

    def _itself(self) -> SimulatedNode:
        """The simulator's own place in the fleet: a node without devices, which cannot be given work."""
        fleet = self.fleet
        kind = NodeKind((), _runs_nothing, lambda _spec, _model, _instance: None, lambda _model, _change: None)
        return SimulatedNode(NodePlace(fleet.prefix, "", ""), kind, Faults(), self.draw, fleet.began)

    async def _beat(self) -> None:
        began = self.fleet.began_seconds
        count = len(self.sessions)
        first = self.clock.monotonic() - began
        due = [(first + number / count, number) for number in range(count)]
        heapq.heapify(due)
        progress = self.progress
        while True:
            now = self.clock.monotonic() - began
            while due and due[0][0] <= now + _BREATH_SECONDS:
                at, number = heapq.heappop(due)
                session = self.sessions[number]
                session.beat(at)
                progress.beats_count += 1
                progress.late_seconds_max = max(progress.late_seconds_max, now - at)
                interval = session.report_interval_seconds
                following = at + interval
                if following < now - interval:
                    missed = int((now - following) / interval)
                    progress.beats_missed_count += missed
                    following += missed * interval
                heapq.heappush(due, (following, number))
                if progress.beats_count % 100 == 0:
                    await asyncio.sleep(0)
                    now = self.clock.monotonic() - began
            await asyncio.sleep(max(0.0, due[0][0] - (self.clock.monotonic() - began)))

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(_TOLD_EVERY_SECONDS)
            progress = self.progress
            _log.info(
                "simulating",
                nodes=len(self.fleet.nodes),
                connected=self.connected_count,
                reports=self.reports_count,
                beats_missed=progress.beats_missed_count,
                late_seconds_max=round(progress.late_seconds_max, 3),
            )
            progress.late_seconds_max = 0.0


def _policy(boot_id: str, identity: SimulatedIdentity | None) -> SessionPolicy:
    return SessionPolicy(
        agent_version=__version__,
        boot_id=boot_id,
        os="simulated",
        backoff=BackoffPolicy(cap_seconds=10.0),
        capabilities=(CAPABILITY,),
        stands_for=identity,
    )


def _runs_nothing(_spec: EngineSpec, _devices_count: int) -> EngineModel:
    raise EngineSpecError("this is the simulator itself: place models on the nodes that it simulates")
