"""`stoker-agent doctor`: what stands in the way of this node, and how to mend it. It looks and changes nothing.

All checks run at once, each bounded in time; one that crashes is a finding of its own. It needs no control plane, no
configuration and no rights: what it cannot see, it says.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from node_agent import __version__
from node_agent.cli import exit_codes
from node_agent.cli.checks import devices, engines, machine, own, reaching, service
from node_agent.cli.checks.findings import Finding, Level, count, fail
from node_agent.cli.options import configuration, given, output
from node_agent.cli.run import require_complete
from node_agent.clock import SystemClock
from node_agent.host import standing
from node_agent.host.instance_lock import is_locked, lock_path
from node_agent.settings import AgentSettings, BadSettingsError, default_state_dir, load
from node_agent.settings.sources import SYSTEM_CONFIG, is_root

_STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}
_SECONDS_MAX = 75.0
Check = tuple[str, Callable[[], Awaitable[list[Finding]]]]


@dataclass(frozen=True, slots=True)
class Examined:
    """What the checks look at. With settings that are wrong they look at the defaults, so that all is told at once."""

    settings: AgentSettings
    problems: tuple[str, ...]
    config: str
    python_named: bool
    running: bool | None  # None: this user cannot tell
    standing: standing.Standing | None


@click.command()
@output
@configuration
@click.pass_context
def doctor(ctx: click.Context, output: str, state_dir: Path | None, config: Path | None) -> None:
    """Check this node: driver, vLLM, ports, clock, reachability, permissions; and say how to mend what is wrong.

    Changes nothing. Exits with 0 when nothing has failed (warnings may remain), with 1 when something has.
    """
    findings = asyncio.run(examine(examined(config, state_dir)))
    (_print_json if output == "json" else _print_table)(findings)
    ctx.exit(exit_codes.FAILED if count(findings, Level.FAIL) else exit_codes.OK)


def examined(config: Path | None, state_dir: Path | None) -> Examined:
    state_dir = state_dir or _system_state_dir()
    problems: tuple[str, ...] = ()
    try:
        settings = load(config, given(state_dir=state_dir))
        # Joining sets what is missing: until then that is the one thing to say.
        if own.look_credentials(settings.state_dir).joined:
            require_complete(settings)
    except BadSettingsError as error:
        problems = error.problems
        settings = _readable(config, state_dir)
    running = _running(settings.state_dir)
    return Examined(
        settings=settings,
        problems=problems,
        config=str(config or os.environ.get("STOKER_AGENT_CONFIG") or SYSTEM_CONFIG),
        python_named="python" in settings.engines.model_fields_set,
        running=running,
        standing=standing.load(settings.state_dir) if running else None,
    )


async def examine(what: Examined, *, seconds_max: float = _SECONDS_MAX) -> tuple[Finding, ...]:
    """In a fixed order: what is missing first."""
    settings, now = what.settings, SystemClock().now()
    files = devices.look_files()
    account = devices.look_account(settings.state_dir)
    records = engines.look_records(settings.state_dir)
    pid = what.standing.pid if what.standing is not None else None

    def at_once(look: Callable[[], Iterable[Finding]]) -> Callable[[], Awaitable[list[Finding]]]:
        async def check() -> list[Finding]:
            return list(look())

        return check

    async def driver() -> list[Finding]:
        return [await devices.check_driver(files)]

    checks: tuple[Check, ...] = (
        ("identity", at_once(lambda: own.judge_credentials(own.look_credentials(settings.state_dir), now))),
        ("settings", at_once(lambda: own.judge_settings(what.problems, what.config))),
        ("state directory", at_once(lambda: own.judge_folder(own.look_folder(settings.state_dir)))),
        ("agent", at_once(lambda: [own.judge_version(__version__, what.standing.version if what.standing else None)])),
        ("service", lambda: service.check_service(booted=service.is_booted())),
        ("agent's session", at_once(lambda: [reaching.judge_session(what.standing, running=what.running)])),
        ("control plane", lambda: reaching.check_ways(settings)),
        ("clock", at_once(lambda: [reaching.judge_clock(reaching.look_clock(what.standing), now)])),
        ("driver", driver),
        ("device files", at_once(lambda: [devices.judge_files(files, account)])),
        (
            "engine environment",
            lambda: engines.check_environment(settings.engines.python, is_own=not what.python_named),
        ),
        (
            "engines",
            at_once(
                lambda: engines.judge_records(
                    records,
                    agent_runs=what.running is not False,
                    failed_count=what.standing.engines.get("failed", 0) if what.standing else 0,
                )
            ),
        ),
        (
            "ports",
            at_once(
                lambda: [
                    engines.judge_ports(
                        settings.engines.port_first,
                        settings.engines.port_last,
                        engines.look_listening(),
                        records or (),
                    )
                ]
            ),
        ),
        (
            "sockets",
            at_once(
                lambda: [
                    machine.judge_socket_folder(
                        machine.look_socket_folder(settings.engines.socket_dir, settings.state_dir)
                    )
                ]
            ),
        ),
        (
            "open files",
            at_once(lambda: [machine.judge_open_files(machine.look_open_files(pid), of_agent=pid is not None)]),
        ),
        ("memory", at_once(lambda: [machine.judge_memory(machine.look_memory())])),
    )
    found = await asyncio.gather(*(_bounded(name, check, seconds_max) for name, check in checks))
    return tuple(finding for findings in found for finding in findings)


async def _bounded(name: str, check: Callable[[], Awaitable[list[Finding]]], seconds_max: float) -> list[Finding]:
    try:
        async with asyncio.timeout(seconds_max):
            return await check()
    except TimeoutError:
        return [fail(name, f"this check did not end within {seconds_max:.0f} s", "look at what it asks: it hangs")]
    except Exception as error:  # noqa: BLE001 - a check that crashes must not hide what the others found
        return [
            fail(name, f"this check crashed ({type(error).__name__}: {error})", "report it: it is a fault of Stoker's")
        ]


def _system_state_dir() -> Path | None:
    """A person who is not root asks about the machine's agent, unless they have one of their own."""
    usual = default_state_dir({}, is_root=True)
    if is_root() or os.environ.get("STATE_DIRECTORY") or os.environ.get("STOKER_AGENT_STATE_DIR"):
        return None
    return usual if usual.exists() and not default_state_dir({}, is_root=False).exists() else None


