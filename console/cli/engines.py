"""`stoker engines` lists the engines; `stoker engine ID` tells all that is known of one, with its last log lines."""

from collections.abc import Iterator

import click

from console.cli.engine_facts import inside_facts, memory_facts
from console.cli.failures import NotFoundFailure
from console.cli.output import Column, Row, show_json, show_line, show_table
from console.cli.parameters import output_option
from console.cli.session import Session, pass_session
from console.cli.shapes_engine import engine_shape
from console.cli.styles import ratio_cell, state_cell, trust_cell
from console.model import format as fmt
from console.model.fleet_view import EngineRow, FleetView
from console.model.select import ENGINE_SORTS, Filter, sorted_engines

_COLUMNS = (
    Column("ENGINE"),
    Column("NODE", drop=4),
    Column("PROVIDER", drop=6),
    Column("REGION", drop=7),
    Column("MODEL", drop=5, width_max=32),
    Column("STATE", width_max=32),
    Column("KV"),
    Column("RUN", right=True),
    Column("WAIT", right=True),
    Column("BATCH", right=True, drop=1),
    Column("INTENSITY/RIDGE", right=True, drop=2),
    Column("HIT", right=True, drop=1),
    Column("TTFT p50", right=True, drop=1),
    Column("AGE", right=True),
    Column("TRUST", drop=3),
)


@click.command()
@click.argument("words", nargs=-1, metavar="[FILTER]...")
@click.option("--model", default="", help="Only engines of this model.")
@click.option("--node", default="", help="Only engines on this node.")
@click.option("--sort", type=click.Choice(list(ENGINE_SORTS)), default="engine", show_default=True)
@click.option("--descending", is_flag=True, help="Largest first.")
@output_option
@pass_session
def engines(
    session: Session, words: tuple[str, ...], model: str, node: str, sort: str, descending: bool, output: str
) -> None:
    """List engines. FILTER: words that must be found; state:ready in one field, !word for not.

    KV: share of the KV cache that live requests hold. BATCH: tokens per step. INTENSITY/RIDGE: FLOPs per byte moved,
    against the device's ridge point; below it, memory is the limit. HIT: prompt tokens found in the prefix cache.
    """
    view = session.ask(lambda client: client.fleet())
    chosen = [
        row for row in view.engines.values() if (not model or row.model == model) and (not node or row.node == node)
    ]
    rows = sorted_engines(Filter(" ".join(words)).engines(chosen), sort, descending=descending)
    if output == "json":
        show_json([engine_shape(row, view) for row in rows])
        return
    empty = "No engine matches." if view.engines else "No engine yet. Place one: stoker place MODEL --node NODE"
    show_table(_COLUMNS, [_row(row, view) for row in rows], empty=empty)


def _row(engine: EngineRow, view: FleetView) -> Row:
    point = engine.working_point
    return (
        engine.engine_id,
        engine.node,
        fmt.text_or_unknown(engine.provider),
        fmt.text_or_unknown(engine.region),
        fmt.text_or_unknown(engine.model),
        state_cell(engine),
        ratio_cell(engine.kv_used_ratio),
        fmt.quantity(engine.running),
        fmt.quantity(engine.waiting),
        fmt.quantity(point.batch_tokens_per_step if point else None),
        fmt.intensity_against_ridge(point.intensity_flops_per_byte if point else None, engine.ridge_flops_per_byte),
        fmt.percent(point.prefix_hit_ratio if point else None),
        fmt.seconds(point.ttft_seconds_p50 if point else None),
        fmt.age(engine.last_report_at, view.now),
        trust_cell(engine.trust),
    )


@click.command()
@click.argument("engine_id", metavar="ENGINE")
@output_option
@pass_session
def engine(session: Session, engine_id: str, output: str) -> None:
    """Show one engine, with its last log lines.

    All that is known of it; log lines are kept when it failed.
    """
    view = session.ask(lambda client: client.fleet())
    row = view.engines.get(engine_id)
    if row is None:
        raise NotFoundFailure(f"There is no engine {engine_id!r}. `stoker engines` lists them.")
    if output == "json":
        show_json(engine_shape(row, view))
        return
    for name, value in _facts(row, view):
        show_line(f"{name:<16} {value}")
    for line in fmt.clean_lines(row.log_tail):
        show_line(f"  | {line}")


def _facts(engine: EngineRow, view: FleetView) -> Iterator[tuple[str, str]]:
    point = engine.working_point
    yield "engine", engine.engine_id
    yield "model", fmt.text_or_unknown(engine.model)
    yield "node", f"{engine.node} ({fmt.text_or_unknown(engine.provider)}, {fmt.text_or_unknown(engine.region)})"
    yield "state", f"{state_cell(engine).text} for {fmt.age(engine.state_since, view.now)}"
    if engine.reason:
        yield "reason", engine.reason
    if not engine.routable:
        yield "not used because", fmt.text_or_unknown(engine.not_routable_reason)
    yield "endpoint", fmt.text_or_unknown(engine.endpoint)
    yield "devices", fmt.text_or_unknown(", ".join(engine.device_ids))
    yield "vLLM", f"{fmt.text_or_unknown(engine.engine_version)}, {engine.restart_count} restarts"
    yield "context", f"{fmt.tokens(engine.context_tokens_max)} tokens at most, {fmt.text_or_unknown(engine.dtype)}"
    used = fmt.tokens_of(engine.kv_used_tokens, engine.kv_capacity_tokens)
    yield "KV cache", f"{fmt.bar_percent(engine.kv_used_ratio, 20)}  {used} tokens"
    yield (
        "requests",
        (
            f"{fmt.quantity(engine.running)} running, {fmt.quantity(engine.waiting)} waiting, "
            f"{fmt.quantity(engine.inflight)} sent by the gateway"
        ),
    )
    ridge = f"ridge {fmt.intensity(engine.ridge_flops_per_byte)} ({engine.ridge_source or 'source unknown'})"
    yield "intensity", f"{fmt.intensity(point.intensity_flops_per_byte if point else None)} FLOP/byte, {ridge}"
    yield from memory_facts(engine, view)
    yield from inside_facts(engine, view)
    if point is not None:
        requests = f"{fmt.quantity(point.running_count_mean)} requests"
        yield "batch", f"{fmt.quantity(point.batch_tokens_per_step)} tokens and {requests} per step"
        prefill, decode = point.prefill_tokens_per_second, point.decode_tokens_per_second
        yield "computed", f"{fmt.per_second(prefill)} prefill, {fmt.per_second(decode)} decode"
        yield "busy", f"{fmt.percent(point.busy_ratio)} of the time"
        yield "figures from", fmt.text_or_unknown(point.source)
        prompt, generation = point.prompt_tokens_per_second, point.generation_tokens_per_second
        yield "tokens", f"{fmt.per_second(prompt)} in, {fmt.per_second(generation)} out"
        yield "prefix cache", f"{fmt.percent(point.prefix_hit_ratio)} of prompt tokens found"
        yield "first token", f"p50 {fmt.seconds(point.ttft_seconds_p50)}, p95 {fmt.seconds(point.ttft_seconds_p95)}"
        p50, p95 = point.inter_token_seconds_p50, point.inter_token_seconds_p95
        yield "between tokens", f"p50 {fmt.seconds(p50)}, p95 {fmt.seconds(p95)}"
    yield "data", f"{engine.trust.value}, {fmt.age(engine.last_report_at, view.now)} old"
