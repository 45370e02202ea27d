"""What agents say, from the wire: nothing that they can send raises, is unbounded, or reaches a terminal as it came."""

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import pytest
from hypothesis import given, settings

from controlplane.fleet.apply import apply
from controlplane.fleet.events import DesiredChanged, Event, ReportReceived, SessionOpened
from controlplane.fleet.observed import EngineCounters, EngineGauges, EngineState, Severity
from controlplane.fleet.snapshot import FleetSnapshot
from controlplane.fleet.sources import Source
from controlplane.policies.placement.reconcile import StartCommand, StopCommand
from controlplane.proto.stoker.v1 import agent_pb2, fleet_pb2
from controlplane.rpc import agent_codec, agent_hardware_codec, command_codec, fleet_codec
from controlplane.rpc.bounded import LIST_MAX, TEXT_MAX
from controlplane.rpc.timestamps import from_wire, to_wire
from controlplane.runtime.agent_sessions import CommandStatus
from controlplane.runtime.inflight import Inflight
from tests.support.fleet import THRESHOLDS, at, desired, enrolled, placed
from tests.support.protobufs import messages


def leaves(value: Any) -> Iterator[Any]:
    """All plain values within a fact."""
    if is_dataclass(value):
        for field in fields(value):
            yield from leaves(getattr(value, field.name))
    elif isinstance(value, tuple):
        assert len(value) <= max(LIST_MAX, 129)
        for item in value:
            yield from leaves(item)
    else:
        yield value


def check(value: Any) -> None:
    for leaf in leaves(value):
        if isinstance(leaf, str):
            assert leaf.isprintable()
            assert len(leaf) <= TEXT_MAX
        elif isinstance(leaf, float):
            assert math.isfinite(leaf)
            assert leaf >= 0 or leaf == leaf
        elif isinstance(leaf, datetime):
            assert leaf.utcoffset() is not None
        else:
            assert leaf is None or isinstance(leaf, int | Enum)


@settings(deadline=None)
@given(messages(agent_pb2.Hello))
def test_no_hello_raises_or_is_unbounded(hello: agent_pb2.Hello) -> None:
    check(agent_codec.facts_from(hello))
    check(agent_codec.engines_from(hello.engines))


@settings(deadline=None)
@given(messages(agent_pb2.CommandOutcome), messages(agent_pb2.NodeEvent))
def test_no_outcome_or_event_raises_or_is_unbounded(
    outcome: agent_pb2.CommandOutcome, event: agent_pb2.NodeEvent
) -> None:
    check(command_codec.outcome_from(outcome))
    told = agent_codec.event_from(event, "gcp-1", at(5))
    check(told)
    assert (told.at, told.node, told.actor) == (at(5), "gcp-1", "agent:gcp-1")
    assert told.kind


@settings(deadline=None, max_examples=150)
@given(messages(agent_pb2.Hello), messages(agent_pb2.Report))
def test_nothing_that_an_agent_says_breaks_the_fleet_or_the_consoles(
    hello: agent_pb2.Hello, report: agent_pb2.Report
) -> None:
    """From the wire, through the state, and out again to an operator."""
    reported = ReportReceived(
        "gcp-1",
        agent_codec.engines_from(report.engines),
        at(2),
        from_wire(report, "sent_at"),
        agent_codec.devices_from(report.devices),
        agent_hardware_codec.health_from(report.health),
        agent_hardware_codec.memory_from(report.memory),
    )
    check((reported.health, reported.memory))
    events: list[Event] = [
        DesiredChanged(desired([enrolled("gcp-1")], [placed()])),
        SessionOpened("gcp-1", agent_codec.facts_from(hello), agent_codec.engines_from(hello.engines), at(1)),
        reported,
    ]
    snapshot, told = apply(FleetSnapshot(0, at(0)), events, at(2), THRESHOLDS)
    fleet_codec.node_to_wire(snapshot, "gcp-1").SerializeToString()
    for engine_id in snapshot.engines:
        fleet_codec.engine_to_wire(snapshot, engine_id, Inflight(), at(3)).SerializeToString()
    for model in snapshot.engines_by_model:
        fleet_codec.model_to_wire(snapshot, model, at(3)).SerializeToString()
    for event in told:
        assert fleet_codec.event_to_wire(event).message.isprintable()


