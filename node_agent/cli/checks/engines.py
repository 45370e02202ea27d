"""Checks of what engines need: their Python with vLLM and torch, free ports, and records that agree with what runs."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node_agent.cli.checks.asking import Answer, ask
from node_agent.cli.checks.findings import Finding, fail, ok, warn
from node_agent.supervisor.process import ProcessIdentity, identify
from node_agent.supervisor.records import engines_path

_CHILD = Path(__file__).with_name("looking_child.py")
IMPORT_SECONDS_MAX = 60.0
TESTED_VLLM = (0, 32, 0)
# The first version that is mended, and what is wrong before it.
_MENDED = (
    ((0, 14, 1), "CVE-2026-22778"),
    ((0, 22, 0), "CVE-2026-48746 (its API key can be bypassed)"),
)
_LISTENING = "0A"  # the state in /proc/net/tcp


# ---- the environment


async def check_environment(python: Path, *, is_own: bool) -> list[Finding]:
    """`is_own`: nobody named another, so it is the Python that the agent itself runs with."""
    return judge_environment(
        python, await ask(str(python), str(_CHILD), "engine", seconds_max=IMPORT_SECONDS_MAX), is_own
    )


def judge_environment(python: Path, answer: Answer, is_own: bool) -> list[Finding]:
    facts = read_facts(answer.output)
    name = "engine environment"
    install = f"install vLLM for {python}, or name the Python that has it: engines.python in /etc/stoker/agent.toml"
    if "python" not in facts:
        return [fail(name, f"{python} does not run: {answer.complaint or 'it said nothing'}", install)]
    if "torch" not in facts or "vllm" not in facts:
        missing = "vLLM" if "torch" in facts else "torch"
        whose = " (the agent's own, since engines.python is not set)" if is_own else ""
        return [
            fail(name, f"{python}{whose} cannot import {missing}: {answer.complaint or 'it said nothing'}", install)
        ]
    text = f"{python}: vLLM {facts['vllm']}, torch {facts['torch']}, Python {facts['python']}"
    return [judge_vllm(str(facts["vllm"]), text), judge_torch(facts["devices"])]


def judge_vllm(version: str, text: str) -> Finding:
    numbers = version_numbers(version)
    name = "engine environment"
    if numbers is None:
        return warn(name, f"{text}; this version cannot be compared", "see that it is 0.22.0 or newer")
    holes = [hole for mended, hole in _MENDED if numbers < mended]
    if holes:
        fix = "upgrade vLLM to 0.22.0 or newer, beside the old one, and name it as engines.python"
        return fail(name, f"{text}; this version has {' and '.join(holes)}", fix)
    if numbers[:2] != TESTED_VLLM[:2]:
        tested = ".".join(str(number) for number in TESTED_VLLM)
        return warn(
            name, f"{text}; Stoker was tested with {tested}", "figures that changed their names are shown as unknown"
        )
    return ok(name, text)


def judge_torch(devices: object) -> Finding:
    found = [str(device) for device in devices] if isinstance(devices, list) else []
    if not found:
        return ok("torch", "torch sees no GPU: the CPU is this node's device")
    kinds = ", ".join(f"{found.count(kind)} x {kind}" for kind in sorted(set(found)))
    return ok("torch", f"torch sees {kinds}")


def version_numbers(version: str) -> tuple[int, int, int] | None:
    """0.22.0rc1 counts as 0.22.0; a local part, as in 0.32.0+cpu, does not count."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return None if found is None else (int(found[1]), int(found[2]), int(found[3] or 0))


def read_facts(output: str) -> dict[str, Any]:
    """What the child told until it ended, however it ended; libraries may have printed in between."""
    facts: dict[str, Any] = {}
    for line in output.splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict):
            facts |= told
    return facts


# ---- what runs, and what was recorded


@dataclass(frozen=True, slots=True)
class Recorded:
    engine_id: str
    alive: bool
    port: int | None
    problem: str = ""  # why the record cannot be read


def look_records(state_dir: Path) -> tuple[Recorded, ...] | None:
    """None when this user may not look. Changes nothing: a record that cannot be read stays where it is."""
    try:
        records = sorted(folder / "record.json" for folder in engines_path(state_dir).iterdir())
        return tuple(_recorded(path) for path in records if path.exists())
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError:
        return None


def _recorded(path: Path) -> Recorded:
    engine_id = path.parent.name
    try:
        data: Mapping[str, Any] = json.loads(path.read_text())
        told = data["identity"]
        identity = ProcessIdentity(int(told["pid"]), int(told["start_ticks"]), str(told["boot_id"]))
        return Recorded(engine_id, identify(identity.pid) == identity, int(data["port"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Recorded(engine_id, alive=False, port=None, problem=type(error).__name__)


def judge_records(records: Collection[Recorded] | None, *, agent_runs: bool, failed_count: int = 0) -> list[Finding]:
    """`failed_count`: engines that the agent has given up, as it told last."""
    name = "engines"
    if records is None:
        return [warn(name, "this user may not read the engines' records", "run doctor as root or as the agent's user")]
    findings = [
        fail(
            name,
            f"the record of {record.engine_id} cannot be read ({record.problem}): its engine may run unwatched",
            "see that the file belongs to the agent's user; if it is damaged, stop that engine and remove the file",
        )
        for record in records
        if record.problem
    ]
    if failed_count:
        text = f"the agent has given up {failed_count} engines"
        findings.append(warn(name, text, "`stoker engines` says why; a new generation or a restart there begins anew"))
    alive = [record.engine_id for record in records if record.alive]
    if alive and not agent_runs:
        text = f"{len(alive)} engines run without an agent: {', '.join(alive)}"
        findings.append(warn(name, text, "start the agent, which takes them on: systemctl start stoker-agent"))
    dead = [record.engine_id for record in records if not record.alive and not record.problem]
    if dead and not agent_runs:
        text = f"recorded as running, but gone: {', '.join(dead)}"
        findings.append(warn(name, text, "start the agent; the control plane has them started again"))
    running = f"{len(alive)} of {len(records)} recorded engines run" if records else "no engine is recorded"
    return findings or [ok(name, running)]


# ---- ports


def look_listening(proc_net: Path = Path("/proc/net")) -> frozenset[int]:
    """Ports on which anything listens. Read, not bound: an engine may be about to take one."""
    ports = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = (proc_net / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in (line.split() for line in lines):
            if fields[3] == _LISTENING:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return frozenset(ports)


def judge_ports(first: int, last: int, listening: Collection[int], records: Collection[Recorded]) -> Finding:
    wanted = set(range(first, last + 1))
    ours = {record.port for record in records if record.alive and record.port is not None}
    foreign = sorted((wanted & set(listening)) - ours)
    free = len(wanted - set(listening) - ours)
    text = f"{free} of the {len(wanted)} ports {first}-{last} are free, {len(ours & wanted)} are our engines'"
    if not foreign:
        return ok("ports", text)
    shown = ", ".join(str(port) for port in foreign[:10]) + (", …" if foreign[10:] else "")
    fix = f"end what listens there (ss -ltnp 'sport = :{foreign[0]}'), or move engines.port_first and port_last"
    return (warn if free else fail)("ports", f"{text}; other programs listen on {shown}", fix)
