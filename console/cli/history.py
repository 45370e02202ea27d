"""`stoker history`: the group of questions about the past, and `engines`, what the engines did."""

from collections.abc import Iterable
from datetime import datetime

import click

from console.cli.history_ask import add_questions
from console.cli.history_plot import plot
from console.cli.output import Column, Row, show_json, show_line, show_table
from console.cli.parameters import DURATION, MOMENT, output_option
from console.cli.session import Session, pass_session
from console.cli.shapes import shape
from console.model import format as fmt
from console.model.answers import EngineHistory, EngineHistoryRow
from console.model.select import grouped

_COLUMNS = (
    Column("AT"),
    Column("ENGINE"),
    Column("MODEL", drop=5, width_max=24),
    Column("KV max"),
    Column("KV mean", right=True, drop=4),
    Column("RUN", right=True),
    Column("WAIT max", right=True),
    Column("IN", right=True, drop=1),
    Column("OUT", right=True, drop=1),
    Column("BATCH", right=True, drop=2),
    Column("INTENSITY", right=True, drop=1),
    Column("HIT", right=True, drop=1),
    Column("PREEMPTED", right=True, drop=3),
    Column("TTFT mean", right=True, drop=1),
    Column("SAMPLES", right=True, drop=4),
)
_SPARKS_MAX = 60


@click.group()
def history() -> None:
    """Look back: what was served, wasted, refused, and at what cost."""


add_questions(history)
history.add_command(plot)


@history.command("engines")
@click.option("--since", type=MOMENT, default="10m", show_default=True, help="From when: 10m, 2h, or a date.")
@click.option("--until", type=MOMENT, help="Until when. Default: now.")
@click.option("--engine", default="", help="Only this engine.")
@click.option("--model", default="", help="Only engines of this model.")
@click.option("--node", default="", help="Only engines on this node.")
@click.option("--bucket", type=DURATION, default=0.0, help="Length of a row. Default: about 60 rows an engine.")
@output_option
@pass_session
def history_engines(
    session: Session,
    since: datetime,
    until: datetime | None,
    engine: str,
    model: str,
    node: str,
    bucket: float,
    output: str,
) -> None:
    """Show what engines did: a curve of the KV cache for each, then the figures of every span of time.

    IN and OUT: prompt and generated tokens in the span. TTFT: time to first token.
    """
    if until is not None and until <= since:
        raise click.UsageError("--until is not after --since.")
    found = session.ask(
        lambda client: client.engine_history(
            since=since, until=until, engine_id=engine, model=model, node=node, bucket_seconds=bucket
        )
    )
    if output == "json":
        show_json([{**shape(row), "bucket_seconds": found.bucket_seconds} for row in found.rows])
    else:
        _show(found)
    if found.truncated:
        click.echo("Not all of it: there are more rows. Ask for a shorter span or a longer --bucket.", err=True)


def _show(found: EngineHistory) -> None:
    by_engine = grouped(found.rows, lambda row: row.engine_id)
    for engine_id, rows in by_engine.items():
        curve = fmt.sparkline([row.kv_used_ratio_max for row in _in_time(rows)[-_SPARKS_MAX:]], maximum=1.0)
        show_line(f"KV {curve} {fmt.percent(rows[-1].kv_used_ratio_max)}  {engine_id}")
    if by_engine:
        show_line(f"one block, one row: {fmt.duration(found.bucket_seconds)}")
        show_line("")
    ordered = [row for rows in by_engine.values() for row in _in_time(rows)]
    show_table(_COLUMNS, [_row(row) for row in ordered], empty="No sample in that span of time.")


def _in_time(rows: Iterable[EngineHistoryRow]) -> list[EngineHistoryRow]:
    return sorted(rows, key=lambda row: row.bucket_at)


def _row(row: EngineHistoryRow) -> Row:
    return (
        fmt.instant(row.bucket_at),
        row.engine_id,
        row.model,
        fmt.bar_percent(row.kv_used_ratio_max, 8),
        fmt.percent(row.kv_used_ratio_mean),
        fmt.quantity(row.running_count_mean),
        fmt.quantity(row.waiting_count_max),
        fmt.tokens(row.prompt_tokens),
        fmt.tokens(row.generation_tokens),
        fmt.quantity(row.batch_tokens_per_step),
        fmt.intensity(row.intensity_flops_per_byte),
        fmt.percent(row.prefix_hit_ratio),
        fmt.quantity(row.preemptions_count),
        fmt.seconds(row.ttft_seconds_mean),
        str(row.samples_count),
    )
