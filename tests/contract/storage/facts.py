"""Facts that the storage tests write, with as little to say as possible."""

from datetime import UTC, datetime, timedelta
from typing import Any

from controlplane.fleet.desired import Deployment, DesiredState, EnrolledNode, Placement
from controlplane.fleet.history import EngineSample, FleetEvent
from controlplane.fleet.observed import NodeLocation, Severity

T0 = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)
LLAMA = Deployment("llama", "meta/llama", "/models/llama", ("--max-model-len", "4096"))


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def node(name: str = "gcp-1", **changes: Any) -> EnrolledNode:
    location = NodeLocation("gcp", "europe-west4", "b", {"rack": "7", "owner": "O'Neil"})
    return EnrolledNode(**{"name": name, "location": location, "enrolled_at": T0, "identity_serial": "s1", **changes})


def placement(placement_id: str = "llama@gcp-1", **changes: Any) -> Placement:
    fields: dict[str, Any] = {
        "placement_id": placement_id,
        "deployment": LLAMA,
        "node": "gcp-1",
        "generation": 1,
        "desired": DesiredState.RUNNING,
        "created_at": T0,
        "created_by": "operator:ann",
    }
    return Placement(**{**fields, **changes})


def event(seconds: float = 0, **changes: Any) -> FleetEvent:
    fields: dict[str, Any] = {"at": at(seconds), "severity": Severity.INFO, "kind": "engine_ready", "message": "ready"}
    return FleetEvent(**{**fields, **changes})


def sample(seconds: float, **changes: Any) -> EngineSample:
    fields: dict[str, Any] = {
        "sampled_at": at(seconds),
        "engine_id": "llama@gcp-1",
        "instance_id": "i1",
        "node": "gcp-1",
        "provider": "gcp",
        "region": "europe-west4",
        "model": "meta/llama",
        "state": "ready",
    }
    return EngineSample(**{**fields, **changes})
