"""What is wrong, judged from rows alone: `console.model.overview`."""

from dataclasses import replace
from datetime import timedelta

import pytest

from console.model.fleet_view import Connection, FleetView, Severity, Trust
from console.model.overview import (
    Bound,
    Moment,
    NodeState,
    Topic,
    bound,
    events_about,
    moment_of,
    node_state,
    oldest_report_seconds,
    problems,
    quiet_since,
    trust_now,
)
from tests.fakes import fleet

MOMENT = Moment(now=fleet.NOW, connection=Connection.LIVE, as_of=fleet.NOW, stale_seconds=15.0, lost_seconds=60.0)


def found(view: FleetView, moment: Moment = MOMENT) -> list[tuple[Severity, Topic, str, str]]:
    return [(each.severity, each.topic, each.subject, each.state) for each in problems(view, moment)]


def test_a_sound_fleet_has_no_problem() -> None:
    assert found(fleet.small()) == []
    assert found(fleet.empty()) == []


def test_a_bad_night_worst_first_then_newest() -> None:
    assert found(fleet.mixed()) == [
        (Severity.ERROR, Topic.ENGINE, "llama-3-70b@gcp-2", "failed"),
        (Severity.ERROR, Topic.NODE, "oci-2", "fault hip:0"),
        (Severity.WARNING, Topic.NODE, "crusoe-3", "stale"),
        (Severity.WARNING, Topic.ENGINE, "mistral-small@oci-3", "backing off"),
    ]


def test_a_model_without_a_routable_engine_is_an_error() -> None:
    view = fleet.small()
    rows = [replace(row, routable=False) for row in view.engines.values()]
    broken = replace(view, models={"llama-3-8b": fleet.model("llama-3-8b", rows)})
    assert found(broken) == [(Severity.ERROR, Topic.MODEL, "llama-3-8b", "no engine")]


def test_gateway_and_dropped_samples() -> None:
    down = replace(fleet.small(), server=fleet.server(gateway_state="down: port taken", samples_dropped_total=1200))
    assert [(each.severity, each.detail) for each in problems(down, MOMENT)] == [
        (Severity.ERROR, "down: port taken: clients cannot send requests"),
        (Severity.WARNING, "1.2k never reached the history: is the database slow?"),
    ]
    starting = replace(fleet.small(), server=fleet.server(gateway_state="starting"))
    assert found(starting) == [(Severity.WARNING, Topic.SERVER, "", "gateway")]


def test_a_database_that_is_away_is_the_first_thing_told() -> None:
    server = fleet.server(
        database_away_since=fleet.ago(90),
        database_problem="the database's disk is full: free space on it\x1b[2J",
        samples_waiting=1200,
        events_waiting=3,
        events_dropped_total=1,
    )
    away, dropped = problems(replace(fleet.small(), server=server), MOMENT)
    assert (away.severity, away.topic, away.state, away.since) == (
        Severity.ERROR,
        Topic.SERVER,
        "database away",
        fleet.ago(90),
    )
    assert away.detail.startswith("the database's disk is full: free space on it\N{REPLACEMENT CHARACTER}. ")
    assert away.detail.endswith("Requests are served; 1.2k samples and 3 events wait in memory")
    assert (dropped.state, dropped.detail[:7]) == ("events dropped", "1 never")


def test_a_node_grows_stale_then_lost_while_nothing_is_heard() -> None:
    view = fleet.small()
    for seconds, states in ((10, set()), (20, {"stale"}), (120, {"lost"})):
        later = replace(MOMENT, now=fleet.NOW + timedelta(seconds=seconds))
        assert {state for _, topic, _, state in found(view, later) if topic is Topic.NODE} == states


def test_a_lost_link_does_not_make_every_node_silent() -> None:
    lost = replace(MOMENT, now=fleet.NOW + timedelta(seconds=300), connection=Connection.LOST)
    assert found(fleet.small(), lost) == []
    assert found(fleet.mixed(), lost) == found(fleet.mixed())


def test_a_cut_stream_and_a_node_never_heard() -> None:
    view = fleet.small()
    cut = replace(view, nodes={"gcp-1": replace(view.nodes["gcp-1"], connected=False)})
    assert found(cut) == [(Severity.WARNING, Topic.NODE, "gcp-1", "cut off")]
    assert (Severity.WARNING, Topic.NODE, "mystery-1", "silent") in found(fleet.unknown())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, NodeState.UP),
        ({"cordoned": True}, NodeState.CORDONED),
        ({"cordoned": True, "connected": False}, NodeState.CUT_OFF),
        ({"connected": False}, NodeState.CUT_OFF),
        ({"connected": False, "last_report_at": fleet.ago(20)}, NodeState.STALE),
        ({"last_report_at": fleet.ago(20)}, NodeState.STALE),
        ({"connected": False, "last_report_at": fleet.ago(59)}, NodeState.STALE),
        ({"connected": False, "last_report_at": fleet.ago(60)}, NodeState.LOST),
        ({"connected": False, "last_report_at": None}, NodeState.SILENT),
    ],
)
def test_one_word_for_the_state_of_a_node(changes: dict[str, object], expected: NodeState) -> None:
    row = replace(fleet.small().nodes["gcp-1"], **changes)  # type: ignore[arg-type]
    assert node_state(row, MOMENT) is expected
    went = replace(MOMENT, now=fleet.NOW + timedelta(hours=1), connection=Connection.LOST)
    assert node_state(row, went) is expected, "our own silence is not the node's"


def test_the_moment_of_an_answer_has_the_daemons_limits() -> None:
    assert moment_of(fleet.small()) == MOMENT
    assert moment_of(FleetView()) == Moment(connection=Connection.LIVE)


def test_trust_only_gets_worse_with_age() -> None:
    old = fleet.ago(20)
    assert trust_now(Trust.FRESH, old, MOMENT) is Trust.STALE
    assert trust_now(Trust.FRESH, fleet.ago(1), MOMENT) is Trust.FRESH
    assert trust_now(Trust.UNSUPPORTED, old, MOMENT) is Trust.UNSUPPORTED
    assert trust_now(Trust.FRESH, old, replace(MOMENT, stale_seconds=None)) is Trust.FRESH
    assert trust_now(Trust.FRESH, None, MOMENT) is Trust.FRESH


def test_bound_is_unknown_when_either_part_is() -> None:
    assert bound(3.4, 11.2) is Bound.MEMORY
    assert bound(11.2, 11.2) is Bound.COMPUTE
    assert bound(None, 11.2) is None
    assert bound(3.4, None) is None
    assert bound(3.4, 0.0) is None


def test_events_of_a_node_are_those_of_its_engines_too() -> None:
    view = fleet.mixed()
    assert [event.event_id for event in events_about(view, node="gcp-2")] == [1, 5]
    assert [event.event_id for event in events_about(view, engine_id="llama-3-70b@gcp-2")] == [5]
    assert events_about(view) == ()


def test_quiet_since_and_the_oldest_report() -> None:
    assert quiet_since(fleet.small()) is None
    assert quiet_since(fleet.mixed()) == fleet.ago(9)
    assert oldest_report_seconds(fleet.small(), MOMENT) == 1.0
    assert oldest_report_seconds(fleet.unknown(), MOMENT) is None
