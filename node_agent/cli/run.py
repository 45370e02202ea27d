"""`stoker-agent run`: the service itself."""

import asyncio
import os
from pathlib import Path

import click

from node_agent.cli.first_join import join_by_credential
from node_agent.cli.options import configuration, given
from node_agent.link.identity import IdentityStore
from node_agent.settings import AgentSettings, BadSettingsError, load, own_settings_path
from node_agent.telemetry import configure_logs


@click.command()
@click.option("--log-format", type=click.Choice(["auto", "json", "console"]), help="[default: auto]")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="[default: info]")
@click.option("--server", help="HOST:PORT of the control plane's port for agents. [default: what `join` stored]")
@click.option("--engine-python", help="Python of the environment with vLLM. [default: what `join` stored]")
@click.option("--keep-engines-on-stop", is_flag=True, default=None, help="Leave engines running when the agent stops.")
@configuration
@click.pass_context
def run(
    ctx: click.Context,
    log_format: str | None,
    log_level: str | None,
    server: str | None,
    engine_python: str | None,
    keep_engines_on_stop: bool | None,
    state_dir: Path | None,
    config: Path | None,
) -> None:
    """Run this node's engines and report to the control plane, until SIGTERM or SIGINT.

    The first signal drains the engines and stops them, the second stops them at once. SIGUSR1 ends the agent and leaves
    the engines to the next one; SIGHUP does the same if the settings are right, and exits with 75 to be started again.

    Every setting is a key in the settings file ([node] name = …) and an environment variable
    (STOKER_AGENT_NODE__NAME); flags win over the environment, the environment over files.
    """
    flags = given(
        state_dir=state_dir,
        log__format=log_format,
        log__level=log_level,
        server__address=server,
        engines__python=engine_python,
        engines__keep_on_stop=keep_engines_on_stop,
    )

    def complete() -> AgentSettings:
        settings = load(config, flags)
        require_complete(settings)
        return settings

    settings = load(config, flags)
    configure_logs(form=settings.log.format, level=settings.log.level)
    if join_by_credential(settings, os.environ):
        settings = load(config, flags)
    IdentityStore(settings.state_dir).load()
    require_complete(settings)
    # Imported late: the other commands need neither the supervisor nor the engines.
    from node_agent.cli.running import run_agent

    ctx.exit(asyncio.run(run_agent(settings, complete)))


def require_complete(settings: AgentSettings) -> None:
    """What `join` stores and `run` cannot do without. Raises BadSettingsError."""
    needed = {
        "server.address": settings.server.address,
        "node.name": settings.node.name,
        "node.advertise_hosts": settings.node.advertise_hosts,
    }
    place = own_settings_path(settings.state_dir)
    missing = [f"{place}: {key}: is not set; set it, or join again" for key, value in needed.items() if not value]
    if missing:
        raise BadSettingsError(missing)
