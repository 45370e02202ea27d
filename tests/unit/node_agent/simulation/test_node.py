"""A simulated node lives as a real one: engines start by stages, serve, drain, crash; faults come and go."""

import random
from datetime import UTC, datetime

import pytest

from controlplane.simulation.requests import SimulatedRequest, prefix_names
from node_agent.errors import EngineSpecError
from node_agent.session.facts import EngineSpec, EngineState
from node_agent.session.hardware import MemoryUse
from node_agent.session.values import Source
from node_agent.simulation.fleet import SimulatedFleet, scaled
from node_agent.simulation.node import SimulatedNode
from node_agent.simulation.scenario_loading import scenario_of

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
BASE = {
    "nodes": [{"count": 2, "provider": "gcp", "region": "us-east1", "model": "llama-3-8b"}],
    "traffic": [{"model": "llama-3-8b", "requests_per_second": 4.0}],
}


def fleet(seed: int = 1, **changes: object) -> SimulatedFleet:
    scenario = scenario_of({**BASE, **changes}, "test")
    made = SimulatedFleet(scenario, seed, BEGAN, 0.0, "sim")
    made.build(scaled(scenario, None))
    return made


def node(**changes: object) -> SimulatedNode:
    return fleet(1, **changes).nodes[0]


def live(each: SimulatedNode, until: int) -> None:
    for second in range(int(each.at) + 1, until + 1):
        each.advance(float(second))


def test_traffic_moves_the_figures_and_a_seed_repeats_them() -> None:
    runs = []
    for seed in (1, 1, 2):
        made = fleet(seed)
        for each in made.nodes:
            live(each, 30)
        runs.append([each.statuses() for each in made.nodes])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    [status] = runs[0][0]
    assert status.state is EngineState.READY
    assert status.counters.generation_tokens
    assert status.shape is not None
    assert status.engine_version == "simulated"
    assert fleet().nodes[0].kind.devices[0].kind == "simulated NVIDIA H100 80GB HBM3"


def test_the_memory_of_each_device_is_told_as_assumed_and_adds_up() -> None:
    each = node(nodes=[{**BASE["nodes"][0], "devices_count": 2}])
    live(each, 20)
    used, idle = each.ledgers()
    for ledger in (used, idle):
        assert sum(portion.bytes for portion in ledger.portions) == ledger.total_bytes
        assert {portion.source for portion in ledger.portions} == {Source.ASSUMED}
    [status] = each.statuses()
    shape = status.shape
    assert shape is not None
    sizes = {portion.use: portion.bytes for portion in used.portions}
    assert sizes[MemoryUse.WEIGHTS] == shape.weights_bytes
    assert sizes[MemoryUse.KV_CACHE] == shape.kv_blocks * shape.kv_block_tokens * shape.kv_bytes_per_token  # type: ignore[operator]
    assert sizes[MemoryUse.ACTIVATIONS] > 0
    assert (idle.portions[-1].use, idle.portions[-1].bytes) == (MemoryUse.FREE, idle.total_bytes)
    [room] = used.headroom
    assert room.requests is not None, "twenty seconds of traffic tell how long requests are"
    assert idle.headroom == ()


def test_a_ledger_is_told_anew_when_engines_come_and_go_and_now_and_then() -> None:
    each = node(traffic=[])
    live(each, 1)
    told = each.ledgers()
    live(each, 2)
    assert each.ledgers() is told
    moments = set()
    for second in range(3, 363):
        live(each, second)
        moments.add(each.ledgers()[0].measured_at)
    assert len(moments) in (3, 4), "every two minutes"
    each.stop("c1", each.statuses()[0].engine_id, 0.0, forget=False)
    live(each, 370)
    [ledger] = each.ledgers()
    assert [portion.use for portion in ledger.portions if portion.bytes] == [MemoryUse.FREE]


