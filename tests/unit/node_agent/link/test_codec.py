"""The codec: units and names, unknown stays unset, nothing from a probe can make a report unsendable."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from controlplane.proto.stoker.v1 import agent_pb2, fleet_pb2
from node_agent.link.codec import agent_message, control_event
from node_agent.session.commands import (
    CommandStatus,
    Hello,
    Outcome,
    Report,
    StartAction,
    StopAction,
    UnknownAction,
    Welcome,
)
from node_agent.session.facts import (
    Ceiling,
    Device,
    EngineCounters,
    EngineGauges,
    EngineSpec,
    EngineState,
    EngineStatus,
    Histogram,
    NodeEvent,
)
from node_agent.session.inside import EngineInside, InsideState, ModelShape, RecomputeBill, ResidencySummary
from node_agent.session.protocol import CommandReceived, OutcomeAcknowledged
from node_agent.session.values import Severity, Source

NOW = datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC)
BARE = EngineStatus("a@n", 3, "", "tiny", EngineState.STARTING, NOW)


def report_of(*engines: EngineStatus, devices: tuple[Device, ...] = ()) -> agent_pb2.Report:
    message = agent_message(Report(7, NOW, engines, devices)).SerializeToString()
    return agent_pb2.AgentMessage.FromString(message).report


def test_every_state_source_status_and_severity_has_its_own_value_on_the_wire() -> None:
    states = {report_of(EngineStatus("a", 1, "", "m", state, NOW)).engines[0].state for state in EngineState}
    assert states == set(fleet_pb2.EngineState.values()) - {0}
    ceilings = tuple(Ceiling("float32", 1.0, 1.0, source) for source in Source)
    told = report_of(devices=(Device("cpu:0", "c", "cpu", ceilings=ceilings),)).devices[0].ceilings
    assert {ceiling.source for ceiling in told} == set(fleet_pb2.Source.values()) - {0}
    statuses = {agent_message(Outcome("c", status, "", NOW)).outcome.status for status in CommandStatus}
    assert statuses == set(agent_pb2.CommandStatus.values()) - {0}
    severities = {agent_message(NodeEvent("k", "m", severity, NOW)).event.severity for severity in Severity}
    assert severities == set(fleet_pb2.Severity.values()) - {0}


def test_a_board_is_told_apart_and_a_disturbed_measurement_is_marked() -> None:
    ceilings = tuple(Ceiling("float32", 1.0, 1.0, Source.MEASURED, NOW, disturbed=each) for each in (True, False))
    [told] = report_of(devices=(Device("cuda:0", "g", "cuda", ceilings=ceilings, uuid="GPU-1"),)).devices
    assert (told.uuid, [ceiling.disturbed for ceiling in told.ceilings]) == ("GPU-1", [True, False])


def test_unknown_is_unset_and_zero_is_zero() -> None:
    unknown = report_of(BARE).engines[0]
    for message in (unknown.gauges, unknown.counters):
        assert message.ListFields() == []
    assert not unknown.HasField("context_tokens_max")
    assert not unknown.HasField("measured_at")
    assert not unknown.HasField("retry_at")
    assert unknown.state_since.ToDatetime(UTC) == NOW

    zero = EngineStatus(
        *("a@n", 3, "i", "tiny", EngineState.READY, NOW),
        gauges=EngineGauges(0, 0, 0, 0),
        counters=EngineCounters(prompt_tokens=0, flops=0.0, ttft_seconds=Histogram((), (0,), 0.0)),
    )
    told = report_of(zero).engines[0]
    assert (told.gauges.HasField("kv_used_tokens"), told.gauges.kv_used_tokens) == (True, 0)
    assert (told.counters.HasField("flops_total"), told.counters.flops_total) == (True, 0.0)
    assert told.counters.HasField("ttft_seconds")
    assert not told.counters.HasField("steps_total")


def test_a_whole_engine_arrives_whole() -> None:
    histogram = Histogram((0.1, 1.0), (4, 2, 1), 3.5)
    counters = EngineCounters(1, 2, 3, 4, 5, 6, 7, 8, 9.5, 10.5, histogram, histogram)
    engine = EngineStatus(
        engine_id="a@n",
        generation=3,
        instance_id="i1",
        model="tiny",
        state=EngineState.BACKING_OFF,
        state_since=NOW,
        stage="s",
        reason="r",
        log_tail=("one", "two"),
        endpoint="10.0.0.1:8100",
        device_ids=("cuda:0",),
        engine_version="0.32.0",
        restart_count=2,
        retry_at=NOW,
        context_tokens_max=4096,
        served_paths=("/v1/completions",),
        dtype="bfloat16",
        gauges=EngineGauges(1000, 10, 2, 1),
        counters=counters,
        measured_at=NOW,
        pid=42,
        shape=ModelShape(layers=2),
        inside=EngineInside(InsideState.SILENT),
        recompute=(RecomputeBill("acme", 1, 2.0, 3.0, Source.MEASURED),),
        residency=ResidencySummary(1, 2, 3, 4, complete=True),
        adapters=("legal",),
    )
    told = report_of(engine).engines[0]
    unset = [field.name for field in told.DESCRIPTOR.fields if field.name not in {f.name for f, _ in told.ListFields()}]
    assert unset == []
    assert [value for _, value in told.counters.ListFields()][:10] == [1, 2, 3, 4, 5, 6, 7, 8, 9.5, 10.5]
    assert list(told.counters.ttft_seconds.counts) == [4, 2, 1]
    assert (told.gauges.running_count, told.gauges.waiting_count) == (2, 1)
    assert list(told.log_tail) == ["one", "two"]


def test_what_does_not_fit_is_left_unset_and_the_rest_is_told() -> None:
    broken = EngineStatus(
        *("a@n", 3, "i", "lone surrogate \udce9", EngineState.READY, NOW),
        gauges=EngineGauges(kv_capacity_tokens=-5, kv_used_tokens=2**70, running=2**40, waiting=3),
        counters=EngineCounters(
            flops=float("nan"),
            bytes=float("inf"),
            ttft_seconds=Histogram((1.0,), (1,), 1.0),
            inter_token_seconds=Histogram((float("inf"),), (1, 2), 1.0),
        ),
        measured_at=datetime(2026, 1, 1),  # noqa: DTZ001 - without a zone, on purpose
    )
    told = report_of(broken).engines[0]
    assert [(field.name, value) for field, value in told.gauges.ListFields()] == [("waiting_count", 3)]
    assert told.counters.ListFields() == []
    assert told.model == "lone surrogate ?"
    assert not told.HasField("measured_at")


@given(st.text(max_size=50), st.floats(), st.integers(), st.one_of(st.none(), st.floats()))
def test_no_value_makes_a_report_unsendable(text: str, real: float, whole: int, unknown: float | None) -> None:
    engine = EngineStatus(
        *(text, whole, text, text, EngineState.READY, NOW),
        reason=text,
        restart_count=whole,
        gauges=EngineGauges(whole, whole, whole, whole),
        counters=EngineCounters(prompt_tokens=whole, flops=real, ttft_seconds=Histogram((real,), (whole, 1), real)),
        pid=whole,
    )
    device = Device(text, text, text, whole, ceilings=(Ceiling(text, unknown, real, Source.TABLE),))
    report_of(engine, devices=(device,))


def test_hello_and_event() -> None:
    hello = agent_message(Hello(1, 1, "0.1.0", "b", (), (BARE,), 9, "linux", ("commands.v1",))).hello
    assert (hello.protocol_version, hello.leader_epoch_seen, list(hello.capabilities)) == (1, 9, ["commands.v1"])
    event = agent_message(NodeEvent("k", "m", Severity.ERROR, NOW, "a@n")).event
    assert (event.kind, event.engine_id, event.occurred_at.ToDatetime(UTC)) == ("k", "a@n", NOW)


def test_commands_from_the_wire() -> None:
    def heard(**action: object) -> object:
        command = agent_pb2.Command(command_id="c", leader_epoch=2, generation=3, engine_id="a@n", **action)  # type: ignore[arg-type]
        return control_event(agent_pb2.ControlMessage(command=command))

    spec = fleet_pb2.EngineSpec(model="tiny", source="/m", engine_args=["--x"], device_ids=["cuda:1"])
    started = heard(start=agent_pb2.StartEngine(spec=spec))
    assert isinstance(started, CommandReceived)
    assert started.command.action == StartAction(EngineSpec("a@n", 3, "tiny", "/m", ("--x",), ("cuda:1",)))
    stopped = heard(stop=agent_pb2.StopEngine(drain_seconds_max=5, forget=True))
    assert isinstance(stopped, CommandReceived)
    assert stopped.command.action == StopAction(5.0, forget=True)
    unknown = heard()
    assert isinstance(unknown, CommandReceived)
    assert unknown.command.action == UnknownAction()


def test_the_rest_from_the_wire() -> None:
    welcome = agent_pb2.Welcome(protocol_version=1, leader_epoch=4, report_interval_seconds=1.5, lease_seconds=60)
    assert control_event(agent_pb2.ControlMessage(welcome=welcome)) == Welcome(1, "", 4, 1.5, 60.0, None)
    welcome.now.CopyFrom(Timestamp(seconds=2**60))
    impossible = control_event(agent_pb2.ControlMessage(welcome=welcome))
    assert isinstance(impossible, Welcome)
    assert impossible.now is None
    received = agent_pb2.ControlMessage(outcome_received=agent_pb2.OutcomeReceived(command_id="c"))
    assert control_event(received) == OutcomeAcknowledged("c")
    assert control_event(agent_pb2.ControlMessage()) is None
