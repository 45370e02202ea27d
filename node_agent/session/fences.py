"""Which commands may not run, and why in a sentence. Pure; `ledger` asks it for every command.

The control plane is trusted, yet commands can be late, doubled, meant for a newer agent, or sent by a replica that no
longer leads: each is refused with what to do, and none is ever an exception.
"""

import math
import re

from node_agent.session.commands import (
    Command,
    LoadAdapterAction,
    ProbeAction,
    ReportIntervalAction,
    StartAction,
    StopAction,
    UnknownAction,
    UnloadAdapterAction,
)

COMMANDS_WAITING_MAX = 256
REPORT_INTERVAL_SECONDS_MIN = 0.2
REPORT_INTERVAL_SECONDS_MAX = 60.0
_ID_CHARACTERS_MAX = 200
_SOURCE_CHARACTERS_MAX = 4096

# Engine ids name files and unit-like things on this node: nothing that could leave its directory.
_ENGINE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")
# What clients put into a request's "model".
_ADAPTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,191}")


def refusal(
    command: Command, *, agent_version: str, epoch_seen: int, generation: int, waiting_count: int
) -> str | None:
    """Why this command is refused, or None if it may run.

    `generation` is the newest that runs (or is about to run) as this engine; 0 when there is none.
    """
    if command.leader_epoch < epoch_seen:
        return (
            f"the command is of leader epoch {command.leader_epoch}, but this node already obeyed epoch {epoch_seen}: "
            "another control plane leads now; send the command there"
        )
    if isinstance(command.action, UnknownAction):
        return f"this agent is too old: upgrade stoker-agent on this node (it is {agent_version})"
    if isinstance(command.action, ProbeAction | ReportIntervalAction):
        return _crowded(waiting_count) or _incomplete(command)
    if len(command.engine_id) > _ID_CHARACTERS_MAX or _ENGINE_ID.fullmatch(command.engine_id) is None:
        return f"the engine id {command.engine_id[:80]!a} is not valid: use letters, digits and . _ @ -"
    if (stale := superseded(command, generation)) is not None:
        return stale
    return _crowded(waiting_count) or _incomplete(command)


def _crowded(waiting_count: int) -> str | None:
    if waiting_count < COMMANDS_WAITING_MAX:
        return None
    return f"{waiting_count} commands are already waiting on this node: send it again when some have finished"


def superseded(command: Command, generation: int) -> str | None:
    """Why the command is out of date beside the newest generation of its engine, or None."""
    if command.generation >= generation:
        return None
    return (
        f"the command is for generation {command.generation} of {command.engine_id}, "
        f"but generation {generation} is already there: look at the placement again"
    )


def _incomplete(command: Command) -> str | None:
    match command.action:
        case StartAction(spec):
            missing = [name for name, value in (("model", spec.model), ("source", spec.source)) if not value]
            if missing:
                return f"the engine to start has no {' and no '.join(missing)}: place it again"
        case StopAction(drain_seconds_max):
            if not math.isfinite(drain_seconds_max) or drain_seconds_max < 0:
                return f"a drain of at most {drain_seconds_max} seconds makes no sense: give 0 or more"
        case LoadAdapterAction(name, source):
            return _adapter_problem(name) or _source_problem(source)
        case UnloadAdapterAction(name):
            return _adapter_problem(name)
        case ReportIntervalAction(seconds):
            if not REPORT_INTERVAL_SECONDS_MIN <= seconds <= REPORT_INTERVAL_SECONDS_MAX:
                limits = f"{REPORT_INTERVAL_SECONDS_MIN} to {REPORT_INTERVAL_SECONDS_MAX:.0f}"
                return f"a report every {seconds} seconds is not possible: give {limits} seconds"
    return None


def _adapter_problem(name: str) -> str | None:
    if _ADAPTER_NAME.fullmatch(name) is None:
        return f"the adapter's name {name[:80]!a} is not valid: use letters, digits and . _ / : -"
    return None


def _source_problem(source: str) -> str | None:
    if not source.startswith("/") or not source.isprintable() or len(source) > _SOURCE_CHARACTERS_MAX:
        return f"the adapter's source {source[:80]!a} is not valid: give an absolute path on the node"
    return None
