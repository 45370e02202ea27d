"""`stoker node token` lets a node join; `stoker node forget` drops one that will not come back."""

import click

from console.cli.confirm import run_action
from console.cli.output import show_json
from console.cli.parameters import DURATION, dry_run_option, output_option, yes_option
from console.cli.session import Session, pass_session
from console.cli.shapes import shape
from console.model.format import instant


@click.group()
def node() -> None:
    """Let nodes join, and forget them."""


@node.command()
@click.argument("name")
@dry_run_option
@yes_option
@output_option
@pass_session
def forget(session: Session, name: str, dry_run: bool, yes: bool, output: str) -> None:
    """Forget node NAME, which will not come back: it would need a new token.

    Refused while it has placements: first `stoker remove` each of them.
    """
    run_action(
        session,
        lambda client, dry: client.forget_node(name, dry_run=dry),
        dry_run=dry_run,
        output=output,
        question=f"Forget node {name}?",
        yes=yes,
    )


@node.command()
@click.option("--name", default="", help="Only a node of this name may use it. Default: any name.")
@click.option(
    "--lifetime",
    type=DURATION,
    default=0.0,
    help="How long it can be used: 30m.  [default: the control plane's setting, an hour unless changed]",
)
@click.option("--replace", is_flag=True, help="A node of that name that exists already is replaced.")
@click.option("--simulator", is_flag=True, help="For `stoker-agent simulate`, which speaks for many nodes.")
@output_option
@pass_session
def token(session: Session, name: str, lifetime: float, replace: bool, simulator: bool, output: str) -> None:
    """Make a token with which one node can join once. Only the token goes to standard output."""
    if replace and not name:
        raise click.UsageError("--replace needs --name: which node is to be replaced?")
    made = session.ask(
        lambda client: client.create_join_token(
            node_name=name, lifetime_seconds=lifetime, replace=replace, simulator=simulator
        )
    )
    if output == "json":
        show_json({**shape(made), "node_name": name or None, "replace": replace, "simulator": simulator})
        return
    command = "stoker-agent simulate" if simulator else "stoker-agent join"
    click.echo(f"Works once, until {instant(made.expires_at)}. On the node: {command}", err=True)
    click.echo(made.token)
