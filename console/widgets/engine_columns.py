"""The columns of every table of engines. Screens hand them to a `FleetTable`; pure cells, no state."""

from collections.abc import Callable

from console.model.fleet_view import EngineRow, WorkingPointRow
from console.model.format import UNKNOWN, intensity, percent, quantity, seconds, text_or_unknown
from console.model.overview import Bound, Moment, bound
from console.widgets.bars import bar_with_percent, known_or_dash, ridge_gauge
from console.widgets.columns import Column
from console.widgets.spans import Line, Tone, elided, say, span
from console.widgets.states import age_and_trust, engine_state

BOUND_WORDS = {Bound.MEMORY: "memory", Bound.COMPUTE: "compute"}


def _point(row: EngineRow, get: Callable[[WorkingPointRow], float | None]) -> float | None:
    return None if row.working_point is None else get(row.working_point)


def _name(row: EngineRow, _moment: Moment, width: int) -> Line:
    return say(elided(row.engine_id, width), Tone.STRONG)


def _kv(row: EngineRow, _moment: Moment, width: int) -> Line:
    return bar_with_percent(row.kv_used_ratio, width)


def _waiting(row: EngineRow, _moment: Moment, _width: int) -> Line:
    if row.waiting:
        return say(quantity(row.waiting), Tone.WARN)
    return known_or_dash(quantity(row.waiting))


def intensity_of(row: EngineRow) -> float | None:
    return _point(row, lambda point: point.intensity_flops_per_byte)


def bound_of(row: EngineRow) -> Bound | None:
    return bound(intensity_of(row), row.ridge_flops_per_byte)


def _roof(row: EngineRow, _moment: Moment, _width: int) -> Line:
    """The intensity beside the ridge: "3.4 / 11.2"."""
    ridge = intensity(row.ridge_flops_per_byte)
    found = intensity_of(row)
    if found is None and ridge == UNKNOWN:
        return say(UNKNOWN, Tone.DIM)
    return (*known_or_dash(intensity(found)), span(f" / {ridge:>4}", Tone.DIM))


def _gauge(row: EngineRow, _moment: Moment, width: int) -> Line:
    return ridge_gauge(intensity_of(row), row.ridge_flops_per_byte, width)


def _bound(row: EngineRow, _moment: Moment, width: int) -> Line:
    found = bound_of(row)
    if found is None:
        return say(UNKNOWN, Tone.DIM)
    word = BOUND_WORDS[found] + ("-bound" if width >= 13 else "")
    return say(word, Tone.WARN if found is Bound.COMPUTE else Tone.PLAIN)


def _why(row: EngineRow, _moment: Moment, _width: int) -> Line:
    return say(why(row), Tone.DIM)


def why(row: EngineRow) -> str:
    """In words what keeps an engine from work; "" when nothing does."""
    said = row.reason or row.stage
    return said or ("" if row.routable else row.not_routable_reason)


COLUMNS: tuple[Column[EngineRow], ...] = (
    Column("engine", "engine", _name, 19, 0, grow=24, order=lambda row: row.engine_id, sort_key="E"),
    Column("state", "state", lambda row, moment, _: engine_state(row, moment), 10, 1, order=lambda row: row.state.value,
           sort_key="S"),
    Column("kv", "KV cache", _kv, 11, 2, grow=22, order=lambda row: row.kv_used_ratio, right=True, sort_key="K"),
    Column("running", "run", lambda row, *_: known_or_dash(quantity(row.running)), 4, 7, right=True,
           order=lambda row: row.running, sort_key="R"),
    Column("waiting", "wait", _waiting, 4, 3, right=True, order=lambda row: row.waiting, sort_key="W"),
    Column("batch", "batch",
           lambda row, *_: known_or_dash(quantity(_point(row, lambda point: point.batch_tokens_per_step))), 5, 9,
           right=True, order=lambda row: _point(row, lambda point: point.batch_tokens_per_step), sort_key="B"),
    Column("roof", "int / ridge", _roof, 11, 6, right=True, order=intensity_of, sort_key="I"),
    Column("gauge", "roofline", _gauge, 8, 10, grow=2),
    Column("bound", "bound", _bound, 7, 8, grow=6),
    Column("hit", "hit", lambda row, *_: known_or_dash(percent(_point(row, lambda point: point.prefix_hit_ratio))), 4, 11,
           right=True, order=lambda row: _point(row, lambda point: point.prefix_hit_ratio), sort_key="H"),
    Column("ttft", "TTFT", lambda row, *_: known_or_dash(seconds(_point(row, lambda point: point.ttft_seconds_p50))), 6, 5,
           right=True, order=lambda row: _point(row, lambda point: point.ttft_seconds_p50), sort_key="T"),
    Column("rate", "tok/s",
           lambda row, *_: known_or_dash(quantity(_point(row, lambda point: point.generation_tokens_per_second))), 5, 12,
           right=True, order=lambda row: _point(row, lambda point: point.generation_tokens_per_second), sort_key="O"),
    Column("age", "age  ", age_and_trust, 8, 4, grow=8, right=True),
    Column("model", "model", lambda row, _, width: say(elided(row.model, width)), 14, 15, grow=22,
           order=lambda row: row.model, sort_key="M"),
    Column("node", "node", lambda row, _, width: say(elided(text_or_unknown(row.node), width)), 10, 14, grow=10,
           order=lambda row: row.node, sort_key="N"),
    Column("provider", "provider", lambda row, *_: say(text_or_unknown(row.provider), Tone.DIM), 8, 16, grow=4,
           order=lambda row: row.provider, sort_key="P"),
    Column("region", "region", lambda row, *_: say(text_or_unknown(row.region), Tone.DIM), 10, 17, grow=6,
           order=lambda row: row.region),
    Column("why", "why not", _why, 24, 18, grow=200),
)  # fmt: skip
