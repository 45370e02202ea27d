"""`stoker place`: run a model on a node."""

import click

from console.cli.confirm import run_action
from console.cli.parameters import dry_run_option, output_option
from console.cli.session import Session, pass_session


@click.command()
@click.argument("model")
@click.option("--node", required=True, help="Where.")
@click.option("--source", default="", help="A path on the node, or a model id. Default: the deployment's own.")
@click.option("--device", "devices", multiple=True, help="On this device, such as cuda:0; may be repeated.")
@click.option("--deployment", default="", help="Default: the model's name.")
@click.argument("engine_args", nargs=-1, type=click.UNPROCESSED, metavar="[-- ENGINE_ARGS]...")
@dry_run_option
@output_option
@pass_session
def place(
    session: Session,
    model: str,
    node: str,
    source: str,
    devices: tuple[str, ...],
    deployment: str,
    engine_args: tuple[str, ...],
    dry_run: bool,
    output: str,
) -> None:
    """Run MODEL on a node.

    MODEL is the name that clients ask for. What follows -- goes to vLLM as it stands.
    """
    run_action(
        session,
        lambda client, dry: client.place(
            model,
            node,
            source=source,
            engine_args=engine_args,
            device_ids=devices,
            deployment=deployment,
            dry_run=dry,
        ),
        dry_run=dry_run,
        output=output,
    )
