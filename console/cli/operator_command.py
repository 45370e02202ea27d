"""`stoker operator create`: a new operator's credentials, in a directory of their own."""

from pathlib import Path

import click

from console.cli.failures import CommandFailure
from console.cli.output import show_json
from console.cli.parameters import output_option
from console.cli.session import Session, pass_session
from console.cli.shapes import shape
from console.model.format import instant
from console.settings import Credentials, CredentialsError, save_credentials


@click.group()
def operator() -> None:
    """Give people access."""


@operator.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["viewer", "operator", "admin"]),
    required=True,
    help="viewer reads, operator moves capacity, admin deals with identities.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new directory.")
@output_option
@pass_session
def create(session: Session, name: str, role: str, out: Path, output: str) -> None:
    """Make credentials for operator NAME. The private key is made here and goes nowhere else."""
    if out.exists() and any(out.iterdir()):
        raise CommandFailure(f"{out} is not empty. Name a new directory.")
    from console.link.identity import new_key_and_request

    own = session.credentials()
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)  # before a certificate is made that could not be kept
        key_pem, request_pem = new_key_and_request(name)
        made = session.ask(
            lambda client: client.create_operator(name, role=role, certificate_request_pem=request_pem), own
        )
        save_credentials(out, Credentials(own.server, made.ca_pem or own.ca_pem, made.certificate_pem, key_pem, name))
    except OSError as error:
        raise CommandFailure(f"Cannot write to {out}: {error.strerror}.") from error
    except (CredentialsError, ValueError) as error:
        raise CommandFailure(str(error)) from error
    if output == "json":
        show_json({"name": name, "role": role, "directory": str(out), "not_after": shape(made.not_after)})
        return
    click.echo(f"Credentials of {name} ({role}), valid until {instant(made.not_after)}, are in {out}.")
    click.echo(f"Hand the directory over safely. To use it: stoker --credentials {out} status", err=True)
