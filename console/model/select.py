"""Sorting, filtering and grouping of the fleet's rows.

Screens and commands call these on the rows of a view. Pure. What is unknown sorts last in both directions, and ties are
broken by name, so that rows do not jump while somebody reads.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar

from console.model.fleet_view import EngineRow, EngineState, EventRow, NodeRow, Trust, WorkingPointRow
from console.model.hardware import faults_of
from console.model.overview import Moment, NodeState, node_state

Row = TypeVar("Row")
SortValue = str | float | None

TRUST_ORDER: Mapping[Trust, int] = MappingProxyType({trust: place for place, trust in enumerate(Trust)})
STATE_ORDER: Mapping[EngineState, int] = MappingProxyType(
    {
        state: place
        for place, state in enumerate(
            (
                EngineState.FAILED,
                EngineState.BACKING_OFF,
                EngineState.UNKNOWN,
                EngineState.STARTING,
                EngineState.DRAINING,
                EngineState.STOPPING,
                EngineState.READY,
                EngineState.STOPPED,
            )
        )
    }
)


def _working(get: Callable[[WorkingPointRow], float | None]) -> Callable[[EngineRow], SortValue]:
    return lambda engine: None if engine.working_point is None else get(engine.working_point)


def _last_report(row: EngineRow | NodeRow) -> SortValue:
    """Youngest report first."""
    return None if row.last_report_at is None else -row.last_report_at.timestamp()


def node_memory_bytes(node: NodeRow) -> int | None:
    """Device memory of the whole node; None when it has no device, or when one's is unknown."""
    sizes = [device.memory_bytes for device in node.devices]
    known = [size for size in sizes if size is not None]
    return sum(known) if known and len(known) == len(sizes) else None


ENGINE_SORTS: Mapping[str, Callable[[EngineRow], SortValue]] = MappingProxyType(
    {
        "engine": lambda row: row.engine_id,
        "node": lambda row: row.node,
        "provider": lambda row: row.provider,
        "region": lambda row: row.region,
        "model": lambda row: row.model,
        "state": lambda row: STATE_ORDER[row.state],
        "kv": lambda row: row.kv_used_ratio,
        "running": lambda row: row.running,
        "waiting": lambda row: row.waiting,
        "inflight": lambda row: row.inflight,
        "batch": _working(lambda point: point.batch_tokens_per_step),
        "intensity": _working(lambda point: point.intensity_flops_per_byte),
        "hit": _working(lambda point: point.prefix_hit_ratio),
        "ttft": _working(lambda point: point.ttft_seconds_p50),
        "age": _last_report,
        "trust": lambda row: TRUST_ORDER[row.trust],
    }
)
NODE_SORTS: Mapping[str, Callable[[NodeRow], SortValue]] = MappingProxyType(
    {
        "node": lambda row: row.name,
        "provider": lambda row: row.provider,
        "region": lambda row: row.region,
        "zone": lambda row: row.zone,
        "devices": lambda row: len(row.devices),
        "memory": node_memory_bytes,
        "age": _last_report,
        "trust": lambda row: TRUST_ORDER[row.trust],
        "agent": lambda row: row.agent_version,
    }
)


def sorted_engines(engines: Iterable[EngineRow], by: str = "engine", *, descending: bool = False) -> list[EngineRow]:
    """`by` is one of ENGINE_SORTS."""
    return _sorted(engines, ENGINE_SORTS[by], lambda row: row.engine_id, descending)


def sorted_nodes(nodes: Iterable[NodeRow], by: str = "node", *, descending: bool = False) -> list[NodeRow]:
    """`by` is one of NODE_SORTS."""
    return _sorted(nodes, NODE_SORTS[by], lambda row: row.name, descending)


def _sorted(
    rows: Iterable[Row], value_of: Callable[[Row], SortValue], name_of: Callable[[Row], str], descending: bool
) -> list[Row]:
    by_name = sorted(rows, key=name_of)
    known = [row for row in by_name if value_of(row) is not None]
    unknown = [row for row in by_name if value_of(row) is None]
    # Every value of one column has one type; a stable sort keeps the names in order in both directions.
    known.sort(key=value_of, reverse=descending)  # type: ignore[arg-type]
    return known + unknown


