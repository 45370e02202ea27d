"""What the engine screen tells of one engine, as lines: headline, KV cache, batch, latency, identity. Pure."""

from console.model.checks import KV_FULL_RATIO
from console.model.fleet_view import EngineRow, EngineState
from console.model.format import (
    UNKNOWN,
    age,
    clock_time,
    duration,
    instant,
    percent,
    quantity,
    seconds,
    text_or_unknown,
)
from console.model.overview import Bound, Moment, is_stale
from console.widgets.bars import bar, known_or_dash, load_tone, spread
from console.widgets.engine_columns import bound_of, intensity_of, why
from console.widgets.panel import Fact, facts
from console.widgets.spans import CROSS, Line, Tone, say, span
from console.widgets.states import age_and_trust, engine_state

_TTFT_SCALE = (0.01, 30.0, "10 ms", "30 s")  # seconds: the ends of the picture, and how they read
_GAP_SCALE = (0.001, 1.0, "1 ms", "1 s")


def headline(row: EngineRow, moment: Moment, *, simulated: bool) -> list[Line]:
    where = " · ".join(text_or_unknown(part) for part in (row.provider, row.region))
    first: Line = (
        *engine_state(row, moment),
        span(f" for {duration(_passed(row, moment))}" if row.state_since else "", Tone.DIM),
        span("    figures ", Tone.DIM),
        *age_and_trust(row, moment, 20),
        span("  serves ", Tone.DIM),
        span(row.model, Tone.STRONG),
        span("  on ", Tone.DIM),
        span(text_or_unknown(row.node), Tone.STRONG),
        span("  simulated" if simulated else "", Tone.WARN),
        span(f"  {where}", Tone.DIM),
    )
    lines = [first]
    if row.state in (EngineState.FAILED, EngineState.BACKING_OFF):
        again = f"  next start at {clock_time(row.retry_at)}" if row.retry_at else ""
        tone = Tone.BAD if row.state is EngineState.FAILED else Tone.WARN
        lines.append((span(row.reason or "no reason was given", tone), span(again, Tone.DIM)))
    elif why(row):
        lines.append(say(why(row), Tone.WARN))
    elif row.reason and row.state is EngineState.READY:
        lines.append(say(row.reason, Tone.WARN))  # a newer generation that was refused
    if is_stale(row, moment):
        lines.append(say("○ These figures are the last known, not the present ones.", Tone.WARN))
    return lines


def _passed(row: EngineRow, moment: Moment) -> float | None:
    return None if row.state_since is None or moment.now is None else (moment.now - row.state_since).total_seconds()


def kv_lines(row: EngineRow, width: int) -> list[Line]:
    used, capacity, context = row.kv_used_tokens, row.kv_capacity_tokens, row.context_tokens_max
    free = None if used is None or capacity is None else capacity - used
    room = UNKNOWN if free is None or not context else f"{free / context:.1f}"
    ratio = row.kv_used_ratio
    label = percent(ratio)
    pairs: list[Fact] = [
        ("held", (*known_or_dash(quantity(used)), span(f" of {quantity(capacity)} tokens", Tone.DIM))),
        ("free", (*known_or_dash(quantity(free)), span(f" tokens: room for {room} requests of", Tone.DIM))),
        ("", say(f"the longest context ({quantity(context)} tokens)", Tone.DIM)),
    ]
    if ratio is not None and ratio >= KV_FULL_RATIO:
        pairs.append(("", say("! full: the next requests wait, or push others out", Tone.BAD)))
    return [(*bar(ratio, max(4, width - 6)), span(f" {label:>5}", load_tone(ratio))), *facts(pairs, label_width=12)]


