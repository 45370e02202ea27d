"""`stoker probe` and `stoker report-interval`: what is asked of a node's agent once."""

import click

from console.cli.confirm import run_action
from console.cli.parameters import dry_run_option, output_option, yes_option
from console.cli.session import Session, pass_session


@click.command()
@click.argument("node")
@click.option("--force", is_flag=True, help="Also while an engine runs there, which is slower meanwhile.")
@dry_run_option
@yes_option
@output_option
@pass_session
def probe(session: Session, node: str, force: bool, dry_run: bool, yes: bool, output: str) -> None:
    """Measure what the devices of NODE reach.

    How it ended is an event; the figures are in `stoker nodes`.
    """
    run_action(
        session,
        lambda client, dry: client.probe_node(node, force=force, dry_run=dry),
        dry_run=dry_run,
        output=output,
        question=f"Probe {node} although engines may run there?" if force else "",
        yes=yes,
    )


@click.command("report-interval")
@click.argument("node")
@click.argument("seconds", type=click.FloatRange(0.2, 60.0))
@dry_run_option
@output_option
@pass_session
def report_interval(session: Session, node: str, seconds: float, dry_run: bool, output: str) -> None:
    """Have NODE report every SECONDS, until its session ends."""
    run_action(
        session,
        lambda client, dry: client.set_report_interval(node, seconds, dry_run=dry),
        dry_run=dry_run,
        output=output,
    )
