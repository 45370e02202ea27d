"""Checks of the systemd unit: there, enabled, running, watched, and not ending engines with the agent. Only asks."""

from collections.abc import Mapping
from pathlib import Path

from node_agent.cli.checks.asking import ask
from node_agent.cli.checks.findings import Finding, fail, ok, warn

UNIT = "stoker-agent.service"
_SECONDS_MAX = 5.0
_PROPERTIES = "LoadState,UnitFileState,ActiveState,Result,WatchdogUSec,KillMode,NeedDaemonReload,NRestarts"


def is_booted(run: Path = Path("/run")) -> bool:
    """Whether systemd is this machine's first process: sd_booted(3)."""
    return (run / "systemd/system").is_dir()


async def check_service(*, booted: bool) -> list[Finding]:
    if not booted:
        text = "systemd does not run here: nothing starts the agent again when it ends"
        return [warn("service", text, "let something start it again, and not end its children with it")]
    answer = await ask("systemctl", "show", UNIT, f"--property={_PROPERTIES}", seconds_max=_SECONDS_MAX)
    if answer.exit_code != 0:
        return [warn("service", f"systemd cannot be asked: {answer.complaint}", "run doctor as root")]
    return judge_service(dict(line.split("=", 1) for line in answer.output.splitlines() if "=" in line))


def judge_service(unit: Mapping[str, str]) -> list[Finding]:
    name = "service"
    if unit.get("LoadState") != "loaded":
        text = f"{UNIT} is not installed ({unit.get('LoadState') or 'unknown'})"
        return [
            warn(name, text, "install the package, or deploy/systemd/stoker-agent.service, and systemctl daemon-reload")
        ]
    findings = []
    if unit.get("UnitFileState") not in ("enabled", "enabled-runtime"):
        text = f"{UNIT} is {unit.get('UnitFileState') or 'not enabled'}: it does not start with the machine"
        findings.append(warn(name, text, "systemctl enable stoker-agent"))
    if unit.get("ActiveState") == "failed":
        text = f"{UNIT} has failed ({unit.get('Result')})"
        findings.append(fail(name, text, "see journalctl -u stoker-agent -n 50, mend it, systemctl start stoker-agent"))
    elif unit.get("ActiveState") in ("inactive", "deactivating"):
        findings.append(warn(name, f"{UNIT} is not running", "systemctl start stoker-agent"))
    if unit.get("KillMode") != "process":
        text = f"KillMode is {unit.get('KillMode')}: engines end whenever the agent does"
        findings.append(fail(name, text, "set KillMode=process with `systemctl edit stoker-agent`"))
    if unit.get("WatchdogUSec") in ("0", "infinity"):
        text = "the watchdog is off: an agent that hangs is not started again"
        findings.append(warn(name, text, "set WatchdogSec=30s with `systemctl edit stoker-agent`"))
    if unit.get("NeedDaemonReload") == "yes":
        findings.append(warn(name, "the unit on disk is newer than what systemd uses", "systemctl daemon-reload"))
    restarts = unit.get("NRestarts", "0")
    again = "" if restarts == "0" else f"; started again {restarts} times by itself"
    text = f"{UNIT} is {unit.get('ActiveState')} and enabled, its watchdog is on"
    return findings or [ok(name, f"{text}{again}")]
