"""`stoker-agent join`: trade a one-time token for this node's identity, and remember what it is called and where."""

import asyncio
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from node_agent import __version__
from node_agent.cli.options import HOST, LABEL, address, configuration, given, name_of
from node_agent.clock import SystemClock
from node_agent.errors import AgentError
from node_agent.host.instance_lock import InstanceLock
from node_agent.link.enrolment import Joined, JoinRequest
from node_agent.link.enrolment import join as enrol
from node_agent.link.files import write_atomically
from node_agent.link.identity import IdentityStore
from node_agent.link.join_token import JoinToken, parse_join_token
from node_agent.settings import AgentSettings, BadSettingsError, checked_labels, load, own_settings_path, rendered
from node_agent.settings.names import DEFAULT_ENROLMENT_PORT, DEFAULT_SESSION_PORT


@click.command()
@click.option("--server", type=address(DEFAULT_ENROLMENT_PORT), required=True, help="HOST:PORT where nodes join.")
@click.option(
    "--session-server",
    type=address(DEFAULT_SESSION_PORT),
    help=f"HOST:PORT of the agents' port. [default: the host of --server, port {DEFAULT_SESSION_PORT}]",
)
@click.option("--token-file", type=click.Path(path_type=Path, dir_okay=False), help="File with the token; - is stdin.")
@click.option("--token", help="The token itself; other users of this machine may see it, so prefer --token-file.")
@click.option("--name", type=name_of("node name"), required=True, help="What this node is called.")
@click.option("--provider", type=name_of("provider"), required=True, help="Whose machine it is: gcp, crusoe, …")
@click.option("--region", type=name_of("region"), required=True)
@click.option("--zone", type=name_of("zone"))
@click.option("--label", "labels", type=LABEL, multiple=True, help="key=value; may be repeated.")
@click.option(
    "--advertise-host",
    "advertise_hosts",
    type=HOST,
    multiple=True,
    help="Where the gateway reaches this node; may be repeated. [default: the address that faces --server]",
)
@click.option("--bind-host", help="Where engines listen. [default: 0.0.0.0]")
@click.option("--engine-port-first", type=click.IntRange(1, 65535), help="First port for engines. [default: 8100]")
@click.option("--engine-port-last", type=click.IntRange(1, 65535), help="Last port for engines. [default: 8199]")
@click.option("--engine-python", help="Python of the environment with vLLM. [default: the agent's own]")
@click.option("--replace", is_flag=True, help="Join anew although this state directory has an identity.")
@configuration
def join(
    server: str,
    session_server: str | None,
    token_file: Path | None,
    token: str | None,
    name: str,
    provider: str,
    region: str,
    zone: str | None,
    labels: tuple[tuple[str, str], ...],
    advertise_hosts: tuple[str, ...],
    bind_host: str | None,
    engine_port_first: int | None,
    engine_port_last: int | None,
    engine_python: str | None,
    replace: bool,
    state_dir: Path | None,
    config: Path | None,
) -> None:
    """Join this node to a control plane, with a one-time token.

    The token comes from --token-file, --token, or standard input. Make one with `stoker node token`.
    """
    parsed = parse_join_token(_token(token, token_file))
    try:
        checked_labels(dict(labels))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--label") from error
    host = server.rpartition(":")[0]
    kept = given(
        server__address=session_server or f"{host}:{DEFAULT_SESSION_PORT}",
        server__enrolment_address=server,
        node__name=name,
        node__provider=provider,
        node__region=region,
        node__zone=zone or "",
        node__labels=dict(labels),
        node__advertise_hosts=advertise_hosts or (facing_address(server),),
        engines__bind_host=bind_host,
        engines__port_first=engine_port_first,
        engines__port_last=engine_port_last,
        engines__python=None if engine_python is None else str(Path(engine_python).expanduser().absolute()),
    )
    settings = load(config, {**kept, **given(state_dir=state_dir)})
    with InstanceLock(settings.state_dir):
        store = IdentityStore(settings.state_dir)
        if store.exists() and not replace:
            raise AgentError(
                f"{settings.state_dir} already holds the identity of a node: start it with `stoker-agent run`, "
                "or add --replace to join anew"
            )
        joined = asyncio.run(enrol_node(parsed, settings, store))
        keep_settings(settings.state_dir, {**kept, "node.name": joined.node_name})
    click.echo(
        f"node {joined.node_name} has joined; its certificate is valid until "
        f"{joined.identity.not_after:%Y-%m-%d %H:%M} UTC and is renewed by itself while the agent runs\n"
        f"next: stoker-agent run --state-dir {settings.state_dir}"
    )


async def enrol_node(token: JoinToken, settings: AgentSettings, store: IdentityStore) -> Joined:
    """Raises LinkError, or BadSettingsError when the identity cannot be stored."""
    node = settings.node
    request = JoinRequest(
        node_name=node.name,
        provider=node.provider,
        region=node.region,
        zone=node.zone,
        labels=node.labels,
        advertised_hosts=node.advertise_hosts,
        agent_version=__version__,
    )
    try:
        return await enrol(
            address=settings.server.enrolment_address, token=token, request=request, store=store, clock=SystemClock()
        )
    except OSError as error:
        text = f"state_dir: the identity cannot be stored in {settings.state_dir} ({error.strerror})"
        raise BadSettingsError([f"{text}; give another directory with --state-dir, or mend it"]) from error


def keep_settings(state_dir: Path, values: Mapping[str, Any]) -> None:
    """So that `run` needs no more than the state directory."""
    try:
        write_atomically(own_settings_path(state_dir), rendered(values).encode())
    except OSError as error:
        raise BadSettingsError([f"{own_settings_path(state_dir)}: cannot be written ({error.strerror})"]) from error


def _token(token: str | None, token_file: Path | None) -> str:
    if token is not None and token_file is not None:
        raise click.UsageError("give --token or --token-file, not both")
    if token is not None:
        return token
    if token_file is not None and str(token_file) != "-":
        try:
            return token_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise click.BadParameter(f"{token_file} cannot be read: {error}", param_hint="--token-file") from error
    if sys.stdin.isatty():
        return str(click.prompt("Join token", hide_input=True, err=True))
    return sys.stdin.read()


def facing_address(server: str) -> str:
    """This machine's address on the way to the control plane. Connecting a datagram socket sends nothing."""
    host, _, port = server.rpartition(":")
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise click.UsageError(
            f"cannot tell this machine's address on the way to {server} ({error.strerror}): give --advertise-host"
        ) from error
