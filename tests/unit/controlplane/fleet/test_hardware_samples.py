"""Which engine has which device: by what is seen, and only then by what was ordered."""

from typing import Any

import pytest

from controlplane.fleet.desired import DesiredState
from controlplane.fleet.hardware import MemoryLedger, MemoryPortion, MemoryUse
from controlplane.fleet.hardware_samples import device_holders, devices_count, node_sample
from controlplane.fleet.inside import ModelShape
from controlplane.fleet.observed import Device, EngineState, NodeFacts, Trust
from controlplane.fleet.snapshot import NodeObserved
from controlplane.fleet.sources import Source
from tests.support.fleet import at, enrolled, placed, reported


def node(*device_ids: str, **changes: Any) -> NodeObserved:
    facts = NodeFacts("0.1.0", devices=tuple(Device(name, "H100", "cuda") for name in device_ids))
    told: dict[str, Any] = {"facts": facts, "connected": True, "trust": Trust.FRESH, "heard_since_boot": True}
    return NodeObserved("gcp-1", **{**told, **changes})


def holders(observed: NodeObserved, engines: list[Any], placements: list[Any] | None = None) -> dict[str, str]:
    return {name: each.engine_id for name, each in device_holders(observed, engines, placements or []).items()}


def test_as_engines_tell() -> None:
    assert holders(node("gpu-0", "gpu-1"), [reported(device_ids=("gpu-1",))]) == {"gpu-1": "llama@gcp-1"}


@pytest.mark.parametrize("state", [EngineState.STOPPED, EngineState.FAILED])
def test_an_engine_that_is_gone_has_nothing(state: EngineState) -> None:
    assert holders(node("gpu-0"), [reported(device_ids=("gpu-0",), state=state)]) == {}


def test_of_several_engines_on_a_device_the_one_that_serves() -> None:
    starting = reported("a@gcp-1", device_ids=("gpu-0",), state=EngineState.STARTING)
    ready = reported("b@gcp-1", device_ids=("gpu-0",))
    assert holders(node("gpu-0"), [starting, ready]) == {"gpu-0": "b@gcp-1"}


def test_an_engine_without_named_devices_has_the_only_one_or_is_where_its_memory_is() -> None:
    assert holders(node("cpu"), [reported()]) == {"cpu": "llama@gcp-1"}
    assert holders(node("gpu-0", "gpu-1"), [reported()]) == {}
    portions = (MemoryPortion(MemoryUse.WEIGHTS, 5, Source.MEASURED, "llama@gcp-1"),)
    seen = node("gpu-0", "gpu-1", memory=(MemoryLedger("gpu-1", None, 10, portions),))
    assert holders(seen, [reported()]) == {"gpu-1": "llama@gcp-1"}


def test_what_was_ordered_is_held_before_its_engine_is_seen() -> None:
    wanted = placed(device_ids=("gpu-0",))
    assert holders(node("gpu-0"), [], [wanted]) == {"gpu-0": "llama@gcp-1"}
    drained = placed(device_ids=("gpu-0",), desired=DesiredState.DRAINED)
    assert holders(node("gpu-0"), [], [drained]) == {}


def test_how_many_devices_an_engine_has() -> None:
    assert devices_count(reported(device_ids=("gpu-0", "gpu-1")), {}) == 2
    assert devices_count(reported(), device_holders(node("cpu"), [reported()], [])) == 1
    assert devices_count(reported(shape=ModelShape(tensor_parallel=4)), {}) == 4
    assert devices_count(reported(), {}) is None


def test_a_node_that_fell_silent_keeps_its_devices_and_nothing_else_is_known() -> None:
    engine = reported(device_ids=("gpu-0",))
    heard, silent = node("gpu-0", "gpu-1"), node("gpu-0", "gpu-1", trust=Trust.STALE, connected=False)
    held = device_holders(heard, [engine], [])
    sample = node_sample(heard, enrolled("gcp-1", cordoned=True), [engine], held, at(0), 10.0)
    assert (sample.devices_count, sample.placed_devices_count, sample.engines_count) == (2, 1, 1)
    assert (sample.ready_engines_count, sample.cordoned, sample.simulated) == (1, True, False)
    sample = node_sample(silent, enrolled("gcp-1"), [engine], held, at(0), 10.0)
    assert (sample.devices_count, sample.placed_devices_count, sample.engines_count) == (2, None, None)
    assert (sample.connected, sample.trust, sample.ready_engines_count) == (False, "stale", None)
