"""`stoker nodes`: the hosts, with their devices and what their engines use."""

import click

from console.cli.output import Cell, Column, Row, show_json, show_table
from console.cli.parameters import output_option
from console.cli.session import Session, pass_session
from console.cli.shapes import node_shape
from console.cli.styles import node_state_cell, ratio_cell, trust_cell
from console.model import format as fmt
from console.model.fleet_view import FleetView, NodeRow
from console.model.hardware import faults_of
from console.model.overview import moment_of, node_state
from console.model.select import NODE_SORTS, Filter, node_memory_bytes, sorted_nodes
from console.model.summaries import Totals, totals_by_node

_COLUMNS = (
    Column("NODE"),
    Column("PROVIDER"),
    Column("REGION", drop=2),
    Column("STATE"),
    Column("DEVICES", drop=3, width_max=40),
    Column("MEMORY", right=True, drop=4),
    Column("ENGINES", right=True),
    Column("KV"),
    Column("RUN", right=True, drop=1),
    Column("WAIT", right=True, drop=1),
    Column("AGE", right=True),
    Column("TRUST"),
    Column("AGENT", drop=5),
)


@click.command()
@click.argument("words", nargs=-1, metavar="[FILTER]...")
@click.option("--sort", type=click.Choice(list(NODE_SORTS)), default="node", show_default=True)
@click.option("--descending", is_flag=True, help="Largest first.")
@output_option
@pass_session
def nodes(session: Session, words: tuple[str, ...], sort: str, descending: bool, output: str) -> None:
    """List nodes.

    FILTER: words that must be found; provider:gcp in one field, !word for not.

    STATE: up, faulty (a device of it) or cordoned; cut off: its stream is cut; stale, then lost: no report for too
    long; silent: none since the control plane started.
    """
    view = session.ask(lambda client: client.fleet())
    rows = sorted_nodes(
        Filter(" ".join(words)).nodes(view.nodes.values(), moment_of(view)), sort, descending=descending
    )
    if output == "json":
        show_json([node_shape(row, view.now) for row in rows])
        return
    totals = totals_by_node(view)
    empty = "No node matches." if view.nodes else "No node has joined yet. Make a token for one: stoker node token"
    show_table(_COLUMNS, [_row(row, totals[row.name], view) for row in rows], empty=empty)


def _row(node: NodeRow, totals: Totals, view: FleetView) -> Row:
    return (
        node.name,
        fmt.text_or_unknown(node.provider),
        fmt.text_or_unknown(node.region),
        _state(node, view),
        fmt.text_or_unknown(devices_text(node)),
        fmt.memory(node_memory_bytes(node)),
        f"{totals.ready}/{totals.engines}",
        ratio_cell(totals.kv_used_ratio, 8),
        fmt.quantity(totals.running),
        fmt.quantity(totals.waiting),
        Cell(fmt.age(node.last_report_at, view.now)),
        trust_cell(node.trust),
        fmt.text_or_unknown(node.agent_version),
    )


def _state(node: NodeRow, view: FleetView) -> Cell:
    """With the number of its devices' faults."""
    cell = node_state_cell(node_state(node, moment_of(view)))
    faults = len(faults_of(node.health))
    if not faults:
        return cell
    return Cell(f"{cell.text} ({faults} fault{'s' if faults > 1 else ''})", "bold red")


def devices_text(node: NodeRow) -> str:
    """ "8 x NVIDIA H100 80GB HBM3"; kinds apart by a comma. A simulated node says so, once."""
    kinds: dict[str, int] = {}
    for device in node.devices:
        kind = device.kind.removeprefix("simulated ") or device.device_id
        kinds[kind] = kinds.get(kind, 0) + 1
    text = ", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items()))
    return f"simulated {text}".rstrip() if node.simulated else text
