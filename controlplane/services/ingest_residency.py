"""Take in what agents tell of resident prefixes, notice when it does not add up, and ask for everything then.

Called by `rpc.agent_service`, and for every change of the fleet. What is held of an engine is forgotten with its process,
with the engine and with its node; a node that is only silent for a moment keeps its prefixes.
"""

from collections.abc import Iterable

import structlog

from controlplane.clock import Clock
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.observed import EngineReport
from controlplane.fleet.snapshot import FleetSnapshot
from controlplane.runtime.agent_sessions import AgentSession
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.prefix_index import PrefixIndex, ResidencyUpdate

log = structlog.get_logger(__name__)

WANTED_SECONDS_MIN = 10.0  # between two times that everything of an engine is asked for
BEHIND_SECONDS_MAX = 5.0  # an update that takes longer than this was lost
PER_NODE_MAX = 256


class IngestResidency:
    def __init__(self, index: PrefixIndex, store: FleetStore, clock: Clock) -> None:
        self._index = index
        self._store = store
        self._clock = clock
        self._nodes: dict[str, str] = {}  # engine → the node that tells of it
        self._wanted_at: dict[str, float] = {}
        self._behind_since: dict[str, float] = {}

    def told(self, session: AgentSession, update: ResidencyUpdate) -> None:
        """An agent's update. One for an engine that is another node's is left out."""
        if not self._may_tell(session.node, update.engine_id):
            log.warning("residency_of_a_stranger", node=session.node, engine_id=update.engine_id)
            return
        self._nodes[update.engine_id] = session.node
        if not self._index.apply(update):
            self._want(session, update.engine_id)

    def reported(self, session: AgentSession, engines: Iterable[EngineReport]) -> None:
        """An agent's report: all of its engines, each with what its agent counts."""
        present = set()
        for engine in engines:
            if self._nodes.get(engine.engine_id, session.node) != session.node:
                continue
            present.add(engine.engine_id)
            if engine.residency is None:
                self._drop(engine.engine_id)
                continue
            agrees = self._index.compare(engine.engine_id, engine.instance_id, engine.residency)
            if agrees is None:
                self._is_behind(session, engine.engine_id)
                continue
            self._behind_since.pop(engine.engine_id, None)
            if not agrees:
                self._want(session, engine.engine_id)
        for engine_id in [engine_id for engine_id, node in self._nodes.items() if node == session.node]:
            if engine_id not in present:
                self._drop(engine_id)

    def on_change(self, before: FleetSnapshot, after: FleetSnapshot, _: tuple[FleetEvent, ...]) -> None:
        """The fleet changed: forget what is held of engines whose node is gone or lost."""
        if before.nodes is after.nodes:
            return
        for engine_id, name in list(self._nodes.items()):
            node = after.nodes.get(name)
            if node is None or node.lost:
                self._drop(engine_id)

    def _may_tell(self, node: str, engine_id: str) -> bool:
        placement = self._store.snapshot.desired.placements.get(engine_id)
        if placement is not None:
            return placement.node == node
        teller = self._nodes.get(engine_id)
        of_node = sum(1 for known in self._nodes.values() if known == node)
        return teller == node or (teller is None and of_node < PER_NODE_MAX)

    def _is_behind(self, session: AgentSession, engine_id: str) -> None:
        """The agent counts another version than is held. That is so for a moment after every change."""
        now = self._clock.monotonic()
        if now - self._behind_since.setdefault(engine_id, now) >= BEHIND_SECONDS_MAX:
            self._index.distrust(engine_id)
            self._want(session, engine_id)

    def _want(self, session: AgentSession, engine_id: str) -> None:
        now = self._clock.monotonic()
        asked_at = self._wanted_at.get(engine_id)
        if asked_at is not None and now - asked_at < WANTED_SECONDS_MIN:
            return
        self._nodes[engine_id] = session.node
        self._wanted_at[engine_id] = now
        log.info("residency_wanted", node=session.node, engine_id=engine_id)
        session.want_residency(engine_id)

    def _drop(self, engine_id: str) -> None:
        self._index.drop(engine_id)
        for known in (self._nodes, self._wanted_at, self._behind_since):
            known.pop(engine_id, None)
