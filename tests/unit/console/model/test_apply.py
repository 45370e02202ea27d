"""Folding updates: what is known after a run of differences is what the last whole view says."""

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from console.model.apply import FleetUpdate, apply_update
from console.model.fleet_view import FleetView
from tests.fakes import fleet
from tests.fakes.operator_wire import diff, whole_update

WHOLE = fleet.mixed(seed=3, node_count=20)


@st.composite
def views(draw: st.DrawFn) -> FleetView:
    """Any part of a fleet, with some rows changed."""
    engines = {
        name: replace(row, running=draw(st.integers(0, 3)))
        for name, row in WHOLE.engines.items()
        if draw(st.booleans())
    }
    return replace(
        WHOLE,
        nodes={name: row for name, row in WHOLE.nodes.items() if draw(st.booleans())},
        engines=engines,
        placements={name: row for name, row in WHOLE.placements.items() if draw(st.booleans())},
        models={name: row for name, row in WHOLE.models.items() if draw(st.booleans())},
        events=WHOLE.events[: draw(st.integers(0, len(WHOLE.events)))],
    )


def _ordered(views_drawn: list[FleetView]) -> list[FleetView]:
    """Events are only ever added; the rest comes and goes."""
    lengths = sorted(len(view.events) for view in views_drawn)
    return [
        replace(view, cursor=cursor, events=WHOLE.events[:length])
        for cursor, (view, length) in enumerate(zip(views_drawn, lengths, strict=True), 1)
    ]


@given(st.lists(views(), min_size=1, max_size=6))
def test_a_run_of_differences_leads_to_the_last_view(drawn: list[FleetView]) -> None:
    steps = _ordered(drawn)
    view = apply_update(FleetView(), whole_update(steps[0]))
    for before, after in itertools.pairwise(steps):
        view = apply_update(view, diff(before, after))
    assert view == steps[-1]


@given(views(), views())
def test_a_reset_forgets_all_that_was_known(before: FleetView, after: FleetView) -> None:
    view = apply_update(apply_update(FleetView(), whole_update(before)), whole_update(after))
    assert view == after


def test_an_update_of_another_daemon_counts_as_a_reset() -> None:
    view = apply_update(WHOLE, FleetUpdate(boot_id="another", cursor=1, now=fleet.NOW))
    assert (view.boot_id, view.cursor, view.nodes, view.engines, view.events) == ("another", 1, {}, {}, ())


def test_tables_that_an_update_does_not_touch_stay_the_same_object() -> None:
    engine = next(iter(WHOLE.engines.values()))
    view = apply_update(WHOLE, FleetUpdate(boot_id=WHOLE.boot_id, cursor=101, engines=(replace(engine, running=1),)))
    assert view.nodes is WHOLE.nodes
    assert view.models is WHOLE.models
    assert view.events is WHOLE.events
    assert view.engines is not WHOLE.engines
    assert view.now == WHOLE.now
    assert view.server is WHOLE.server


def test_what_was_removed_and_came_back_within_one_update_is_there() -> None:
    engine = next(iter(WHOLE.engines.values()))
    update = FleetUpdate(boot_id=WHOLE.boot_id, engines=(engine,), removed_engines=(engine.engine_id, "never heard of"))
    assert apply_update(WHOLE, update).engines == WHOLE.engines


def test_events_are_bounded_and_never_repeated() -> None:
    update = FleetUpdate(boot_id=WHOLE.boot_id, events=WHOLE.events)
    assert apply_update(WHOLE, update).events == WHOLE.events
    assert apply_update(WHOLE, update, events_max=2).events == WHOLE.events[-2:]
    assert apply_update(WHOLE, update, events_max=0).events == ()
