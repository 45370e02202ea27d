"""The columns of the shorter tables: models, what is wrong, events, placements, devices. Pure cells, no state."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC

from console.model.fleet_view import (
    CeilingRow,
    DesiredState,
    DeviceRow,
    EngineRow,
    EventRow,
    FleetView,
    ModelRow,
    PlacementRow,
)
from console.model.format import (
    UNKNOWN,
    age,
    bytes_per_second,
    clean,
    clock_time,
    flops_per_second,
    intensity,
    memory,
    quantity,
    text_or_unknown,
    tokens_of,
)
from console.model.fulfilment import Fulfilment, fulfilment
from console.model.overview import Moment, Problem
from console.widgets.bars import bar_with_percent, known_or_dash
from console.widgets.columns import Column
from console.widgets.node_columns import kind_in_words
from console.widgets.spans import CROSS, Line, Tone, elided, say, span
from console.widgets.states import DESIRED_LOOKS, SEVERITY_LOOKS, engine_state, in_words

# ---- models


def _model_ratio(row: ModelRow) -> float | None:
    if not row.kv_capacity_tokens or row.kv_used_tokens is None:
        return None
    return row.kv_used_tokens / row.kv_capacity_tokens


def _routable(row: ModelRow, _moment: Moment, _width: int) -> Line:
    none, short = row.engines_routable == 0, row.engines_routable < row.engines_total
    text = f"{row.engines_routable}/{row.engines_total}"
    return (
        span(text, Tone.BAD if none else Tone.WARN if short else Tone.PLAIN),
        span(CROSS if none else "!" if short else " ", Tone.BAD if none else Tone.WARN),
    )


def _model_waiting(row: ModelRow, _moment: Moment, _width: int) -> Line:
    return say(quantity(row.waiting), Tone.WARN) if row.waiting else known_or_dash(quantity(row.waiting))


MODEL_COLUMNS: tuple[Column[ModelRow], ...] = (
    Column("model", "model", lambda row, _, width: say(elided(row.name, width), Tone.STRONG), 12, 0, grow=20,
           order=lambda row: row.name, sort_key="M"),
    Column("kv", "KV cache", lambda row, _, width: bar_with_percent(_model_ratio(row), width), 11, 1, grow=16, right=True,
           order=_model_ratio, sort_key="K"),
    Column("tokens", "used/tokens", lambda row, *_: known_or_dash(tokens_of(row.kv_used_tokens, row.kv_capacity_tokens)),
           11, 5, right=True),
    Column("engines", "engines ", _routable, 8, 2, right=True, order=lambda row: row.engines_routable, sort_key="E"),
    Column("waiting", "wait", _model_waiting, 4, 3, right=True, order=lambda row: row.waiting, sort_key="W"),
    Column("providers", "providers", lambda row, *_: say(", ".join(row.providers) or UNKNOWN, Tone.DIM), 12, 6, grow=24),
)  # fmt: skip


# ---- what is wrong


def _what(row: Problem, _moment: Moment, _width: int) -> Line:
    symbol, _, tone = SEVERITY_LOOKS[row.severity]
    return span(f"{symbol} ", tone), span(row.state, tone)


def _who(row: Problem, _moment: Moment, width: int) -> Line:
    return say(elided(row.subject or "control plane", width), Tone.STRONG)


PROBLEM_COLUMNS: tuple[Column[Problem], ...] = (
    Column("what", "what", _what, 13, 0, grow=2),
    Column("who", "who", _who, 18, 1, grow=12),
    Column("detail", "detail", lambda row, *_: say(row.detail), 24, 2, grow=200),
    Column("since", "since", lambda row, moment, _: say(age(row.since, moment.now) if row.since else "", Tone.DIM), 6, 3,
           right=True),
)  # fmt: skip

# ---- events


def _event_time(row: EventRow, moment: Moment, _width: int) -> Line:
    """The time today, the date before."""
    at = row.at.astimezone(UTC)
    today = moment.now is None or at.date() == moment.now.date()
    return say(clock_time(row.at) if today else f"{at:%m-%d %H:%M}", Tone.DIM)


def _event_subject(row: EventRow, _moment: Moment, width: int) -> Line:
    return say(elided(row.engine_id or row.node or row.model, width) or UNKNOWN, Tone.STRONG)


def _event_message(row: EventRow, _moment: Moment, _width: int) -> Line:
    """The device first; what to do about it last, where there is room."""
    device: Line = (span(f"{row.device_id} ", Tone.STRONG),) if row.device_id else ()
    action: Line = (span(f"  do: {row.action}", Tone.DIM),) if row.action else ()
    return (*device, span(row.message), *action)


EVENT_COLUMNS: tuple[Column[EventRow], ...] = (
    Column("at", "time", _event_time, 11, 0),
    Column("severity", "", lambda row, _, width: _severity(row, width), 1, 1),
    Column("kind", "kind", lambda row, *_: say(row.kind, SEVERITY_LOOKS[row.severity][2]), 17, 3, grow=4),
    Column("subject", "about", _event_subject, 18, 2, grow=12),
    Column("message", "message", _event_message, 20, 1, grow=300),
    Column("actor", "by", lambda row, _, width: say(elided(row.actor, width), Tone.DIM), 12, 4, grow=8),
)  # fmt: skip


def _severity(row: EventRow, width: int) -> Line:
    symbol, word, tone = SEVERITY_LOOKS[row.severity]
    return say(f"{symbol} {word}" if width >= 9 else symbol, tone)


# ---- placements: what is wanted beside what is there


@dataclass(frozen=True, slots=True)
class PlacementLine:
    placement: PlacementRow
    engine: EngineRow | None  # None: its node has not told of it


def placement_lines(view: FleetView, node: str) -> dict[str, PlacementLine]:
    return {key: PlacementLine(row, view.engines.get(key)) for key, row in view.placements.items() if row.node == node}


def _observed(line: PlacementLine, moment: Moment, _width: int) -> Line:
    if line.engine is None:
        gone = line.placement.desired is DesiredState.REMOVED
        return say("gone" if gone else "not there yet", Tone.DIM if gone else Tone.WARN)
    return engine_state(line.engine, moment)


def _generation(line: PlacementLine, _moment: Moment, _width: int) -> Line:
    wanted, seen = line.placement.generation, line.placement.observed_generation
    found = fulfilment(line.placement, line.engine)
    if found is Fulfilment.DONE:
        return say(f"{wanted} carried out", Tone.DIM)
    if found is not Fulfilment.PENDING:
        return say(f"{wanted} under way ◐", Tone.WARN)
    return say(f"{wanted}, seen {UNKNOWN if seen is None else seen} ◐", Tone.WARN)


PLACEMENT_COLUMNS: tuple[Column[PlacementLine], ...] = (
    Column("placement", "placement", lambda line, _, width: say(elided(line.placement.placement_id, width), Tone.STRONG), 18,
           0, grow=22, order=lambda line: line.placement.placement_id),
    Column("desired", "desired", lambda line, *_: in_words(DESIRED_LOOKS[line.placement.desired]), 10, 1),
    Column("observed", "observed", _observed, 13, 2),
    Column("generation", "generation", _generation, 14, 3, grow=4),
    Column("devices", "devices", lambda line, *_: say(", ".join(line.placement.device_ids) or UNKNOWN, Tone.DIM), 12, 6,
           grow=20),
    Column("args", "engine arguments", lambda line, *_: say(" ".join(line.placement.engine_args) or UNKNOWN, Tone.DIM), 18, 7,
           grow=80),
    Column("by", "by", lambda line, *_: say(text_or_unknown(line.placement.created_by), Tone.DIM), 8, 5, grow=8),
    Column("made", "made", lambda line, moment, _: say(age(line.placement.created_at, moment.now), Tone.DIM), 6, 4, right=True),
)  # fmt: skip

# ---- devices: one line per device and dtype


@dataclass(frozen=True, slots=True)
class CeilingLine:
    device: DeviceRow
    ceiling: CeilingRow | None  # None: nothing is known of what it reaches
    first: bool  # of its device: the device is named once


def ceiling_lines(devices: tuple[DeviceRow, ...]) -> dict[str, CeilingLine]:
    lines: dict[str, CeilingLine] = {}
    for device in _alike_as_one(devices):
        ceilings: tuple[CeilingRow | None, ...] = device.ceilings or (None,)
        for index, ceiling in enumerate(ceilings):
            lines[f"{device.device_id}/{index}"] = CeilingLine(device, ceiling, first=index == 0)
    return lines


def _alike_as_one(devices: Iterable[DeviceRow]) -> Iterable[DeviceRow]:
    """Devices that differ only in their id and their board are one: "cuda:0…7"."""
    alike: dict[DeviceRow, list[str]] = {}
    for device in devices:
        alike.setdefault(replace(device, device_id="", uuid=""), []).append(device.device_id)
    for device, ids in alike.items():
        yield replace(device, device_id=ids[0] if len(ids) == 1 else f"{ids[0]}…{ids[-1].rsplit(':', 1)[-1]}")


def ridge_of(ceiling: CeilingRow | None) -> float | None:
    if ceiling is None or ceiling.flops_per_second is None or not ceiling.bytes_per_second:
        return None
    return ceiling.flops_per_second / ceiling.bytes_per_second


def _once(line: CeilingLine, text: str, tone: Tone = Tone.PLAIN) -> Line:
    return say(text if line.first else "", tone)


def _source(line: CeilingLine, _moment: Moment, _width: int) -> Line:
    found = clean(line.ceiling.source) if line.ceiling else ""
    return say(found or UNKNOWN, Tone.GOOD if found in ("measured", "configured") else Tone.DIM)


CEILING_COLUMNS: tuple[Column[CeilingLine], ...] = (
    Column("device", "device", lambda line, *_: _once(line, line.device.device_id, Tone.STRONG), 8, 0, grow=4),
    Column("kind", "kind", lambda line, _, width: _once(line, elided(kind_in_words(line.device.kind), width)), 16, 9, grow=12),
    Column("memory", "memory", lambda line, *_: _once(line, memory(line.device.memory_bytes)), 9, 7, right=True),
    Column("driver", "driver", lambda line, *_: _once(line, text_or_unknown(line.device.driver_version), Tone.DIM), 11, 11),
    Column("capability", "compute", lambda line, *_: _once(line, text_or_unknown(line.device.compute_capability), Tone.DIM),
           8, 12),
    Column("dtype", "dtype", lambda line, *_: say(text_or_unknown(line.ceiling.dtype if line.ceiling else "")), 11, 1, grow=4),
    Column("flops", "reaches", lambda line, *_: known_or_dash(
        flops_per_second(line.ceiling.flops_per_second if line.ceiling else None)), 13, 5, right=True),
    Column("bytes", "moves", lambda line, *_: known_or_dash(
        bytes_per_second(line.ceiling.bytes_per_second if line.ceiling else None)), 9, 6, right=True),
    Column("ridge", "ridge", lambda line, *_: known_or_dash(intensity(ridge_of(line.ceiling))), 6, 2, right=True),
    Column("source", "source", _source, 10, 1),
    Column("measured", "measured", lambda line, moment, _: say(
        age(line.ceiling.measured_at if line.ceiling else None, moment.now), Tone.DIM), 8, 8, right=True),
)  # fmt: skip
