"""`stoker-agent status`: what this machine knows of its agent, without asking anybody."""

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from node_agent.cli.options import configuration, given, output
from node_agent.host import standing
from node_agent.host.instance_lock import is_locked
from node_agent.link.epoch_file import EpochFile
from node_agent.link.identity import IdentityStore
from node_agent.settings import AgentSettings, load


@click.command()
@output
@configuration
def status(output: str, state_dir: Path | None, config: Path | None) -> None:
    """Show what this machine knows of its agent."""
    facts = _facts(load(config, given(state_dir=state_dir)))
    if output == "json":
        click.echo(json.dumps(facts))
        return
    table = Table.grid(padding=(0, 2))
    for key, value in facts.items():
        table.add_row(Text(key.replace("_", " ")), Text(_shown(value)))
    Console().print(table)


def _facts(settings: AgentSettings) -> dict[str, Any]:
    identity = IdentityStore(settings.state_dir).load()
    running = is_locked(settings.state_dir)
    # What an agent that has ended had told last is not how it stands.
    told = standing.load(settings.state_dir) if running else None
    return {
        "node": settings.node.name,
        "provider": settings.node.provider,
        "region": settings.node.region,
        "control_plane": settings.server.address,
        "running": running,
        "connected": None if told is None else told.connected,
        "connection": None if told is None else told.connection,
        "engines": None if told is None else dict(told.engines),
        "clock_error_seconds": None if told is None else told.clock_error_seconds,
        "watchdog": None if told is None else told.watched,
        "version": None if told is None else told.version,
        "certificate_not_after": identity.not_after.isoformat(),
        "leader_epoch_seen": EpochFile(settings.state_dir).load(),
        "state_dir": str(settings.state_dir),
    }


def _shown(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{count} {state}" for state, count in value.items()) or "none"
        case float():
            return f"{value:+.3f}"
        case _:
            return str(value)
