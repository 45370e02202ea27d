"""What it takes to start an Envoy: its command line, the identity of its configuration, and the wait until it serves.

Called by the supervisor only. Writes the bootstrap file; never starts or ends a process itself.
"""

import asyncio
import hashlib
import json
from dataclasses import dataclass

from controlplane.clock import Clock
from controlplane.errors import AlreadyRunningError, UnavailableError
from controlplane.gateway.admin_client import EnvoyAdmin
from controlplane.gateway.envoy_binary import envoy_version, find_envoy
from controlplane.gateway.envoy_config import bootstrap
from controlplane.gateway.envoy_process import EnvoyProcess, log_tail
from controlplane.gateway.facts import GatewaySettings
from controlplane.gateway.host_checks import accepts

START_SECONDS_MAX = 30.0
LISTENER_SECONDS_MAX = 5.0
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Launch:
    """A command, and a hash of all that cannot change while it runs: an Envoy with another hash has to be replaced."""

    command: list[str]
    configuration: str
    version: str


def prepare(settings: GatewaySettings) -> Launch:
    """Find Envoy and write its bootstrap. Blocking. Raises ConfigurationError."""
    binary = find_envoy(settings.envoy_path)
    version = envoy_version(binary)
    text = json.dumps(bootstrap(settings), sort_keys=True, indent=1)
    fresh = settings.bootstrap_path.with_suffix(".tmp")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(settings.bootstrap_path)
    arguments = ["--config-path", str(settings.bootstrap_path), "--concurrency", str(settings.concurrency)]
    # Hot restart would share memory between gateways of one machine. Draining (after a change of the listener) may take as
    # long as the longest answer, but tells clients at once.
    arguments += ["--disable-hot-restart", "--drain-strategy", "immediate", "--drain-time-s", "3600"]
    arguments += ["--log-level", "warning", "--service-node", "stoker-gateway"]
    fixed = [version, settings.listen_host, str(settings.listen_port), *arguments, text]
    return Launch([str(binary), *arguments], hashlib.sha256("\0".join(fixed).encode()).hexdigest(), version)


async def until_ready(process: EnvoyProcess, admin: EnvoyAdmin, settings: GatewaySettings, clock: Clock) -> None:
    """Come back when it serves clients. Raises UnavailableError or AlreadyRunningError, with the last lines of its log."""
    deadline = clock.monotonic() + START_SECONDS_MAX
    live_since: float | None = None
    while not (await admin.ready() and await asyncio.to_thread(accepts, settings.listen_host, settings.listen_port)):
        now = clock.monotonic()
        if not process.alive:
            raise UnavailableError(f"Envoy ended at start (exit code {process.exit_code}).{_last_lines(settings)}")
        if live_since is None and await admin.live():
            live_since = now
        if live_since is not None and now - live_since > LISTENER_SECONDS_MAX:
            raise AlreadyRunningError(
                f"Envoy runs but does not listen on {settings.listen_host}:{settings.listen_port}; "
                f"is the port taken, or a TLS file unreadable?{_last_lines(settings)}"
            )
        if now > deadline:
            raise UnavailableError(f"Envoy was not ready after {START_SECONDS_MAX:.0f} s.{_last_lines(settings)}")
        await asyncio.sleep(POLL_SECONDS)


def _last_lines(settings: GatewaySettings) -> str:
    tail = log_tail(settings.log_path)
    advice = " Raise fs.inotify.max_user_instances." if "inotify" in tail else ""
    return f"{advice} Its last lines ({settings.log_path}):\n{tail}" if tail else ""