def _readable(config: Path | None, state_dir: Path | None) -> AgentSettings:
    """Settings that are only incomplete are looked at as they are; instead of wrong ones, the defaults."""
    try:
        return load(config, given(state_dir=state_dir))
    except BadSettingsError:
        return AgentSettings(state_dir=state_dir or default_state_dir(os.environ, is_root=is_root()))


def _running(state_dir: Path) -> bool | None:
    path = lock_path(state_dir)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError:
        return None
    return is_locked(state_dir) if os.access(path, os.R_OK | os.W_OK) else None


def _print_json(findings: tuple[Finding, ...]) -> None:
    rows = [
        {"check": found.check, "level": found.level.value, "says": found.says, "fix": found.fix or None}
        for found in findings
    ]
    counts = {level.value: count(findings, level) for level in Level}
    click.echo(json.dumps({"healthy": not counts["fail"], "counts": counts, "findings": rows}))


def _print_table(findings: tuple[Finding, ...]) -> None:
    table = Table.grid(padding=(0, 2))
    for found in findings:
        says = Text(found.says)
        if found.fix:
            says.append(f"\n-> {found.fix}", style="bold")
        table.add_row(Text(found.level.value.upper(), style=_STYLES[found.level]), Text(found.check), says)
    console = Console(soft_wrap=False)
    console.print(table)
    warned, failed = count(findings, Level.WARN), count(findings, Level.FAIL)
    console.print(f"\n{len(findings) - warned - failed} ok, {warned} to look at, {failed} failed", highlight=False)