def batch_lines(row: EngineRow) -> list[Line]:
    point = row.working_point
    waits = Tone.WARN if row.waiting else Tone.DIM if row.waiting is None else Tone.PLAIN
    preempted = point.preemptions_per_second if point else None
    total = f"  {quantity(row.preemptions_total)} in all"
    lines = facts(
        [
            (
                "running",
                (*known_or_dash(quantity(row.running)), span(f"   {row.inflight} sent by the gateway", Tone.DIM)),
            ),
            ("waiting", say(quantity(row.waiting), waits)),
            ("tokens/step", known_or_dash(quantity(point.batch_tokens_per_step if point else None))),
            ("prompt", _rate(point.prompt_tokens_per_second if point else None)),
            ("generation", _rate(point.generation_tokens_per_second if point else None)),
            ("prefix hit", known_or_dash(percent(point.prefix_hit_ratio if point else None))),
            ("preempted", (*known_or_dash(_small(preempted)), span(f" /s{total}", Tone.DIM))),
        ],
        label_width=12,
    )
    return lines if point else [*lines, say("No traffic was seen yet.", Tone.DIM)]


def _rate(value: float | None) -> Line:
    return (*known_or_dash(quantity(value)), span(" tok/s", Tone.DIM))


def _small(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1f}"


def latency_lines(row: EngineRow, width: int) -> list[Line]:
    """Median and 95th percentile, as figures and on a logarithmic line."""
    point = row.working_point
    lines: list[Line] = []
    for label, p50, p95, (floor, ceiling, first, last) in (
        ("first token", point.ttft_seconds_p50 if point else None, point.ttft_seconds_p95 if point else None, _TTFT_SCALE),
        ("each next", point.inter_token_seconds_p50 if point else None, point.inter_token_seconds_p95 if point else None,
         _GAP_SCALE),
    ):  # fmt: skip
        room = max(8, width - 12)
        lines.append(
            (
                span(f"{label:<12}", Tone.DIM),
                span("● p50 ", Tone.DIM), *known_or_dash(f"{seconds(p50):>7}"),
                span("   ┫ p95 ", Tone.DIM), *known_or_dash(f"{seconds(p95):>7}"),
            )
        )  # fmt: skip
        lines.append((span(" " * 12), *spread(p50, p95, room, floor=floor, ceiling=ceiling)))
        lines.append(say(f"{'':12}{first}{last:>{room - len(first)}}", Tone.DIM))
    return lines


def roof_words(row: EngineRow) -> Line:
    """Where the engine stands, as a sentence."""
    found, ridge, limit = intensity_of(row), row.ridge_flops_per_byte, bound_of(row)
    if found is None or ridge is None or limit is None:
        return say("Its place is not known: no traffic, or no ceilings.", Tone.DIM)
    figures: Line = (span(f"{found:.1f} / {ridge:.1f}", Tone.STRONG), span(" FLOP/B   ", Tone.DIM))
    if limit is Bound.MEMORY:
        return (
            *figures,
            span("memory-bound", Tone.ACCENT),
            span(f", {ridge / found:.1f}{CROSS} below the ridge", Tone.DIM),
        )
    return (*figures, span("compute-bound", Tone.WARN), span(f", {found / ridge:.1f}{CROSS} past the ridge", Tone.DIM))


def identity_lines(row: EngineRow, moment: Moment) -> list[Line]:
    return facts(
        [
            ("endpoint", say(text_or_unknown(row.endpoint))),
            ("devices", say(", ".join(row.device_ids) or UNKNOWN)),
            ("dtype", say(text_or_unknown(row.dtype))),
            ("vLLM", say(text_or_unknown(row.engine_version))),
            ("restarts", say(str(row.restart_count), Tone.WARN if row.restart_count else Tone.PLAIN)),
            ("requests", known_or_dash(quantity(row.requests_finished_total))),
            ("tokens", (
                span("prompt ", Tone.DIM), *known_or_dash(quantity(row.prompt_tokens_total)),
                span("  generated ", Tone.DIM), *known_or_dash(quantity(row.generation_tokens_total)),
            )),
            ("since", say(f"{instant(row.state_since)}  {age(row.state_since, moment.now)}", Tone.DIM)),
        ],
        label_width=12,
    )  # fmt: skip
