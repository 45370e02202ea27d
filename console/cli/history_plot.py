"""`stoker history plot`: one figure over time, drawn in the terminal. Called by `console.cli.history`, which has the group.

The drawing is plotext's. Series are told apart by their marks, not by colour alone; a gap in what is known is a gap in the line.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import click

from console.cli.history_ask import Span, in_views, span_of, span_options
from console.cli.history_questions import where
from console.cli.output import show_line
from console.cli.session import Session, pass_session
from console.clock import utc_now
from console.model import format as fmt
from console.model.answers import SqlAnswer

SERIES_MAX = 6
_MARKS = "●*+◆▲■"
_HEIGHT = 18
_WIDTH_MIN, _WIDTH_MAX = 40, 200
_ROWS_MAX = 50_000
_TICKS = 5
_HOURS_APART, _MINUTES_APART = timedelta(minutes=90), timedelta(seconds=90)  # further apart is a gap


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure: how it is put together from the rows of one moment."""

    title: str
    expression: str
    ratio: bool = False  # drawn from 0 to 1
    view: str = "engine"


METRICS = {
    "kv": Metric("KV cache used, share", "SUM(kv_used_tokens_mean) / NULLIF(SUM(kv_capacity_tokens), 0)", ratio=True),
    "running": Metric("requests in the batch", "SUM(running_count_mean)"),
    "waiting": Metric("requests waiting in engines", "SUM(waiting_count_mean)"),
    "tokens": Metric("tokens written a second", "SUM(generation_tokens) / NULLIF(MAX(covered_seconds), 0)"),
    "batch": Metric("batch, tokens a step", "SUM(step_tokens) * 1.0 / NULLIF(SUM(steps_count), 0)"),
    "intensity": Metric("arithmetic intensity, FLOPs a byte", "SUM(flops) / NULLIF(SUM(bytes), 0)"),
    "hits": Metric(
        "prefix cache, share found", "SUM(prefix_hit_tokens) * 1.0 / NULLIF(SUM(prefix_query_tokens), 0)", ratio=True
    ),
    "busy": Metric("busy, share of device time", "SUM(busy_seconds) / NULLIF(SUM(covered_seconds), 0)", ratio=True),
    "ttft": Metric("mean time to first token, seconds", "SUM(ttft_seconds_sum) / NULLIF(SUM(ttft_count), 0)"),
    "preemptions": Metric("preemptions", "SUM(preemptions_count)"),
    "recompute": Metric("tokens computed again", "SUM(recompute_tokens)"),
    "requests": Metric("requests ended", "SUM(requests_count)", view="request"),
}
_GROUPS = {"model": "model", "provider": "provider", "region": "region", "node": "node", "engine": "engine_id"}


@click.command("plot")
@click.argument("metric", type=click.Choice(tuple(METRICS)))
@span_options
@click.option("--by", type=click.Choice(tuple(_GROUPS)), help="A line for each. Default: one for all.")
@click.option("--model", default="", help="Only this model.")
@click.option("--provider", default="", help="Only this provider.")
@click.option("--engine", default="", help="Only this engine.")
@pass_session
def plot(
    session: Session,
    metric: str,
    since: datetime,
    until: datetime | None,
    resolution: str,
    by: str | None,
    model: str,
    provider: str,
    engine: str,
) -> None:
    """Draw METRIC over time.

    kv, running, waiting, tokens, batch, intensity, hits, busy, ttft, preemptions, recompute, requests.
    """
    end = until or utc_now()
    if end <= since:
        raise click.UsageError("--until is not after --since.")
    span, asked = span_of(since, end, resolution), METRICS[metric]
    sql = in_views(statement(asked, by), span)
    given = span.parameters | {"model": model, "provider": provider, "engine": engine}
    parameters = {name: value for name, value in given.items() if f":{name}" in sql}
    answer = session.ask(lambda client: client.query_sql(sql, parameters=parameters, rows_max=_ROWS_MAX))
    series = series_of(answer)
    if not series:
        click.echo("Nothing is known of that span.", err=True)
        return
    for line in drawn(asked, series, span, _width()).splitlines():
        show_line(line)
    if len(series) > SERIES_MAX:
        rest = len(series) - SERIES_MAX
        click.echo(
            f"Only the {SERIES_MAX} largest are drawn, {rest} are left out: choose with --model or --provider.",
            err=True,
        )
    if answer.truncated:
        click.echo("Not all of it: there are more points. Ask for a shorter span.", err=True)


def statement(metric: Metric, by: str | None) -> str:
    """Moments with the figure of each series."""
    name = f"COALESCE({_GROUPS[by]}, '')" if by else "'all'"
    groups = f"{{at}}, {name}" if by else "{at}"
    return (
        f"SELECT {{at}} AS at, {name} AS series, {metric.expression} AS value\n"
        f"FROM {{{metric.view}}} WHERE {where('model', 'provider', 'engine')}\n"
        f"GROUP BY {groups} ORDER BY {{at}}"
    )


def series_of(answer: SqlAnswer) -> dict[str, list[tuple[datetime, float | None]]]:
    """The largest first, by what they add up to."""
    found: dict[str, list[tuple[datetime, float | None]]] = defaultdict(list)
    for at, name, value in answer.rows:
        moment = at if isinstance(at, datetime) else datetime.fromisoformat(str(at)).replace(tzinfo=UTC)
        found[str(name)].append((moment, float(value) if isinstance(value, int | float) else None))
    known = {name: points for name, points in found.items() if any(value is not None for _, value in points)}
    return dict(sorted(known.items(), key=lambda each: (-sum(value or 0.0 for _, value in each[1]), each[0])))


def drawn(metric: Metric, series: dict[str, list[tuple[datetime, float | None]]], span: Span, width: int) -> str:
    """Axes, lines and a legend, without colours."""
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, _HEIGHT)
    plotext.title(metric.title)
    shown = list(series.items())[:SERIES_MAX]
    for mark, (name, points) in zip(_MARKS, shown, strict=False):
        label = fmt.clean(name, length_max=40) or fmt.UNKNOWN
        for number, stretch in enumerate(_unbroken(points, span)):
            moments = [at.timestamp() for at, _ in stretch]
            values = [value for _, value in stretch]
            style = "braille" if len(shown) == 1 else mark
            plotext.plot(moments, values, marker=style, label=label if number == 0 else None)
    ticks = [span.since + (span.until - span.since) * part / (_TICKS - 1) for part in range(_TICKS)]
    form = "%H:%M" if span.until - span.since <= timedelta(days=1) else "%m-%d %H:%M"
    plotext.xlim(span.since.timestamp(), span.until.timestamp())
    plotext.xticks([at.timestamp() for at in ticks], [at.strftime(form) for at in ticks])
    plotext.xlabel("UTC")
    plotext.ylim(0, 1 if metric.ratio else None)
    return str(plotext.uncolorize(plotext.build()))


def _unbroken(points: Sequence[tuple[datetime, float | None]], span: Span) -> list[list[tuple[datetime, float]]]:
    """Stretches of known values, one after another: hours up to `span.whole`, minutes from there."""
    stretches: list[list[tuple[datetime, float]]] = []
    last: datetime | None = None
    for at, value in points:
        if value is None:
            last = None
            continue
        if last is None or at - last > (_HOURS_APART if last < span.whole else _MINUTES_APART):
            stretches.append([])
        stretches[-1].append((at, value))
        last = at
    return stretches


def _width() -> int:
    import shutil

    return max(_WIDTH_MIN, min(_WIDTH_MAX, shutil.get_terminal_size((100, 24)).columns))
