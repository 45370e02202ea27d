"""The one function that changes the fleet's state, by what it makes of events and of time."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from controlplane.fleet.desired import DesiredState
from controlplane.fleet.events import ClockTicked, DesiredChanged, ReportReceived, SessionClosed, SummariesRestored
from controlplane.fleet.hardware import DeviceHealth, MemoryLedger
from controlplane.fleet.inside import EngineInside, InsideState, StepTotals
from controlplane.fleet.observed import Device, EngineCounters, EngineState, FigureSource, Severity, Trust
from controlplane.fleet.summaries import EngineSummary
from tests.support.fleet import Timeline, at, counted, desired, enrolled, opened, placed, report, reported

GCP, AWS, AZURE = enrolled("gcp-1"), enrolled("aws-1"), enrolled("azure-1")
ON_GCP, ON_AWS = placed("llama@gcp-1"), placed("llama@aws-1")


def trust_of(line: Timeline, node: str = "gcp-1") -> Trust:
    return line.snapshot.nodes[node].trust


def two_nodes() -> Timeline:
    """gcp-1 and aws-1, of which aws-1 goes on reporting so that the silence of one is its own."""
    line = Timeline(desired([GCP, AWS], [ON_GCP, ON_AWS]))
    line.step(0, opened("gcp-1", 0, reported("llama@gcp-1")), opened("aws-1", 0, reported("llama@aws-1")))
    line.kinds()
    return line


def test_a_first_session_is_told_once_and_is_no_recovery() -> None:
    line = Timeline(desired([GCP], [ON_GCP]))
    line.step(1, opened("gcp-1", 1, reported(state=EngineState.STARTING)))
    assert line.kinds() == ["node_connected", "engine_starting"]
    line.step(2, report("gcp-1", 2, reported()))
    assert line.kinds() == ["engine_ready"]
    line.step(3, report("gcp-1", 3, reported()))
    assert line.kinds() == []
    node = line.snapshot.nodes["gcp-1"]
    assert (node.connected, node.trust, node.heard_since_boot, node.lost) == (True, Trust.FRESH, True, False)
    assert node.last_report_at == at(3)


def test_trust_falls_with_silence_and_each_fall_is_told_once() -> None:
    line = two_nodes()
    seen = {}
    for second in range(1, 70):
        node = line.step(second, report("aws-1", second, reported("llama@aws-1"))).nodes["gcp-1"]
        seen[second] = (node.trust, node.lost)
        assert line.kinds() == {16: ["node_stale"], 61: ["node_lost"]}.get(second, [])
    assert (seen[3], seen[4]) == ((Trust.FRESH, False), (Trust.AGEING, False))
    assert (seen[15], seen[16]) == ((Trust.AGEING, False), (Trust.STALE, False))
    assert (seen[60], seen[61]) == ((Trust.STALE, False), (Trust.STALE, True))
    assert "llama@gcp-1" in line.snapshot.engines, "silence alone forgets nothing"
    line.step(70, report("gcp-1", 70, reported("llama@gcp-1")), report("aws-1", 70, reported("llama@aws-1")))
    assert line.kinds() == ["node_recovered"]
    node = line.snapshot.nodes["gcp-1"]
    assert (node.trust, node.lost) == (Trust.FRESH, False)


def test_a_short_silence_is_not_worth_a_line() -> None:
    line = two_nodes()
    line.step(10)
    assert trust_of(line) is Trust.AGEING
    line.step(11, report("gcp-1", 11, reported("llama@gcp-1")))
    assert line.kinds() == []
    assert trust_of(line) is Trust.FRESH


def test_a_closed_session_is_told_once_and_its_engines_stay() -> None:
    line = two_nodes()
    line.step(1, SessionClosed("gcp-1", at(1), "the stream ended"))
    line.step(2, SessionClosed("gcp-1", at(2), "the stream ended"))
    [event] = line.told
    assert (event.kind, event.severity, event.node) == ("node_disconnected", Severity.WARNING, "gcp-1")
    assert "the stream ended" in event.message
    node = line.snapshot.nodes["gcp-1"]
    assert (node.connected, node.trust) == (False, Trust.FRESH)
    assert "llama@gcp-1" in line.snapshot.engines
    line.kinds()
    line.step(3, opened("gcp-1", 3, reported("llama@gcp-1")))
    assert line.kinds() == ["node_connected"]
    assert line.snapshot.nodes["gcp-1"].connected


def test_every_change_of_an_engines_state_is_told_once_with_its_reason() -> None:
    line = two_nodes()
    for second, state in enumerate(EngineState, start=1):
        line.step(second, report("gcp-1", second, reported(state=state, reason="why")))
        line.step(second, report("gcp-1", second, reported(state=state, reason="why")))
    told = [event for event in line.told if event.node == "gcp-1"]
    assert [event.kind for event in told] == [f"engine_{state.value}" for state in EngineState]
    assert all(event.message.endswith(": why") for event in told)
    severities = {event.kind: event.severity for event in told}
    assert severities["engine_failed"] is Severity.ERROR
    assert severities["engine_backing_off"] is Severity.WARNING


def test_an_engine_that_its_node_no_longer_reports_is_gone() -> None:
    line = two_nodes()
    line.step(1, report("gcp-1", 1))
    assert line.kinds() == ["engine_gone"]
    assert set(line.snapshot.engines) == {"llama@aws-1"}
    assert line.snapshot.engines_by_model == {"llama": ("llama@aws-1",)}


SUMMARY = EngineSummary(
    "llama@gcp-1", "gcp-1", "llama", 1, "i1", EngineState.READY, "10.0.0.1:8000", at(-5), kv_capacity_tokens=1000
)


def test_restored_engines_are_usable_as_ageing_then_stale_and_become_fresh_by_a_report() -> None:
    line = Timeline(desired([GCP], [ON_GCP]))
    line.step(0, SummariesRestored((SUMMARY,)))
    engine = line.snapshot.engines["llama@gcp-1"]
    assert (engine.restored, engine.report.endpoint, engine.report.gauges.running) == (True, "10.0.0.1:8000", None)
    assert trust_of(line) is Trust.AGEING
    assert not line.snapshot.nodes["gcp-1"].heard_since_boot
    assert line.snapshot.engines_by_model == {"llama": ("llama@gcp-1",)}
    assert line.kinds() == []
    line.step(15)
    assert trust_of(line) is Trust.AGEING
    line.step(16)
    assert trust_of(line) is Trust.STALE
    line.step(17, opened("gcp-1", 17, reported()))
    assert trust_of(line) is Trust.FRESH
    assert not line.snapshot.engines["llama@gcp-1"].restored
    assert "node_recovered" not in line.kinds(), "a first report after our start is no recovery"


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({}, []),
        ({"state": EngineState.DRAINING}, ["engine_draining"]),
        ({"instance_id": "i2"}, ["engine_ready"]),
    ],
    ids=["as it was", "in another state", "another process"],
)
def test_of_a_restored_engine_only_what_changed_meanwhile_is_told(found: dict[str, Any], told: list[str]) -> None:
    line = Timeline(desired([GCP], [ON_GCP]))
    line.step(0, SummariesRestored((SUMMARY,)))
    line.step(1, opened("gcp-1", 1, reported(**found)))
    assert line.kinds() == ["node_connected", *told]


def test_a_restored_engine_that_is_gone_goes_without_a_word() -> None:
    line = Timeline(desired([GCP], [ON_GCP]))
    line.step(0, SummariesRestored((SUMMARY,)))
    line.step(1, opened("gcp-1", 1))
    assert line.kinds() == ["node_connected"]
    assert not line.snapshot.engines


@pytest.mark.parametrize(
    "summary",
    [
        replace(SUMMARY, node="gone-1"),
        replace(SUMMARY, engine_id="nobody@gcp-1"),
    ],
    ids=["its node was forgotten", "its placement was forgotten"],
)
def test_what_nobody_wants_any_more_is_not_restored(summary: EngineSummary) -> None:
    line = Timeline(desired([GCP], [ON_GCP]))
    line.step(0, SummariesRestored((summary,)))
    assert not line.snapshot.engines


def test_a_report_is_worth_more_than_a_summary() -> None:
    line = two_nodes()
    line.step(1, SummariesRestored((replace(SUMMARY, endpoint="10.9.9.9:1"),)))
    assert line.snapshot.engines["llama@gcp-1"].report.endpoint == "10.0.0.1:8000"


def test_two_nodes_claim_an_engine_and_the_one_where_it_is_placed_is_believed() -> None:
    line = two_nodes()
    line.step(1, report("aws-1", 1, reported("llama@aws-1"), reported("llama@gcp-1", endpoint="10.0.0.9:1")))
    assert line.snapshot.engines["llama@gcp-1"].node == "gcp-1"
    line.step(2, report("gcp-1", 2), report("aws-1", 2, reported("llama@aws-1"), reported("llama@gcp-1")))
    assert line.snapshot.engines["llama@gcp-1"].node == "aws-1"  # nobody else claims it
    line.kinds()
    line.step(3, report("gcp-1", 3, reported("llama@gcp-1")))
    assert line.snapshot.engines["llama@gcp-1"].node == "gcp-1"
    assert line.kinds() == ["engine_ready"]


def test_an_engine_that_nobody_placed_stays_where_it_is_while_that_node_is_there() -> None:
    line = Timeline(desired([GCP, AWS]))
    stray = reported("stray@x")
    line.step(0, opened("gcp-1", 0, stray), opened("aws-1", 0))
    line.kinds()
    for second in range(1, 4):
        line.step(second, report("aws-1", second, stray), report("gcp-1", second, stray))
        assert line.snapshot.engines["stray@x"].node == "gcp-1"
        assert line.kinds() == [], "two claims must not fill the log"
    line.step(5, SessionClosed("gcp-1", at(5)))
    line.step(6, report("aws-1", 6, stray))
    assert line.snapshot.engines["stray@x"].node == "aws-1"


def test_readings_make_a_working_point_of_the_last_ten_seconds() -> None:
    line = two_nodes()
    for second in range(1, 30):
        line.step(second, report("gcp-1", second, reported(seconds=second, counters=counted(10 * second))))
    engine = line.snapshot.engines["llama@gcp-1"]
    assert [reading.measured_at for reading in engine.readings] == [at(second) for second in range(19, 30)]
    assert engine.working_point is not None
    assert engine.working_point.window_seconds == 10.0
    assert engine.working_point.generation_tokens_per_second == 10.0
    assert engine.working_point.batch_tokens_per_step == 3.0


def test_another_process_starts_its_readings_anew() -> None:
    line = two_nodes()
    line.step(1, report("gcp-1", 1, reported(seconds=1, counters=counted(1000))))
    line.step(2, report("gcp-1", 2, reported(seconds=2, counters=counted(2000))))
    assert line.snapshot.engines["llama@gcp-1"].working_point is not None
    line.step(3, report("gcp-1", 3, reported(seconds=3, counters=counted(5), instance_id="i2")))
    engine = line.snapshot.engines["llama@gcp-1"]
    assert len(engine.readings) == 1
    assert engine.working_point is None


def test_the_same_reading_again_is_kept_once() -> None:
    line = two_nodes()
    for second in (1, 2, 3):
        line.step(second, report("gcp-1", second, reported(seconds=1, counters=counted(10))))
    assert len(line.snapshot.engines["llama@gcp-1"].readings) == 1


def test_a_nodes_clock_that_is_set_back_does_not_freeze_the_working_point() -> None:
    line = two_nodes()
    line.step(1, report("gcp-1", 1, reported(seconds=3601, counters=counted(10))))
    line.step(2, report("gcp-1", 2, reported(seconds=3602, counters=counted(20))))
    line.step(3, report("gcp-1", 3, reported(seconds=3, counters=counted(30))))
    assert len(line.snapshot.engines["llama@gcp-1"].readings) == 1
    after = line.step(4, report("gcp-1", 4, reported(seconds=4, counters=counted(70))))
    point = after.engines["llama@gcp-1"].working_point
    assert point is not None
    assert point.generation_tokens_per_second == 40.0


@pytest.mark.parametrize("moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_a_clock_at_the_end_of_time_is_survived(moment: datetime) -> None:
    line = two_nodes()
    odd = replace(reported(counters=EngineCounters(step_tokens=1)), measured_at=moment)
    line.step(1, ReportReceived("gcp-1", (odd,), at(1), sent_at=moment))
    line.step(2, ReportReceived("gcp-1", (reported(seconds=2),), at(2), sent_at=at(2)))
    assert line.snapshot.nodes["gcp-1"].clock_error_seconds == 0


def test_a_report_that_was_not_measured_keeps_what_was() -> None:
    line = two_nodes()
    line.step(1, report("gcp-1", 1, reported(seconds=1, counters=counted(1))))
    line.step(2, report("gcp-1", 2, reported(seconds=2, counters=counted(2))))
    before = line.snapshot.engines["llama@gcp-1"].working_point
    line.step(3, report("gcp-1", 3, reported()))
    assert line.snapshot.engines["llama@gcp-1"].working_point == before


def test_the_clock_error_is_the_nodes_clock_less_ours() -> None:
    line = two_nodes()
    line.step(5, ReportReceived("gcp-1", (), at(5), sent_at=at(3)))
    assert line.snapshot.nodes["gcp-1"].clock_error_seconds == -2.0
    line.step(6, ReportReceived("gcp-1", (), at(6)))
    assert line.snapshot.nodes["gcp-1"].clock_error_seconds == -2.0


def test_devices_change_only_when_they_are_told() -> None:
    line = two_nodes()
    device = Device("cuda:0", "H100", "cuda")
    line.step(1, ReportReceived("gcp-1", (), at(1), devices=(device,)))
    line.step(2, ReportReceived("gcp-1", (), at(2)))
    assert line.snapshot.nodes["gcp-1"].facts.devices == (device,)
    assert line.snapshot.nodes["gcp-1"].facts.boot_id == "b1"


def test_a_forgotten_node_takes_its_engines_and_whatever_it_still_says_is_ignored() -> None:
    line = two_nodes()
    line.step(1, DesiredChanged(desired([AWS], [ON_AWS])))
    assert set(line.snapshot.nodes) == {"aws-1"}
    assert set(line.snapshot.engines) == {"llama@aws-1"}
    line.kinds()
    version = line.snapshot.version
    line.step(1, report("gcp-1", 1, reported()), opened("gcp-1", 1), SessionClosed("gcp-1", at(1)))
    assert line.kinds() == []
    assert line.snapshot.version == version


def test_a_node_that_joins_is_there_and_says_nothing() -> None:
    line = two_nodes()
    line.step(1, DesiredChanged(desired([GCP, AWS, AZURE], [ON_GCP, ON_AWS])))
    node = line.snapshot.nodes["azure-1"]
    assert (node.connected, node.trust, node.last_report_at, node.lost) == (False, Trust.STALE, None, False)
    line.step(100, report("gcp-1", 100), report("aws-1", 100))
    assert not line.snapshot.suspect
    assert not line.snapshot.nodes["azure-1"].lost


def test_the_brake_goes_on_when_most_fall_silent_and_off_when_they_report() -> None:
    line = Timeline(desired([GCP, AWS, AZURE]))
    names = ("gcp-1", "aws-1", "azure-1")
    line.step(0, *(opened(name, 0) for name in names))
    line.kinds()
    line.step(16, report("gcp-1", 16))
    assert line.snapshot.suspect
    assert line.kinds() == ["node_stale", "node_stale", "brake_on"]
    line.step(17, ClockTicked())
    assert line.kinds() == []
    after = line.step(18, report("gcp-1", 18), report("aws-1", 18))
    assert not after.suspect
    assert line.kinds() == ["node_recovered", "brake_off"]


def test_what_did_not_change_stays_the_same_object() -> None:
    line = two_nodes()
    before = line.snapshot
    assert line.step(0, ClockTicked()) is before
    after = line.step(1, report("gcp-1", 1, reported("llama@gcp-1")))
    assert after.version == before.version + 1
    assert after.engines["llama@aws-1"] is before.engines["llama@aws-1"]
    assert after.nodes["aws-1"] is before.nodes["aws-1"]
    same = line.step(
        1, DesiredChanged(desired([enrolled("gcp-1"), enrolled("aws-1")], [placed("llama@gcp-1"), ON_AWS]))
    )
    assert same.desired.nodes["gcp-1"] is after.desired.nodes["gcp-1"]
    assert same.desired.placements["llama@gcp-1"] is after.desired.placements["llama@gcp-1"]


def test_models_are_those_placed_and_not_being_removed() -> None:
    line = Timeline(desired([GCP], [ON_GCP]))
    assert line.snapshot.models() == {"llama"}
    line.step(1, DesiredChanged(desired([GCP], [replace(ON_GCP, desired=DesiredState.DRAINED)])))
    assert line.snapshot.models() == {"llama"}
    line.step(2, DesiredChanged(desired([GCP], [replace(ON_GCP, desired=DesiredState.REMOVED)])))
    assert line.snapshot.models() == frozenset()


def test_readings_of_the_hardware_stay_until_newer_ones_or_another_boot() -> None:
    line = Timeline(desired([GCP], [ON_GCP]))
    line.step(1, opened("gcp-1", 1))
    health, memory = (DeviceHealth("cuda:0", at(2)),), (MemoryLedger("cuda:0", at(2)),)
    line.step(2, replace(report("gcp-1", 2), health=health, memory=memory))
    line.step(3, report("gcp-1", 3), opened("gcp-1", 3))
    node = line.snapshot.nodes["gcp-1"]
    assert (node.health, node.memory) == (health, memory)
    line.step(4, opened("gcp-1", 4, boot_id="another"))
    node = line.snapshot.nodes["gcp-1"]
    assert (node.health, node.memory) == ((), ())


@pytest.mark.parametrize(
    ("state", "source"),
    [(InsideState.ACTIVE, FigureSource.PLUGIN), (InsideState.DEGRADED, FigureSource.METRICS)],
)
def test_the_plug_in_is_heard_while_it_is_sure_of_what_it_sees(state: InsideState, source: FigureSource) -> None:
    line = Timeline(desired([GCP], [ON_GCP]))
    for second in (1, 2, 3):
        inside = EngineInside(state, steps=StepTotals(second, decode_tokens=4 * second), measured_at=at(second))
        line.step(second, report("gcp-1", second, reported(seconds=second, counters=counted(second), inside=inside)))
    point = line.snapshot.engines["llama@gcp-1"].working_point
    assert point is not None
    assert point.source is source
    assert point.batch_tokens_per_step == (4.0 if source is FigureSource.PLUGIN else 3.0)


def test_who_had_been_lost_before_the_restart_is_lost_still() -> None:
    """Ages stand still while nobody listens: what nobody heard of for long, beside others, gets no requests at a start."""
    silent = replace(SUMMARY, engine_id="llama@aws-1", node="aws-1", last_report_at=at(-5 - 61))
    line = Timeline(desired([GCP, AWS], [ON_GCP, ON_AWS]))
    line.step(0, SummariesRestored((SUMMARY, silent)))
    assert trust_of(line) is Trust.AGEING
    assert line.snapshot.nodes["aws-1"].trust is Trust.STALE
    assert line.snapshot.nodes["aws-1"].lost


def test_a_fleet_that_was_silent_as_a_whole_is_ageing() -> None:
    """The control plane was down for long: that says nothing about the nodes."""
    line = Timeline(desired([GCP, AWS], [ON_GCP, ON_AWS]))
    summaries = (SUMMARY, replace(SUMMARY, engine_id="llama@aws-1", node="aws-1"))
    line.step(0, SummariesRestored(tuple(replace(each, last_report_at=at(-86_400)) for each in summaries)))
    assert {node.trust for node in line.snapshot.nodes.values()} == {Trust.AGEING}