def grouped(rows: Iterable[Row], key_of: Callable[[Row], str]) -> dict[str, list[Row]]:
    """Groups in the order of their names, rows in the order given."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key_of(row), []).append(row)
    return dict(sorted(groups.items()))


class Filter:
    """Words that must all be found. `!word`: must not; `provider:gcp`: in that field.

    Words are patterns; case does not matter. A word that is no valid pattern (somebody is still typing it) is looked
    for as it stands.
    """

    def __init__(self, text: str) -> None:
        self._terms = tuple(_term(word) for word in text.split())

    def __bool__(self) -> bool:
        return bool(self._terms)

    def matches(self, fields: Mapping[str, str]) -> bool:
        return all(self._matches(field, pattern, fields) != inverse for field, pattern, inverse in self._terms)

    @staticmethod
    def _matches(field: str, pattern: re.Pattern[str], fields: Mapping[str, str]) -> bool:
        if field in fields:
            return pattern.search(fields[field]) is not None
        return field == "" and any(pattern.search(value) for value in fields.values())

    def engines(self, engines: Iterable[EngineRow]) -> list[EngineRow]:
        return [engine for engine in engines if self.matches(engine_fields(engine))]

    def nodes(self, nodes: Iterable[NodeRow], moment: Moment) -> list[NodeRow]:
        return [node for node in nodes if self.matches(node_fields(node, node_state(node, moment)))]

    def events(self, events: Iterable[EventRow]) -> list[EventRow]:
        return [event for event in events if self.matches(event_fields(event))]


_FIELD_WORD = re.compile(r"([a-z_][a-z0-9_./-]*)[:=](.+)", re.IGNORECASE)


def _term(word: str) -> tuple[str, re.Pattern[str], bool]:
    inverse = word.startswith("!") and len(word) > 1
    word = word[1:] if inverse else word
    named = _FIELD_WORD.fullmatch(word)
    field, wanted = (named[1].lower(), named[2]) if named else ("", word)
    try:
        return field, re.compile(wanted, re.IGNORECASE), inverse
    except re.error:
        return field, re.compile(re.escape(wanted), re.IGNORECASE), inverse


def engine_fields(engine: EngineRow) -> dict[str, str]:
    return {
        "engine": engine.engine_id,
        "node": engine.node,
        "provider": engine.provider,
        "region": engine.region,
        "model": engine.model,
        "state": engine.state.value,
        "trust": engine.trust.value,
    }


def node_fields(node: NodeRow, state: NodeState) -> dict[str, str]:
    """`state:cordoned` and `state:faulty` find every such node, also one that is stale and shown as that."""
    words = [state.value] if not node.cordoned or state is NodeState.CORDONED else [state.value, "cordoned"]
    if state is not NodeState.FAULTY and faults_of(node.health):
        words.append("faulty")
    return {
        **{name.lower(): value for name, value in node.labels.items()},
        "node": node.name,
        "provider": node.provider,
        "region": node.region,
        "zone": node.zone,
        "state": " ".join(words),
        "trust": node.trust.value,
        "device": " ".join(sorted({device.kind for device in node.devices})),
        "fault": " ".join(sorted({fault.kind for _, fault in faults_of(node.health)})),
        "simulated": "yes" if node.simulated else "no",
    }


def event_fields(event: EventRow) -> dict[str, str]:
    return {
        "severity": event.severity.value,
        "kind": event.kind,
        "message": event.message,
        "node": event.node,
        "engine": event.engine_id,
        "model": event.model,
        "actor": event.actor,
        "device": event.device_id,
        "action": event.action,
    }


def events_of(events: Iterable[EventRow], *, node: str = "", engine_id: str = "", kind: str = "") -> list[EventRow]:
    """Events of one node, engine or kind; an empty word means any."""
    return [
        event
        for event in events
        if (not node or event.node == node)
        and (not engine_id or event.engine_id == engine_id)
        and (not kind or event.kind == kind)
    ]
