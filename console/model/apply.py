"""Folds an update from the control plane into the view that the console shows.

`console.link.codec` makes the updates, `console.link.feed` and the commands apply them. Pure: never does I/O, never
reads a clock, never changes a view in place. A table that an update does not touch stays the very same object in the
next view, so that a screen may compare with `is` before it paints.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from console.model.fleet_view import EngineRow, EventRow, FleetView, ModelRow, NodeRow, PlacementRow, ServerRow

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class FleetUpdate:
    """Rows that are new or changed, and the names of those that are gone."""

    boot_id: str = ""  # of the daemon that counts the cursor
    cursor: int = 0
    reset: bool = False  # this update is the whole fleet: forget what was known
    now: datetime | None = None  # the daemon's clock
    nodes: tuple[NodeRow, ...] = ()
    removed_nodes: tuple[str, ...] = ()
    placements: tuple[PlacementRow, ...] = ()
    removed_placements: tuple[str, ...] = ()
    engines: tuple[EngineRow, ...] = ()
    removed_engines: tuple[str, ...] = ()
    models: tuple[ModelRow, ...] = ()
    removed_models: tuple[str, ...] = ()
    events: tuple[EventRow, ...] = ()  # oldest first
    server: ServerRow | None = None  # None: unchanged


def apply_update(view: FleetView, update: FleetUpdate, *, events_max: int = 2000) -> FleetView:
    """The view after `update`. One from another daemon than the view's counts as a reset: its cursor starts anew."""
    if update.reset or update.boot_id != view.boot_id:
        view = FleetView()
    return FleetView(
        boot_id=update.boot_id,
        cursor=update.cursor,
        now=update.now or view.now,
        nodes=_folded(view.nodes, update.nodes, update.removed_nodes, lambda row: row.name),
        engines=_folded(view.engines, update.engines, update.removed_engines, lambda row: row.engine_id),
        placements=_folded(view.placements, update.placements, update.removed_placements, lambda row: row.placement_id),
        models=_folded(view.models, update.models, update.removed_models, lambda row: row.name),
        events=_appended(view.events, update.events, events_max),
        server=update.server or view.server,
    )


def _folded(
    known: Mapping[str, Row], changed: tuple[Row, ...], removed: tuple[str, ...], key_of: Callable[[Row], str]
) -> Mapping[str, Row]:
    if not changed and not removed:
        return known
    rows = dict(known)
    for name in removed:
        rows.pop(name, None)
    for row in changed:  # after the removals: what was removed and came back within one update is there
        rows[key_of(row)] = row
    return rows


def _appended(known: tuple[EventRow, ...], new: tuple[EventRow, ...], events_max: int) -> tuple[EventRow, ...]:
    last = known[-1].event_id if known else -1
    fresh = tuple(event for event in new if event.event_id > last)  # a resumed watch may repeat some
    if not fresh and len(known) <= events_max:
        return known
    return (known + fresh)[-events_max:] if events_max > 0 else ()
