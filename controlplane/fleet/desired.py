"""What operators want: enrolled nodes, deployments, placements. Kept in SQL, changed only by operators' commands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from controlplane.fleet.observed import NodeLocation


class DesiredState(Enum):
    RUNNING = "running"
    DRAINED = "drained"  # the placement stays, its engine is stopped after finishing its requests
    REMOVED = "removed"  # being drained; the placement disappears once its engine has stopped


@dataclass(frozen=True, slots=True)
class EnrolledNode:
    """A node that joined. Its certificate alone is not enough: a forgotten node is refused though its certificate lives."""

    name: str
    location: NodeLocation
    enrolled_at: datetime
    identity_serial: str  # of the enrolment, carried in the certificate: a replaced node's old certificate is refused
    advertised_hosts: tuple[str, ...] = ()
    cordoned: bool = False
    cordon_reason: str = ""
    certificate_not_after: datetime | None = None
    simulator: bool = False  # its certificate also stands for the nodes that it simulates, "<its name>-…"
    simulated_by: str = ""  # the simulator that speaks for this node; "": it is a real one


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model with its engine arguments."""

    name: str
    model: str  # the name that clients ask for
    source: str  # a path on the node or a model id
    engine_args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter beside a placement's model, under a name of its own."""

    name: str
    source: str  # a path on the node
    revision: int  # counts the changes of a placement's adapters: each is another command
    wanted: bool = True  # False: it was unloaded, and is kept until no engine serves it


@dataclass(frozen=True, slots=True)
class Placement:
    """A deployment on a node's devices. `generation` grows with every change that needs the engine to be replaced."""

    placement_id: str
    deployment: Deployment
    node: str
    generation: int
    desired: DesiredState
    created_at: datetime
    created_by: str
    device_ids: tuple[str, ...] = ()
    drain_seconds_max: float | None = None  # None: the daemon's setting
    adapters: tuple[Adapter, ...] = ()


@dataclass(frozen=True, slots=True)
class Desired:
    """All desired state at one moment."""

    nodes: Mapping[str, EnrolledNode] = field(default_factory=dict)
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    placements: Mapping[str, Placement] = field(default_factory=dict)
