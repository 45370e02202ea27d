"""Let a simulator speak for one of the nodes that it simulates.

Called by `rpc.agent_service` for every hello. A certificate stands for its own node alone, unless that node was enrolled
with a token for simulation; then also for nodes named "<its name>-…", and only while the agent says that they are
simulated. Simulated nodes become part of the fleet as they say hello, marked as such, many in one transaction. Never lets
a simulator take a real node's name, nor pass as a real node itself.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from controlplane.clock import Clock
from controlplane.errors import IdentityRefusedError, InvalidInputError
from controlplane.fleet import ids
from controlplane.fleet.desired import Desired, EnrolledNode
from controlplane.fleet.history import AuditEntry
from controlplane.fleet.observed import NodeLocation
from controlplane.identity.peer import NodePeer
from controlplane.services.desired_state import DesiredState
from controlplane.services.renew_certificate import require_current
from controlplane.storage.unit_of_work import UnitOfWork

CAPABILITY = "simulated"
SIMULATED_NODES_MAX = 20_000
LABELS = {"simulated": "true"}


@dataclass(frozen=True, slots=True)
class SpokenFor:
    """Whom a session is for, as its hello says it. Nothing in it has been checked."""

    node_name: str  # "": the certificate's own
    provider: str
    region: str
    zone: str
    capabilities: tuple[str, ...]


class AdmitSimulated:
    def __init__(self, desired: DesiredState, current: Callable[[], Desired], clock: Clock) -> None:
        self._desired = desired
        self._current = current
        self._clock = clock
        self._waiting: dict[str, EnrolledNode] = {}
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, peer: NodePeer, asked: SpokenFor) -> str:
        """The node whose session this is. Raises IdentityRefusedError or InvalidInputError."""
        known = self._current().nodes
        own = require_current(peer, known.get(peer.name))
        simulated = CAPABILITY in asked.capabilities
        if own.simulator and not simulated:
            raise IdentityRefusedError(
                f"node {own.name} joined with a token for simulation: run `stoker-agent simulate`, or join with another token"
            )
        if asked.node_name in ("", own.name):
            return own.name
        node = self._node(own, asked, simulated=simulated)
        _require_free(known.get(node.name), own)
        if not _is_same(known.get(node.name), node):
            await self._admitted(node, peer, own)
        return node.name

    def _node(self, own: EnrolledNode, asked: SpokenFor, *, simulated: bool) -> EnrolledNode:
        if not own.simulator:
            raise IdentityRefusedError(
                f"the certificate of node {own.name} stands for no other node: to simulate some, join with a token made by "
                "`stoker node token --simulator`"
            )
        if not simulated:
            raise IdentityRefusedError(f"a node for which {own.name} speaks must say that it is simulated")
        name = ids.node_name(asked.node_name)
        if not name.startswith(f"{own.name}-"):
            raise IdentityRefusedError(f"{own.name} may speak for nodes named {own.name}-… only, not for {name}")
        if not asked.provider or not asked.region:
            raise InvalidInputError(f"the simulated node {name} needs a provider and a region")
        places = (("provider", asked.provider), ("region", asked.region), ("zone", asked.zone))
        provider, region, zone = (ids.place_label(kind, value) for kind, value in places)
        return EnrolledNode(
            name=name,
            location=NodeLocation(provider, region, zone, LABELS),
            enrolled_at=self._clock.now(),
            identity_serial=own.identity_serial,
            advertised_hosts=own.advertised_hosts,
            simulated_by=own.name,
        )

    async def _admitted(self, node: EnrolledNode, peer: NodePeer, own: EnrolledNode) -> None:
        """Those who wait for the lock meanwhile are taken along by whoever gets it."""
        self._waiting[node.name] = node
        async with self._one_at_a_time:
            if self._waiting.get(node.name) is node:
                await self._desired.change(self._put)
        # Looked at again: what was free before the lock may be somebody else's now.
        known = self._current().nodes
        require_current(peer, known.get(peer.name))
        _require_free(known.get(node.name), own)
        if node.name not in known:
            raise InvalidInputError(
                f"{SIMULATED_NODES_MAX} nodes are simulated already: forget those of another simulator"
            )

    def _put(self, uow: UnitOfWork, desired: Desired) -> None:
        waiting, self._waiting = self._waiting, {}
        left = SIMULATED_NODES_MAX - sum(1 for node in desired.nodes.values() if node.simulated_by)
        put: list[str] = []
        for asking in waiting.values():
            node = asking
            present = desired.nodes.get(node.name)
            simulator = desired.nodes.get(node.simulated_by)
            if simulator is None or not simulator.simulator or (present is not None and not present.simulated_by):
                continue
            if present is None and len(put) >= left:
                continue
            if present is not None:  # an operator's cordon outlives the simulator's sessions
                cordon = (present.cordoned, present.cordon_reason)
                node = replace(node, enrolled_at=present.enrolled_at, cordoned=cordon[0], cordon_reason=cordon[1])
            uow.nodes.put(node)
            put.append(node.name)
        if put:
            first = waiting[put[0]]
            more = f" and {len(put) - 1} more" if len(put) > 1 else ""
            uow.audit.append(
                AuditEntry(
                    first.enrolled_at,
                    f"agent:{first.simulated_by}",
                    "admit_simulated",
                    first.name,
                    f"{first.name}{more}, simulated by {first.simulated_by}",
                    "admitted",
                    "",
                )
            )


def _require_free(present: EnrolledNode | None, own: EnrolledNode) -> None:
    if present is not None and present.simulated_by != own.name:
        raise IdentityRefusedError(
            f"there is a node {present.name} that {own.name} does not simulate: it is not to be replaced"
        )


def _is_same(present: EnrolledNode | None, node: EnrolledNode) -> bool:
    return (
        present is not None
        and present.location == node.location
        and present.identity_serial == node.identity_serial
        and present.advertised_hosts == node.advertised_hosts
    )