def test_what_was_cached_given_up_and_computed_again_is_billed_to_its_tenant() -> None:
    each = node(traffic=[])
    [process] = each.engines.values()
    assert process.engine is not None
    blocks = process.engine.blocks.blocks_count
    assert each.statuses()[0].recompute == ()
    for number, tenant in enumerate(("acme", "beta", "acme"), start=1):
        names = prefix_names(1, 0, 64)
        process.submit(SimulatedRequest(f"r{number}", 1024 + 1, 1, names, number, tenant))
        live(each, int(each.at) + 5)
        for filler in range(blocks * 16 // 8000 + 1):  # others take the whole cache
            process.submit(SimulatedRequest(f"f{number}-{filler}", 8000, 1, (), number * 1000 + filler + 100))
        live(each, int(each.at) + 300)
    [acme, beta] = each.statuses()[0].recompute
    assert (acme.tenant, acme.tokens, beta.tenant, beta.tokens) == ("acme", 1024, "beta", 1024)
    assert acme.flops == pytest.approx(process.plan.model.prefill_flops(1024))
    assert acme.seconds is not None
    assert 0 < acme.seconds < process.plan.model.prefill_seconds(1024)
    assert acme.seconds_source is Source.ASSUMED
    assert each.statuses()[0].recompute is each.statuses()[0].recompute


def test_a_commanded_engine_starts_by_stages_and_is_drained() -> None:
    each = node(traffic=[])
    each.start(EngineSpec("e", 1, "llama-3-8b", "x"))
    stages = []
    while each.engines["e"].state is EngineState.STARTING:
        live(each, int(each.at) + 1)
        stages.append(each.statuses()[-1].stage)
    assert list(dict.fromkeys(stages)) == [
        "starting the process",
        "loading weights",
        "compiling",
        "capturing graphs",
        "",
    ]
    each.stop("c1", "e", 10.0, forget=True)
    done = []
    for _ in range(5):
        done += each.advance(each.at + 1)
    assert [stopped.command_id for stopped in done] == ["c1"]
    assert "e" not in each.engines


def test_what_runs_from_the_start_is_placed_without_a_restart() -> None:
    each = node()
    live(each, 5)
    [before] = each.statuses()
    each.start(EngineSpec(before.engine_id, 1, "llama-3-8b", "x"))
    live(each, 6)
    [after] = each.statuses()
    assert (after.generation, after.instance_id) == (1, before.instance_id)
    assert after.state is EngineState.READY
    each.start(EngineSpec(before.engine_id, 2, "llama-3-8b", "x"))
    assert each.statuses()[0].instance_id != before.instance_id


def test_an_engine_that_does_not_fit_fails_with_the_reason() -> None:
    each = node(traffic=[], start_speed=100.0)
    each.start(EngineSpec("big", 1, "llama-3-70b", "x"))
    live(each, 10)
    status = each.statuses()[-1]
    assert status.state is EngineState.FAILED
    assert "does not fit" in status.reason


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (EngineSpec("e", 1, "unheard-of", "x"), "describes no model"),
        (EngineSpec("e", 1, "llama-3-8b", "x", ("--tensor-parallel-size", "8")), "needs 8 devices"),
        (EngineSpec("e", 1, "llama-3-8b", "x", (), ("cuda:7",)), "no cuda:7"),
        (EngineSpec("e", 1, "llama-3-8b", "x", ("--host", "::1")), "--host"),
    ],
)
def test_what_cannot_run_is_refused(spec: EngineSpec, why: str) -> None:
    with pytest.raises(EngineSpecError, match=why):
        node().start(spec)


def test_a_crash_backs_off_and_comes_back_as_another_process() -> None:
    each = node(faults=[{"kind": "engine_crash", "at_seconds": 5}], start_speed=100.0)
    [before] = each.statuses()
    live(each, 6)
    [down] = each.statuses()
    assert down.state is EngineState.BACKING_OFF
    assert down.retry_at is not None
    live(each, 20)
    [after] = each.statuses()
    assert after.state is EngineState.READY
    assert after.restart_count == 1
    assert after.instance_id != before.instance_id


def test_faults_last_as_long_as_they_are_meant_to() -> None:
    faults = [
        {"kind": "node_silent", "at_seconds": 5, "lasts_seconds": 5},
        {"kind": "region_away", "at_seconds": 20, "lasts_seconds": 5, "provider": "elsewhere"},
        {"kind": "clock_error", "at_seconds": 5, "lasts_seconds": 5, "error_seconds": 40},
        {"kind": "metrics_garbage", "at_seconds": 5, "lasts_seconds": 5},
    ]
    each = node(faults=faults)
    seen = []
    for second in range(1, 30):
        live(each, second)
        seen.append(
            (each.silent, each.away, each.clock_error.total_seconds(), each.statuses()[0].counters.steps is None)
        )
    assert seen[6] == (True, False, 40.0, True)
    assert seen[0] == seen[25] == (False, False, 0.0, False)
    assert [event.kind for event in each.events] == ["metrics_unreadable"]


def test_a_slow_device_serves_less() -> None:
    served = []
    for faults in ([], [{"kind": "slow_device", "at_seconds": 0, "lasts_seconds": 100, "factor": 50}]):
        traffic = [{"model": "llama-3-8b", "requests_per_second": 60.0}]
        each = node(faults=faults, traffic=traffic)
        live(each, 30)
        served.append(each.statuses()[0].counters.generation_tokens or 0)
    assert served[1] < served[0] / 2


def test_nodes_are_scaled_in_the_files_proportions() -> None:
    groups = [{"count": count, "provider": "gcp", "region": "r"} for count in (80, 70, 50)]
    scenario = scenario_of({"nodes": groups}, "test")
    assert scaled(scenario, 20) == [8, 7, 5]
    assert sum(scaled(scenario, 7)) == 7


def test_names_and_draws_do_not_depend_on_each_other() -> None:
    assert [each.place.name for each in fleet().nodes] == ["sim-gcp-1", "sim-gcp-2"]
    assert random.Random("a").random() == random.Random("a").random()  # noqa: S311 - strings seed alike in every run
