"""What deserves attention before it breaks something."""

from dataclasses import replace
from datetime import timedelta

from console.model.checks import checks
from console.model.fleet_view import Connection, DesiredState, EngineState, FleetView, Severity
from console.model.overview import Moment
from tests.fakes import fleet


def _states(view: FleetView) -> list[str]:
    moment = Moment(now=view.now, connection=Connection.LIVE, stale_seconds=15.0)
    return [problem.state for problem in checks(view, moment)]


def test_a_healthy_fleet_and_an_empty_one_give_no_warning() -> None:
    assert _states(fleet.small()) == []
    assert _states(fleet.empty()) == []


def test_clocks_and_certificates() -> None:
    view = fleet.small()
    node = view.nodes["gcp-1"]
    changed = replace(node, clock_error_seconds=-7.0, certificate_not_after=fleet.NOW + timedelta(minutes=5))
    assert _states(replace(view, nodes={"gcp-1": changed})) == ["certificate", "clock"]
    gone = replace(node, certificate_not_after=fleet.ago(1))
    moment = Moment(now=fleet.NOW, connection=Connection.LIVE)
    assert "has expired" in checks(replace(view, nodes={"gcp-1": gone}, engines={}), moment)[0].detail


def test_a_full_kv_cache_and_an_engine_that_is_not_used() -> None:
    view = fleet.small()
    first, second = view.engines.values()
    full = replace(first, kv_used_tokens=first.kv_capacity_tokens, waiting=4)
    unused = replace(second, routable=False, not_routable_reason="no endpoint")
    assert _states(replace(view, engines={"a": full, "b": unused})) == ["KV full", "not used"]


def test_what_is_only_good_to_know_comes_last() -> None:
    view = fleet.mixed()
    found = checks(view, Moment(now=view.now, connection=Connection.LIVE, stale_seconds=15.0))
    assert [each.severity for each in found] == sorted(
        (each.severity for each in found), key=lambda s: s is Severity.INFO
    )
    assert {"cordoned", "pending"} <= {each.state for each in found}


def test_a_drained_placement_is_pending_only_until_its_engine_has_stopped() -> None:
    view = fleet.small()
    engine = next(iter(view.engines.values()))
    key = engine.engine_id

    def states(desired: DesiredState, state: EngineState | None, *, connected: bool = True) -> list[str]:
        wanted = replace(view.placements[key], desired=desired, generation=3)
        engines = {} if state is None else {key: replace(engine, state=state)}
        nodes = {engine.node: replace(view.nodes[engine.node], connected=connected)}
        return _states(replace(view, nodes=nodes, engines=engines, placements={key: wanted}))

    assert states(DesiredState.DRAINED, EngineState.READY) == ["pending"]
    assert states(DesiredState.DRAINED, EngineState.DRAINING) == ["being drained"]
    assert states(DesiredState.DRAINED, EngineState.STOPPED) == []
    assert states(DesiredState.DRAINED, None) == []
    assert states(DesiredState.REMOVED, EngineState.STOPPING) == ["being removed"]
    assert states(DesiredState.RUNNING, EngineState.STOPPED) == ["pending"]
    assert states(DesiredState.RUNNING, EngineState.STOPPED, connected=False) == [], (
        "its node's trouble is told instead"
    )
    assert states(DesiredState.UNKNOWN, EngineState.READY) == []
