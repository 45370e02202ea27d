"""What changed between two snapshots. Pure; called by `services.watch_fleet` and `services.publish_endpoints`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from controlplane.fleet.snapshot import FleetSnapshot

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Changes:
    """Names of what is new or different, and of what is gone."""

    nodes: frozenset[str] = field(default_factory=frozenset)
    removed_nodes: frozenset[str] = field(default_factory=frozenset)
    engines: frozenset[str] = field(default_factory=frozenset)
    removed_engines: frozenset[str] = field(default_factory=frozenset)
    placements: frozenset[str] = field(default_factory=frozenset)
    removed_placements: frozenset[str] = field(default_factory=frozenset)


def _changed(old: Mapping[str, T], new: Mapping[str, T]) -> tuple[frozenset[str], frozenset[str]]:
    if old is new:
        return frozenset(), frozenset()
    changed = frozenset(key for key, value in new.items() if old.get(key) is not value)
    return changed, frozenset(old.keys() - new.keys())


def diff(old: FleetSnapshot, new: FleetSnapshot) -> Changes:
    """Names of all rows that a watcher of `old` must be told to know `new`.

    A node's row holds desired and observed state, so either's change counts; an engine's row shows its node's trust and
    whether its placement wants it, so theirs count for it too.
    """
    observed, gone_observed = _changed(old.nodes, new.nodes)
    enrolled, gone_enrolled = _changed(old.desired.nodes, new.desired.nodes)
    placements, removed_placements = _changed(old.desired.placements, new.desired.placements)
    reported, removed_engines = _changed(old.engines, new.engines)
    moved = {
        name
        for name in observed | enrolled
        if (a := old.nodes.get(name)) is None
        or (b := new.nodes.get(name)) is None
        or a.trust is not b.trust
        or a.lost != b.lost
        or a.connected != b.connected
        or a.facts is not b.facts
        or old.desired.nodes.get(name) is not new.desired.nodes.get(name)
    }
    engines = set(reported) | (placements & new.engines.keys()) | (removed_placements & new.engines.keys())
    if moved:
        engines |= {engine_id for engine_id, engine in new.engines.items() if engine.node in moved}
    # A placement's row shows which generation of it runs.
    regenerated = {
        key
        for key in (reported | removed_engines) & new.desired.placements.keys()
        if _generation(old, key) != _generation(new, key)
    }
    return Changes(
        nodes=(observed | enrolled) & frozenset(new.nodes),
        removed_nodes=(gone_observed | gone_enrolled) - frozenset(new.nodes),
        engines=frozenset(engines),
        removed_engines=removed_engines,
        placements=placements | regenerated,
        removed_placements=removed_placements,
    )


def _generation(snapshot: FleetSnapshot, engine_id: str) -> int | None:
    engine = snapshot.engines.get(engine_id)
    return None if engine is None else engine.report.generation
