"""Keeps one Envoy running: starts it, adopts one that outlived the last daemon, restarts it when it dies, drains it at the end.

Called by `bootstrap`: `await start()`, then `run()` as a task, `await stop()` when the gateway shall go down too. Without
`stop()` Envoy goes on serving when the daemon dies, on purpose. Never touches clients' traffic.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from signal import SIGKILL, SIGTERM

import structlog

from controlplane.clock import Clock
from controlplane.errors import StokerError
from controlplane.gateway.admin_client import EnvoyAdmin
from controlplane.gateway.endpoint_files import XdsFiles
from controlplane.gateway.envoy_launch import Launch, prepare, until_ready
from controlplane.gateway.envoy_process import EnvoyProcess, EnvoyState, bound_log, log_tail
from controlplane.gateway.facts import GatewaySettings
from controlplane.gateway.host_checks import check_port_free, open_files_warning

ADOPT_SECONDS_MAX = 5.0
KILL_SECONDS = 5.0
BACKOFF_SECONDS_MIN = 0.5
BACKOFF_SECONDS_MAX = 30.0
STABLE_SECONDS = 60.0
POLL_SECONDS = 0.05
LOG_CHECK_SECONDS = 30.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """For the daemon's own status."""

    pid: int | None  # None: it does not run
    version: str
    adopted: bool
    restart_count: int


class EnvoySupervisor:
    def __init__(self, settings: GatewaySettings, files: XdsFiles, clock: Clock) -> None:
        self._settings = settings
        self._files = files
        self._clock = clock
        self._admin = EnvoyAdmin(settings.admin_socket)
        self._process: EnvoyProcess | None = None
        self._version = ""
        self._adopted = False
        self._restart_count = 0
        self._stopping = asyncio.Event()
        self._changing = asyncio.Lock()  # one start or stop at a time

    @property
    def status(self) -> GatewayStatus:
        pid = self._process.pid if self._process is not None and self._process.alive else None
        return GatewayStatus(pid, self._version, self._adopted, self._restart_count)

    async def start(self) -> None:
        """Come back with a ready Envoy: the one that still runs if it is configured as we would, else a new one.

        Raises ConfigurationError, AlreadyRunningError (the port is taken) or UnavailableError (it died; with its last lines).
        """
        self._settings.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        warning = open_files_warning(self._settings)
        if warning:
            log.warning("open_files_limit_low", detail=warning)
        async with self._changing:
            launch = await asyncio.to_thread(prepare, self._settings)
            self._version = launch.version
            adopted = await self._adopt(launch)
            self._files.write_static()
            self._files.ensure_present()
            if not adopted:
                await self._launch(launch)

    async def run(self) -> None:
        """Watch until cancelled or stopped; restart with growing pauses what dies."""
        backoff = BACKOFF_SECONDS_MIN
        while not self._stopping.is_set():
            started = self._clock.monotonic()
            code = await self._watch()
            if self._stopping.is_set():
                return
            lived = self._clock.monotonic() - started
            backoff = BACKOFF_SECONDS_MIN if lived > STABLE_SECONDS else backoff
            tail = log_tail(self._settings.log_path)
            log.error("envoy_died", exit_code=code, lived_seconds=round(lived, 1), last_lines=tail)
            while self._process is None and not await self._stopped_within(backoff):
                backoff = min(backoff * 2, BACKOFF_SECONDS_MAX)
                await self._restart()

    async def stop(self, drain_seconds_max: float | None = None) -> None:
        """Refuse new connections, let running requests end (up to the limit), then end Envoy."""
        self._stopping.set()
        async with self._changing:
            if self._process is not None:
                limit = self._settings.drain_seconds_max if drain_seconds_max is None else drain_seconds_max
                await self._end(self._process, limit)
                self._forget()
                self._settings.state_path.unlink(missing_ok=True)

    async def _restart(self) -> None:
        async with self._changing:
            if self._stopping.is_set():
                return
            try:
                launch = await asyncio.to_thread(prepare, self._settings)
                self._version = launch.version
                await self._launch(launch)
            except (StokerError, OSError) as error:
                log.error("envoy_restart_failed", error=str(error))
            else:
                self._restart_count += 1

    async def _adopt(self, launch: Launch) -> bool:
        state = EnvoyState.read(self._settings.state_path)
        info = await self._admin.server_info()
        process = EnvoyProcess.adopt(state.pid, state.birth) if state is not None else None
        if state is None or process is None:
            if info is not None:
                # It holds our socket but no state tells its id: a daemon died between start and state. It can only be asked.
                log.warning("envoy_orphan_ended", version=info.get("version"))
                await self._admin.quit()
                await self._until(self._admin_silent, KILL_SECONDS)
            return False
        options = (info or {}).get("command_line_options", {})
        same = state.configuration == launch.configuration
        same = same and options.get("config_path") == str(self._settings.bootstrap_path)
        if same and await self._until(self._admin.ready, ADOPT_SECONDS_MAX):
            self._process = process
            self._adopted = True
            log.info("envoy_adopted", pid=process.pid, version=state.version)
            return True
        reason = "it does not answer" if info is None else "its configuration or version differs"
        log.warning("envoy_replaced", pid=process.pid, reason=reason)
        await self._end(process, self._settings.drain_seconds_max if info is not None else 0.0)
        process.release()
        return False

    async def _launch(self, launch: Launch) -> None:
        check_port_free(self._settings.listen_host, self._settings.listen_port)
        bound_log(self._settings.log_path)
        process = EnvoyProcess.spawn(launch.command, self._settings.log_path)
        bootstrap_path = str(self._settings.bootstrap_path)
        state = EnvoyState(process.pid, process.birth, launch.configuration, launch.version, bootstrap_path)
        state.write(self._settings.state_path)
        try:
            await until_ready(process, self._admin, self._settings, self._clock)
        except BaseException:
            process.send(SIGKILL)
            await process.exited()
            process.release()
            self._settings.state_path.unlink(missing_ok=True)
            raise
        self._process = process
        self._adopted = False
        log.info("envoy_started", pid=process.pid, version=launch.version, port=self._settings.listen_port)

    async def _watch(self) -> int | None:
        """Until the process is gone, keeping its log bounded; its exit code."""
        if self._process is None:
            return None
        while not await self._process.exited_within(LOG_CHECK_SECONDS):
            await asyncio.to_thread(bound_log, self._settings.log_path)
        async with self._changing:
            code = self._process.exit_code if self._process is not None else None
            self._forget()
            return code

    async def _end(self, process: EnvoyProcess, drain_seconds_max: float) -> None:
        if process.alive and drain_seconds_max > 0:
            await self._admin.drain()
            if not await self._until(self._no_requests, drain_seconds_max) and process.alive:
                log.warning("envoy_drain_cut_short", active_requests=await self._admin.active_requests())
        process.send(SIGTERM)
        if not await process.exited_within(KILL_SECONDS):
            process.send(SIGKILL)
            await process.exited()
        log.info("envoy_stopped", pid=process.pid)

    async def _no_requests(self) -> bool:
        return await self._admin.active_requests() in {0, None}

    async def _admin_silent(self) -> bool:
        return await self._admin.server_info() is None

    async def _until(self, condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
        deadline = self._clock.monotonic() + seconds
        while not await condition():
            if self._clock.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_SECONDS)
        return True

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _forget(self) -> None:
        if self._process is not None:
            self._process.release()
            self._process = None