def test_unset_is_unknown_and_zero_is_zero() -> None:
    [engine] = agent_codec.engines_from([fleet_pb2.EngineStatus(engine_id="e", state=fleet_pb2.ENGINE_STATE_READY)])
    assert engine.gauges == EngineGauges()
    assert engine.counters == EngineCounters()
    assert (engine.measured_at, engine.context_tokens_max) == (None, None)
    [zero] = agent_codec.engines_from(
        [
            fleet_pb2.EngineStatus(
                engine_id="e",
                state=fleet_pb2.ENGINE_STATE_READY,
                gauges=fleet_pb2.EngineGauges(kv_used_tokens=0, running_count=0),
                counters=fleet_pb2.EngineCounters(prompt_tokens_total=0, flops_total=0.0),
            )
        ]
    )
    assert zero.gauges == EngineGauges(kv_used_tokens=0, running=0)
    assert zero.counters == EngineCounters(prompt_tokens=0, flops=0.0)


def test_figures_larger_than_anything_real_are_unknown() -> None:
    [engine] = agent_codec.engines_from(
        [
            fleet_pb2.EngineStatus(
                engine_id="e",
                state=fleet_pb2.ENGINE_STATE_READY,
                gauges=fleet_pb2.EngineGauges(kv_capacity_tokens=2**64 - 1, waiting_count=2**32 - 1),
                counters=fleet_pb2.EngineCounters(
                    steps_total=2**60,
                    flops_total=math.nan,
                    bytes_total=-1.0,
                    ttft_seconds=fleet_pb2.Histogram(upper_bounds=[1.0], counts=[2**64 - 1, 0], sum=1.0),
                ),
            )
        ]
    )
    assert engine.gauges == EngineGauges()
    assert engine.counters == EngineCounters()


@pytest.mark.parametrize(
    ("bounds", "counts", "total"),
    [
        ([1.0, 2.0], [1, 1], 2.0),
        ([2.0, 1.0], [1, 1, 1], 2.0),
        ([1.0, 1.0], [1, 1, 1], 2.0),
        ([math.inf], [1, 1], 2.0),
        ([math.nan], [1, 1], 2.0),
        ([1.0], [1, 1], math.nan),
        ([1.0], [1, 1], -1.0),
        ([float(index) for index in range(1000)], [0] * 1001, 0.0),
    ],
)
def test_what_is_no_histogram(bounds: list[float], counts: list[int], total: float) -> None:
    status = fleet_pb2.EngineStatus(
        engine_id="e",
        state=fleet_pb2.ENGINE_STATE_READY,
        counters=fleet_pb2.EngineCounters(
            ttft_seconds=fleet_pb2.Histogram(upper_bounds=bounds, counts=counts, sum=total)
        ),
    )
    assert agent_codec.engines_from([status])[0].counters.ttft_seconds is None


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("10.0.0.1:8000", "10.0.0.1:8000"),
        ("[fd00::1]:8000", "[fd00::1]:8000"),
        ("node-1.example:80", "node-1.example:80"),
        ("10.0.0.1", ""),
        ("10.0.0.1:", ""),
        ("10.0.0.1:80,10.6.6.6:80", ""),
        ("10.0.0.1:80\r\nx: y", ""),
        ("http://10.0.0.1:80", ""),
        ("a" * 300 + ":80", ""),
    ],
)
def test_an_endpoint_is_an_address_or_nothing(told: str, kept: str) -> None:
    status = fleet_pb2.EngineStatus(engine_id="e", state=fleet_pb2.ENGINE_STATE_READY, endpoint=told)
    assert agent_codec.engines_from([status])[0].endpoint == kept


