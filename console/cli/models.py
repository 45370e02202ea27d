"""`stoker models`: what clients can ask for, and how much room it has."""

import click

from console.cli.output import Cell, Column, Row, show_json, show_table
from console.cli.parameters import output_option
from console.cli.session import Session, pass_session
from console.cli.shapes import shape
from console.cli.styles import ratio_cell
from console.model import format as fmt
from console.model.fleet_view import ModelRow
from console.model.summaries import Totals, totals_by_model

_COLUMNS = (
    Column("MODEL"),
    Column("ENGINES", right=True),
    Column("KV"),
    Column("TOKENS", right=True, drop=1),
    Column("RUN", right=True),
    Column("WAIT", right=True),
    Column("TOK/S OUT", right=True, drop=2),
    Column("PROVIDERS", drop=3),
)


@click.command()
@output_option
@pass_session
def models(session: Session, output: str) -> None:
    """List models.

    ENGINES: usable/all. KV: share of the KV cache that live requests hold.
    """
    view = session.ask(lambda client: client.fleet())
    rows = [view.models[name] for name in sorted(view.models)]
    if output == "json":
        show_json([{**shape(row), "kv_used_ratio": _ratio(row)} for row in rows])
        return
    totals = totals_by_model(view)
    empty = "No model is placed yet. Place one: stoker place MODEL --node NODE"
    show_table(_COLUMNS, [_row(row, totals[row.name]) for row in rows], empty=empty)


def _row(model: ModelRow, totals: Totals) -> Row:
    return (
        model.name,
        Cell(f"{model.engines_routable}/{model.engines_total}", "" if model.engines_routable else "bold red"),
        ratio_cell(_ratio(model)),
        fmt.tokens_of(model.kv_used_tokens, model.kv_capacity_tokens),
        fmt.quantity(totals.running),
        fmt.quantity(model.waiting),
        fmt.quantity(totals.generation_tokens_per_second),
        ", ".join(model.providers),
    )


def _ratio(model: ModelRow) -> float | None:
    if not model.kv_capacity_tokens or model.kv_used_tokens is None:
        return None
    return model.kv_used_tokens / model.kv_capacity_tokens
