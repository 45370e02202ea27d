"""What is known from inside an engine: whether its plug-in speaks, its steps, its prefixes, its recompute bill. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from console.model.fleet_view import EngineRow
from console.model.format import UNKNOWN, age, flops, percent, quantity, seconds, text_or_unknown
from console.model.inside import BillRow, InsideState, whole_bill
from console.model.overview import Moment
from console.widgets.bars import known_or_dash
from console.widgets.panel import Fact, facts
from console.widgets.spans import CROSS, Line, Tone, say, span
from console.widgets.states import Look, in_words

TENANTS_SHOWN_MAX = 3

INSIDE_LOOKS: Mapping[InsideState, Look] = MappingProxyType(
    {
        InsideState.ACTIVE: ("●", "active", Tone.GOOD),
        InsideState.DEGRADED: ("▲", "degraded", Tone.WARN),
        InsideState.SILENT: ("○", "silent", Tone.WARN),
        InsideState.UNKNOWN: ("?", "unknown", Tone.DIM),
    }
)


def inside_lines(row: EngineRow, moment: Moment) -> list[Line]:
    point = row.working_point
    batch = point.running_count_mean if point else None
    busy = point.busy_ratio if point else None
    prefill, decode = (point.prefill_tokens_per_second, point.decode_tokens_per_second) if point else (None, None)
    if row.inside is None and row.residency is None and {batch, busy, prefill, decode} == {None}:
        return _nobody_inside(row)
    pairs: list[Fact] = [
        ("plug-in", _state(row, moment)),
        (
            "steps",
            (
                *known_or_dash(quantity(batch)),
                span(" requests each   busy ", Tone.DIM),
                *known_or_dash(percent(busy)),
                span(f"   by {point.source}" if point and point.source else "", Tone.DIM),
            ),
        ),
        (
            "computed",
            (
                *known_or_dash(quantity(prefill)),
                span(" tok/s prefill  ", Tone.DIM),
                *known_or_dash(quantity(decode)),
                span(" tok/s decode", Tone.DIM),
            ),
        ),
        ("prefixes", _prefixes(row)),
    ]
    if row.inside is not None and row.inside.records_dropped_total:
        pairs.append(("dropped", say(f"{quantity(row.inside.records_dropped_total)} records", Tone.WARN)))
    if row.adapters:
        pairs.append(("adapters", say(", ".join(row.adapters))))
    return facts(pairs, label_width=12)


def _nobody_inside(row: EngineRow) -> list[Line]:
    """One sentence, not a column of dashes."""
    source = row.working_point.source if row.working_point else ""
    figures = [say(f"Its figures are by {source}.", Tone.DIM)] if source else []
    adapters: list[Fact] = [("adapters", say(", ".join(row.adapters)))] if row.adapters else []
    return [say("No plug-in speaks from inside it.", Tone.DIM), *figures, *facts(adapters, label_width=12)]


def _state(row: EngineRow, moment: Moment) -> Line:
    inside = row.inside
    if inside is None:
        return say(UNKNOWN, Tone.DIM)
    told = f"  {inside.plugin_version}  {age(inside.measured_at, moment.now)} old" if inside.measured_at else ""
    return (*in_words(INSIDE_LOOKS[inside.state]), span(f": {inside.note}" if inside.note else told, Tone.DIM))


def _prefixes(row: EngineRow) -> Line:
    residency = row.residency
    if residency is None:
        return say(UNKNOWN, Tone.DIM)
    lost = () if residency.complete else (span("  ! events were lost", Tone.WARN),)
    differs = (span(f"  {CROSS} routing knows others", Tone.WARN),) if row.residency_agrees is False else ()
    return (*known_or_dash(quantity(residency.chunks_count)), span(" chunks resident", Tone.DIM), *lost, *differs)


def bill_lines(row: EngineRow) -> list[Line]:
    """In all, then the dearest tenants, since the start of the engine's process."""
    whole = whole_bill(row.recompute)
    if whole is None:
        told = "Nothing was told of it." if row.inside else "Only a plug-in inside the engine could tell."
        return [say(told, Tone.DIM)]
    dearest = sorted(row.recompute, key=lambda bill: (-bill.tokens_total, bill.tenant))
    pairs: list[Fact] = [("in all", _bill(whole))]
    pairs += [(bill.tenant or "others", _bill(bill)) for bill in dearest[:TENANTS_SHOWN_MAX]]
    lines = facts(pairs, label_width=12)
    more = len(dearest) - TENANTS_SHOWN_MAX
    return [*lines, say(f"and {more} more tenants", Tone.DIM)] if more > 0 else lines


def _bill(bill: BillRow) -> Line:
    return (
        *known_or_dash(quantity(bill.tokens_total)),
        span(" tok  ", Tone.DIM),
        *known_or_dash(flops(bill.flops_total)),
        span("  ", Tone.DIM),
        *known_or_dash(seconds(bill.seconds_total)),
        span(f"  {text_or_unknown(bill.seconds_source)}", Tone.DIM),
    )
