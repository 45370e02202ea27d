"""`stoker-agent simulate`: many nodes that are not there, for scale tests, demonstrations and what-ifs."""

import asyncio
import random
from pathlib import Path

import click

from node_agent import __version__
from node_agent.cli.options import HOST, address, configuration, name_of
from node_agent.clock import SystemClock
from node_agent.errors import AgentError
from node_agent.host.instance_lock import InstanceLock
from node_agent.link.enrolment import JoinRequest
from node_agent.link.enrolment import join as enrol
from node_agent.link.identity import IdentityStore
from node_agent.link.join_token import parse_join_token
from node_agent.settings import default_state_dir
from node_agent.settings.names import DEFAULT_ENROLMENT_PORT, DEFAULT_SESSION_PORT
from node_agent.settings.sources import is_root
from node_agent.telemetry import configure_logs

_PLACE = "simulated"  # the simulator's own provider and region


@click.command()
@click.option(
    "--scenario",
    "scenario_path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="What to simulate: a TOML file.",
)
@click.option(
    "--nodes", "nodes_count", type=click.IntRange(1, 20_000), help="How many nodes. [default: as the file says]"
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same traffic and faults.")
@click.option("--server", type=address(DEFAULT_SESSION_PORT), help="HOST:PORT of the control plane's port for agents.")
@click.option("--enrolment-server", type=address(DEFAULT_ENROLMENT_PORT), help="HOST:PORT where nodes join.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with a token made by `stoker node token --simulator`; needed once.",
)
@click.option("--name", type=name_of("node name"), default="sim", show_default=True, help="Nodes are called NAME-….")
@click.option("--traces", type=click.Path(path_type=Path, file_okay=False), help="Directory of the scenario's traces.")
@click.option("--channels", "channels_count", type=click.IntRange(1, 64), default=4, show_default=True, hidden=True)
@click.option(
    "--speed", type=click.FloatRange(0.01, 1000), default=1.0, show_default=True, help="Of the engines' devices."
)
@click.option("--serve-http", is_flag=True, help="Each engine also answers the OpenAI API, /metrics and KV events.")
@click.option("--bind-host", default="127.0.0.1", show_default=True, help="With --serve-http: where engines listen.")
@click.option("--advertise-host", type=HOST, help="With --serve-http: where others reach them. [default: --bind-host]")
@click.option(
    "--port-first", type=click.IntRange(1, 65535), default=18100, show_default=True, help="With --serve-http."
)
@click.option("--plain", is_flag=True, help="With --serve-http: without TLS, for clients that have no certificate.")
@configuration
@click.pass_context
def simulate(
    ctx: click.Context,
    scenario_path: Path,
    nodes_count: int | None,
    seed: int,
    server: str | None,
    enrolment_server: str | None,
    token_file: Path | None,
    name: str,
    traces: Path | None,
    channels_count: int,
    speed: float,
    serve_http: bool,
    bind_host: str,
    advertise_host: str | None,
    port_first: int,
    plain: bool,
    state_dir: Path | None,
    config: Path | None,
) -> None:
    """Simulate the nodes of a scenario, all in this process, until SIGTERM or SIGINT.

    They speak to the control plane as real nodes do and obey its commands; everything that they tell is labelled as
    simulated. Without --server there is no control plane, which makes sense with --serve-http only.
    """
    del config  # a simulator has no settings of a node
    # Imported late: the other commands need no simulation.
    from node_agent.simulation.fleet import SimulatedFleet, load_traces, scaled
    from node_agent.simulation.life import Life
    from node_agent.simulation.scenario_loading import load_scenario
    from node_agent.simulation.serving import Access

    if server is None and not serve_http:
        raise click.UsageError("give --server, the control plane's port for agents; or --serve-http to do without one")
    configure_logs(form="auto", level="info")
    scenario = load_scenario(scenario_path)
    clock = SystemClock()
    directory = (state_dir or default_state_dir({}, is_root=is_root()) / "simulator").expanduser().absolute()
    store = IdentityStore(directory)
    with InstanceLock(directory):
        if server is not None and not store.exists():
            host = server.rpartition(":")[0]
            enrolment = enrolment_server or f"{host}:{DEFAULT_ENROLMENT_PORT}"
            asyncio.run(_join(enrolment, _token(token_file), name, advertise_host or bind_host, store))
        fleet = SimulatedFleet(
            scenario,
            seed,
            clock.now(),
            clock.monotonic(),
            name,
            load_traces(scenario, traces),
            speed=speed,
            with_traffic=not serve_http,
        )
        fleet.build(scaled(scenario, nodes_count))
        access = Access(bind_host, advertise_host or bind_host, port_first, None if plain else store)
        life = Life(fleet, clock, random.Random(seed), store, server, channels_count, access if serve_http else None)  # noqa: S311
        ctx.exit(asyncio.run(life.run()))


async def _join(server: str, token: str, name: str, host: str, store: IdentityStore) -> None:
    request = JoinRequest(
        node_name=name,
        provider=_PLACE,
        region=_PLACE,
        agent_version=__version__,
        labels={"simulated": "true"},
        advertised_hosts=(host,),
    )
    joined = await enrol(
        address=server, token=parse_join_token(token), request=request, store=store, clock=SystemClock()
    )
    click.echo(f"the simulator {joined.node_name} has joined", err=True)


def _token(token_file: Path | None) -> str:
    if token_file is None:
        raise AgentError(
            "this simulator has not joined yet: give --token-file with a token made by `stoker node token --simulator`"
        )
    try:
        return token_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{token_file} cannot be read: {error}", param_hint="--token-file") from error