def test_engines_in_a_state_of_a_newer_release_are_left_out() -> None:
    known = [fleet_pb2.EngineStatus(engine_id=f"e{number}", state=number) for number in range(15)]  # type: ignore[arg-type]
    assert [engine.engine_id for engine in agent_codec.engines_from(known)] == [f"e{number}" for number in range(1, 8)]
    assert [engine.state for engine in agent_codec.engines_from(known)] == list(EngineState)
    assert agent_codec.engines_from([fleet_pb2.EngineStatus(state=fleet_pb2.ENGINE_STATE_READY)]) == ()


def test_floods_are_cut() -> None:
    engines = [fleet_pb2.EngineStatus(engine_id=f"e{n}", state=fleet_pb2.ENGINE_STATE_READY) for n in range(1000)]
    assert len(agent_codec.engines_from(engines)) == LIST_MAX
    assert len(agent_codec.devices_from([fleet_pb2.Device(device_id=str(n)) for n in range(1000)])) == LIST_MAX
    lines = [f"line {n}" for n in range(100)]
    [engine] = agent_codec.engines_from(
        [fleet_pb2.EngineStatus(engine_id="e", state=fleet_pb2.ENGINE_STATE_FAILED, log_tail=lines)]
    )
    assert engine.log_tail == tuple(lines[-40:]), "the last lines say why it died"


def test_a_source_that_is_not_known_is_assumed() -> None:
    device = fleet_pb2.Device(
        ceilings=[fleet_pb2.Ceiling(dtype="float32"), fleet_pb2.Ceiling(source=fleet_pb2.SOURCE_MEASURED)]
    )
    [found] = agent_codec.devices_from([device])
    assert [ceiling.source for ceiling in found.ceilings] == [Source.ASSUMED, Source.MEASURED]


def test_an_outcome_of_an_unknown_status_is_no_outcome() -> None:
    assert command_codec.outcome_from(agent_pb2.CommandOutcome(command_id="c")) is None
    found = command_codec.outcome_from(
        agent_pb2.CommandOutcome(command_id="c", status=agent_pb2.COMMAND_STATUS_SUCCEEDED, message="ok")
    )
    assert found is not None
    assert (found.status, found.message) == (CommandStatus.SUCCEEDED, "ok")


def test_severities() -> None:
    found = [
        agent_codec.event_from(agent_pb2.NodeEvent(severity=number), "n", at(0)).severity  # type: ignore[arg-type]
        for number in (0, 1, 2, 3, 9)
    ]
    assert found == [Severity.INFO, Severity.INFO, Severity.WARNING, Severity.ERROR, Severity.INFO]


def test_commands() -> None:
    placement = placed(generation=4, device_ids=("cuda:0",))
    start = command_codec.command_to_wire(StartCommand("c1", "gcp-1", placement), 7)
    assert (start.command_id, start.leader_epoch, start.generation, start.engine_id) == ("c1", 7, 4, "llama@gcp-1")
    assert start.WhichOneof("action") == "start"
    assert (start.start.spec.model, start.start.spec.source) == ("llama", "/models/llama")
    assert list(start.start.spec.device_ids) == ["cuda:0"]
    stop = command_codec.command_to_wire(StopCommand("c2", "gcp-1", "llama@gcp-1", 5, 30.0, forget=True), 7)
    assert stop.WhichOneof("action") == "stop"
    assert (stop.stop.drain_seconds_max, stop.stop.forget, stop.generation) == (30.0, True, 5)


def test_times_go_both_ways() -> None:
    assert to_wire(None) is None
    message = agent_pb2.Report(sent_at=to_wire(at(1.5)))
    assert from_wire(message, "sent_at") == at(1.5)
    assert from_wire(agent_pb2.Report(), "sent_at") is None
    message.sent_at.seconds = 2**62
    assert from_wire(message, "sent_at") is None
