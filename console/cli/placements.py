"""`stoker placements`: what is wanted where, and whether the node has taken it up."""

import click

from console.cli.output import Cell, Column, Row, show_json, show_table
from console.cli.parameters import output_option
from console.cli.session import Session, pass_session
from console.cli.shapes import shape
from console.cli.styles import state_cell
from console.model import format as fmt
from console.model.fleet_view import FleetView, PlacementRow
from console.model.fulfilment import Fulfilment, fulfilment

_COLUMNS = (
    Column("PLACEMENT"),
    Column("MODEL", width_max=32),
    Column("NODE"),
    Column("WANTED"),
    Column("OBSERVED", width_max=32),
    Column("GENERATION", right=True, drop=1),
    Column("DEVICES", drop=3),
    Column("DEPLOYMENT", drop=4),
    Column("BY", drop=2),
    Column("CREATED", drop=2),
)


@click.command()
@click.option("--model", default="", help="Only placements of this model.")
@click.option("--node", default="", help="Only placements on this node.")
@output_option
@pass_session
def placements(session: Session, model: str, node: str, output: str) -> None:
    """List placements: wanted against observed.

    GENERATION counts changes: the one that the engine was started for / the one wanted. To drain or remove starts
    nothing, so then the left one stays behind.
    """
    view = session.ask(lambda client: client.fleet())
    rows = [
        row
        for row in sorted(view.placements.values(), key=lambda each: each.placement_id)
        if (not model or row.model == model) and (not node or row.node == node)
    ]
    if output == "json":
        show_json([shape(row) for row in rows])
        return
    empty = "Nothing is placed yet: stoker place MODEL --node NODE" if not view.placements else "No placement matches."
    show_table(_COLUMNS, [_row(row, view) for row in rows], empty=empty)


def _row(placement: PlacementRow, view: FleetView) -> Row:
    engine = view.engines.get(placement.placement_id)
    behind = fulfilment(placement, engine) is not Fulfilment.DONE
    return (
        placement.placement_id,
        placement.model,
        placement.node,
        placement.desired.value,
        state_cell(engine) if engine else fmt.UNKNOWN,
        Cell(f"{fmt.quantity(placement.observed_generation)}/{placement.generation}", "yellow" if behind else ""),
        fmt.text_or_unknown(", ".join(placement.device_ids)),
        placement.deployment,
        fmt.text_or_unknown(placement.created_by),
        fmt.instant(placement.created_at),
    )
