"""The fleet on its way to operators: all that is known arrives, and what is unknown arrives as unset."""

from dataclasses import fields, replace

import pytest

from controlplane.fleet.desired import DesiredState
from controlplane.fleet.events import DesiredChanged, ReportReceived, SummariesRestored
from controlplane.fleet.history import EngineHistoryRow, FleetEvent
from controlplane.fleet.observed import (
    Ceiling,
    Device,
    EngineCounters,
    EngineState,
    Histogram,
    NodeFacts,
    Severity,
    Trust,
)
from controlplane.fleet.sources import Source
from controlplane.fleet.summaries import EngineSummary
from controlplane.proto.stoker.v1 import fleet_pb2, operator_pb2
from controlplane.rpc import agent_codec, fleet_codec
from controlplane.runtime.inflight import Inflight
from tests.support.fleet import Timeline, at, counted, desired, enrolled, opened, placed, report, reported

CEILING = Ceiling("bfloat16", 2e12, 1e11, Source.MEASURED, at(-100), disturbed=True)
DEVICE = Device("cuda:0", "H100", "cuda", 80 * 2**30, "555", "9.0", (CEILING,), "GPU-1")


def line() -> Timeline:
    made = Timeline(desired([enrolled("gcp-1", cordon_reason="x", certificate_not_after=at(86400))], [placed()]))
    histogram = Histogram((0.1, 1.0), (3, 2, 1), 2.5)
    for second in (1, 2):
        engine = reported(
            seconds=second,
            counters=replace(counted(second * 10), ttft_seconds=histogram),
            dtype="bfloat16",
            device_ids=("cuda:0",),
            context_tokens_max=4096,
            pid=42,
            state_since=at(0),
            log_tail=("a", "b"),
        )
        made.step(second, ReportReceived("gcp-1", (engine,), at(second), at(second + 1), (DEVICE,)))
    return made


def test_a_node() -> None:
    node = fleet_codec.node_to_wire(line().snapshot, "gcp-1")
    assert (node.name, node.provider, node.region, node.trust) == ("gcp-1", "gcp", "gcp-west", fleet_pb2.TRUST_FRESH)
    assert node.last_report_at.ToDatetime(tzinfo=at(0).tzinfo) == at(2)
    assert node.clock_error_seconds == 1.0
    assert agent_codec.devices_from(node.devices) == (DEVICE,)


def test_a_node_that_never_came_tells_no_times() -> None:
    made = Timeline(desired([enrolled("gcp-1")]))
    node = fleet_codec.node_to_wire(made.snapshot, "gcp-1")
    assert not node.HasField("last_report_at")
    assert not node.HasField("clock_error_seconds")
    assert not node.HasField("certificate_not_after")
    assert (node.connected, node.trust) == (False, fleet_pb2.TRUST_STALE)


def test_an_engines_report_survives_the_way_to_a_console() -> None:
    snapshot = line().snapshot
    engine = fleet_codec.engine_to_wire(snapshot, "llama@gcp-1", Inflight(), at(3))
    assert agent_codec.engines_from([engine.status]) == (snapshot.engines["llama@gcp-1"].report,)
    assert engine.ridge_flops_per_byte == 20.0
    assert engine.ridge_source == fleet_pb2.SOURCE_MEASURED
    assert engine.routable
    assert engine.working_point.generation_tokens_per_second == 10.0
    assert engine.working_point.HasField("flops_per_second")
    assert not engine.working_point.HasField("bytes_per_second")
    assert not engine.working_point.HasField("ttft_seconds_p50"), "nothing was observed in the window"


def test_unknown_stays_unset() -> None:
    made = Timeline(desired([enrolled("gcp-1")], [placed()]))
    made.step(1, opened("gcp-1", 1, reported(gauges=type(reported().gauges)(), counters=EngineCounters())))
    engine = fleet_codec.engine_to_wire(made.snapshot, "llama@gcp-1", Inflight(), at(1))
    for message in (engine.status.gauges, engine.status.counters):
        assert message.ListFields() == []
    assert not engine.HasField("working_point")
    assert not engine.HasField("ridge_flops_per_byte")
    model = fleet_codec.model_to_wire(made.snapshot, "llama", at(1))
    assert not model.HasField("kv_capacity_tokens")
    assert not model.HasField("waiting_count")


