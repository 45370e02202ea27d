"""`stoker restart`, `stoker adapter load|unload`, `stoker logs`: what is done to one running engine, and its log."""

import click

from console.cli.confirm import run_action
from console.cli.output import show_json, show_line
from console.cli.parameters import dry_run_option, output_option, yes_option
from console.cli.session import Session, pass_session
from console.model.format import clean_lines


@click.command()
@click.argument("placement")
@click.argument("engine_args", nargs=-1, type=click.UNPROCESSED, metavar="[-- ENGINE_ARGS]...")
@click.option("--no-args", is_flag=True, help="Without any of the arguments that it has now.")
@click.option("--reason", default="", help="For the others: shown in the events.")
@dry_run_option
@yes_option
@output_option
@pass_session
def restart(
    session: Session,
    placement: str,
    engine_args: tuple[str, ...],
    no_args: bool,
    reason: str,
    dry_run: bool,
    yes: bool,
    output: str,
) -> None:
    """Start PLACEMENT's engine anew.

    What follows -- takes the place of all its vLLM arguments; without it they stay. vLLM's own parser tries them before
    the engine is drained and stopped; when it refuses them, the engine goes on and the event says why.
    """
    if no_args and engine_args:
        raise click.UsageError("--no-args and new arguments exclude each other.")
    run_action(
        session,
        lambda client, dry: client.restart(
            placement_id=placement,
            engine_args=engine_args if engine_args or no_args else None,
            reason=reason,
            dry_run=dry,
        ),
        dry_run=dry_run,
        output=output,
        question=f"Restart placement {placement}?",
        yes=yes,
    )


@click.group()
def adapter() -> None:
    """Load LoRA adapters into running engines, and unload them."""


@adapter.command()
@click.argument("placement")
@click.argument("name")
@click.argument("source")
@dry_run_option
@output_option
@pass_session
def load(session: Session, placement: str, name: str, source: str, dry_run: bool, output: str) -> None:
    """Serve the adapter at SOURCE, a path on the node, as NAME beside PLACEMENT's model.

    The engine must have been started with --enable-lora. The adapter is loaded again after every restart.
    """
    run_action(
        session,
        lambda client, dry: client.load_adapter(placement_id=placement, name=name, source=source, dry_run=dry),
        dry_run=dry_run,
        output=output,
    )


@adapter.command()
@click.argument("placement")
@click.argument("name")
@dry_run_option
@yes_option
@output_option
@pass_session
def unload(session: Session, placement: str, name: str, dry_run: bool, yes: bool, output: str) -> None:
    """Serve the adapter NAME no longer. Requests for it are refused from then on."""
    run_action(
        session,
        lambda client, dry: client.unload_adapter(placement_id=placement, name=name, dry_run=dry),
        dry_run=dry_run,
        output=output,
        question=f"Unload adapter {name} from {placement}?",
        yes=yes,
    )


@click.command()
@click.argument("engine")
@click.option(
    "-n", "--lines", type=click.IntRange(1, 5_000), default=200, show_default=True, help="The last so many lines."
)
@output_option
@pass_session
def logs(session: Session, engine: str, lines: int, output: str) -> None:
    """Show the end of ENGINE's log, read from its node. Also of one that stopped or failed."""
    told = clean_lines(session.ask(lambda client: client.engine_log(engine, lines_max=lines)))
    if output == "json":
        show_json({"engine_id": engine, "lines": list(told)})
        return
    for line in told:
        show_line(line)
    if not told:
        click.echo("The log is empty.", err=True)
