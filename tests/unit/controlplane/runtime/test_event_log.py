"""The newest events, with the ids that the one leader gives."""

from dataclasses import replace

from controlplane.fleet.history import FleetEvent
from controlplane.fleet.observed import Severity
from controlplane.runtime.event_log import RECENT_MAX, EventLog
from tests.support.fleet import at


def event(seconds: float, kind: str = "something") -> FleetEvent:
    return FleetEvent(at(seconds), Severity.INFO, kind, "happened")


def test_ids_go_on_from_the_last_ever_given() -> None:
    written: list[FleetEvent] = []
    old = replace(event(0), event_id=41)
    log = EventLog([old], 41, written.extend)
    log.append([event(1), event(2)])
    log.append([event(3)])
    assert [each.event_id for each in written] == [42, 43, 44]
    assert log.recent() == (old, *written)


def test_subscribers_are_told_once_and_after_it_was_handed_on_to_be_written() -> None:
    order: list[str] = []
    log = EventLog([], 0, lambda _: order.append("written"))
    heard: list[FleetEvent] = []
    log.subscribe(heard.extend)
    log.subscribe(lambda _: order.append("told"))
    log.append([event(1)])
    log.append([])
    assert [each.event_id for each in heard] == [1]
    assert order == ["written", "told"]


def test_what_is_kept_is_bounded() -> None:
    log = EventLog([], 0, lambda _: None)
    for index in range(RECENT_MAX + 10):
        log.append([event(index)])
    assert len(log.recent()) == RECENT_MAX
    assert log.recent()[-1].event_id == RECENT_MAX + 10


def test_events_are_counted_by_severity() -> None:
    log = EventLog([], 0, lambda _: None)
    log.append([event(1), event(2), replace(event(3), severity=Severity.ERROR)])
    assert log.totals == {Severity.INFO: 2, Severity.ERROR: 1}