def test_a_restored_engine_was_not_heard() -> None:
    made = Timeline(desired([enrolled("gcp-1")], [placed()]))
    summary = EngineSummary("llama@gcp-1", "gcp-1", "llama", 1, "i1", EngineState.READY, "10.0.0.1:8000", at(-5))
    made.step(1, SummariesRestored((summary,)))
    engine = fleet_codec.engine_to_wire(made.snapshot, "llama@gcp-1", Inflight(), at(1))
    assert not engine.HasField("last_report_at")
    assert engine.trust == fleet_pb2.TRUST_AGEING


@pytest.mark.parametrize(
    ("state", "words"),
    [(EngineState.BACKING_OFF, "backing off"), (EngineState.STARTING, "starting")],
)
def test_why_an_engine_gets_no_requests(state: EngineState, words: str) -> None:
    made = line()
    made.step(3, report("gcp-1", 3, reported(state=state), reported("stray@gcp-1")))
    engine = fleet_codec.engine_to_wire(made.snapshot, "llama@gcp-1", Inflight(), at(3))
    assert (engine.routable, words in engine.not_routable_reason) == (False, True)
    stray = fleet_codec.engine_to_wire(made.snapshot, "stray@gcp-1", Inflight(), at(3))
    assert "no placement" in stray.not_routable_reason


@pytest.mark.parametrize("state", DesiredState)
def test_a_placement(state: DesiredState) -> None:
    placement = replace(placed(generation=3), desired=state)
    wire = fleet_codec.placement_to_wire(placement, None)
    assert operator_pb2.DesiredState.Name(wire.desired) == f"DESIRED_STATE_{state.name}"
    assert not wire.HasField("observed_generation")
    made = line()
    assert fleet_codec.placement_to_wire(placement, made.snapshot.engines["llama@gcp-1"]).observed_generation == 1


def test_every_enum_value_has_its_wire_value() -> None:
    made = line()
    for state in EngineState:
        made.step(3, DesiredChanged(made.snapshot.desired), report("gcp-1", 3, reported(state=state)))
        wire = fleet_codec.engine_to_wire(made.snapshot, "llama@gcp-1", Inflight(), at(3))
        assert fleet_pb2.EngineState.Name(wire.status.state) == f"ENGINE_STATE_{state.name}"
    for severity in Severity:
        event = fleet_codec.event_to_wire(FleetEvent(at(0), severity, "k", "m", event_id=7))
        assert fleet_pb2.Severity.Name(event.severity) == f"SEVERITY_{severity.name}"
        assert event.event_id == 7
    assert {trust.name for trust in Trust} <= {name.removeprefix("TRUST_") for name in fleet_pb2.Trust.keys()}  # noqa: SIM118


def test_a_history_row_keeps_what_is_unknown_unknown() -> None:
    bare = fleet_codec.history_row_to_wire(EngineHistoryRow(at(0), "e", "n", "p", "r", "m", 3))
    optional = [field.name for field in fields(EngineHistoryRow)][7:]
    assert not any(bare.HasField(name) for name in optional)  # type: ignore[arg-type]  # names of the message
    whole = fleet_codec.history_row_to_wire(
        EngineHistoryRow(at(0), "e", "n", "p", "r", "m", 3, *(0.0, 0.0, 0.0, 0.0, 0, 0, 0.0, 0.0, 0.0, 0, 0.0))
    )
    assert all(whole.HasField(name) for name in optional)  # type: ignore[arg-type]  # names of the message


def test_a_nodes_facts_keep_their_os() -> None:
    made = Timeline(desired([enrolled("gcp-1")]))
    made.step(1, replace(opened("gcp-1", 1), facts=NodeFacts("0.2.0", "b", "Debian 13")))
    node = fleet_codec.node_to_wire(made.snapshot, "gcp-1")
    assert (node.agent_version, node.os, node.connected) == ("0.2.0", "Debian 13", True)
