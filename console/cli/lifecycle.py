"""`stoker remove`, `stoker drain`, `stoker resume`: take a placement, or a whole node, out of service and back."""

import click

from console.cli.confirm import run_action
from console.cli.parameters import DURATION, dry_run_option, output_option, yes_option
from console.cli.session import Session, pass_session

_REASON = click.option("--reason", default="", help="For the others: shown in the events.")
_DEADLINE = click.option(
    "--deadline",
    type=DURATION,
    default=0.0,
    help="Running requests may go on for so long: 5m. Default: the control plane's setting.",
)


@click.command()
@click.argument("placement")
@_DEADLINE
@_REASON
@dry_run_option
@yes_option
@output_option
@pass_session
def remove(
    session: Session, placement: str, deadline: float, reason: str, dry_run: bool, yes: bool, output: str
) -> None:
    """Stop PLACEMENT for good.

    Its engine is drained, stopped and forgotten. There is no undo but to place it again.
    """
    run_action(
        session,
        lambda client, dry: client.remove(
            placement_id=placement, drain_seconds_max=deadline, reason=reason, dry_run=dry
        ),
        dry_run=dry_run,
        output=output,
        question=f"Remove placement {placement}?",
        yes=yes,
    )


@click.command()
@click.argument("placement", required=False, default="")
@click.option("--node", default="", help="All placements of this node, which gets no new ones either.")
@_DEADLINE
@_REASON
@dry_run_option
@yes_option
@output_option
@pass_session
def drain(
    session: Session,
    placement: str,
    node: str,
    deadline: float,
    reason: str,
    dry_run: bool,
    yes: bool,
    output: str,
) -> None:
    """Take PLACEMENT or a node out of service.

    It gets no new requests and finishes those it has. Undo: stoker resume.
    """
    _require_one(placement, node)
    run_action(
        session,
        lambda client, dry: client.drain(
            placement_id=placement, node=node, drain_seconds_max=deadline, reason=reason, dry_run=dry
        ),
        dry_run=dry_run,
        output=output,
        question=f"Drain all of node {node}?" if node else "",
        yes=yes,
    )


@click.command()
@click.argument("placement", required=False, default="")
@click.option("--node", default="", help="All placements of this node, which gets new ones again.")
@_REASON
@dry_run_option
@output_option
@pass_session
def resume(session: Session, placement: str, node: str, reason: str, dry_run: bool, output: str) -> None:
    """Take PLACEMENT or a node back into service."""
    _require_one(placement, node)
    run_action(
        session,
        lambda client, dry: client.resume(placement_id=placement, node=node, reason=reason, dry_run=dry),
        dry_run=dry_run,
        output=output,
    )


def _require_one(placement: str, node: str) -> None:
    if bool(placement) == bool(node):
        raise click.UsageError("Name either one PLACEMENT or a node with --node.")
