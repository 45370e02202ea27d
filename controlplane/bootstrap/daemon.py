"""The daemon's life: take the lead, remember, start in order, wait for a signal, stop in order. Part of `bootstrap`.

SIGTERM and SIGINT drain and end (a second one ends at once), SIGHUP reads the settings again. When the process is killed
instead, the gateway and all engines go on, and the next start finds them.
"""

import asyncio
import functools
from collections.abc import Callable

import structlog

from controlplane import __version__
from controlplane.bootstrap import garbage
from controlplane.bootstrap.job_plan import SEAL_AUDIT, plan_jobs, start_jobs
from controlplane.bootstrap.live_settings import LiveSettings
from controlplane.bootstrap.signals import Signals
from controlplane.bootstrap.systemd import notify
from controlplane.bootstrap.wiring import Parts, wire
from controlplane.clock import SystemClock
from controlplane.errors import StokerError
from controlplane.fleet.snapshot import TrustThresholds
from controlplane.runtime.tasks import TaskScope
from controlplane.services.restore_fleet import restore_fleet
from controlplane.settings import Settings
from controlplane.storage import migrate
from controlplane.storage.database import Database
from controlplane.storage.leader_lock import LeaderLock

log = structlog.get_logger(__name__)

GRPC_GRACE_SECONDS = 1.0
FLUSH_SECONDS_MAX = 5.0


async def serve(settings: Settings, load: Callable[[], Settings]) -> int:
    """Run until told to end; the exit code. `load` reads the settings again. Raises StokerError when it cannot start."""
    clock = SystemClock()
    signals = Signals()
    lock = LeaderLock(settings.database_url)
    await lock.acquire()
    try:
        await asyncio.to_thread(migrate.require_current, settings.database_url)
        database = Database.open(settings.database_url)
        try:
            now = clock.now()
            epoch = await database.run(lambda uow: uow.leadership.acquire(f"controlplane {__version__}", now))
            live, tasks = LiveSettings(settings, load), TaskScope()
            parts = wire(live, database, await restore_fleet(database, now), epoch, tasks, clock)
            return await _Daemon(live, database, lock, parts, tasks, signals).run(epoch)
        finally:
            await database.close()
    finally:
        await lock.release()


class _Daemon:
    """Everything that is there while we lead."""

    def __init__(
        self,
        live: LiveSettings,
        database: Database,
        lock: LeaderLock,
        parts: Parts,
        tasks: TaskScope,
        signals: Signals,
    ) -> None:
        self._live = live
        self._database = database
        self._lock = lock
        self._parts = parts
        self._tasks = tasks
        self._signals = signals

    async def run(self, leader_epoch: int) -> int:
        try:
            await self._start()
            garbage.settle()
            log.info(
                "ready",
                version=__version__,
                leader_epoch=leader_epoch,
                database=self._database.kind,
                grpc_port=self._parts.main.bound_port,
                enrolment_port=self._parts.enrolment.bound_port,
                gateway=self._parts.gateway.address,
                metrics=self._parts.metrics.address,
            )
            notify("READY=1", f"STATUS=leading with epoch {leader_epoch}")
            return await self._until_told()
        finally:
            notify("STOPPING=1")
            self._parts.jobs.stop()
            await self._stop()
            await self._tasks.close()

    async def _start(self) -> None:
        """gRPC first: agents and consoles find us while Envoy still starts."""
        parts, spawn = self._parts, functools.partial(self._tasks.spawn, essential=True)
        self._plan_jobs()
        spawn("fleet store", parts.store.run())
        spawn("fleet watch", parts.watch.run())
        spawn("database watch", parts.database_watch.run())
        for writer in parts.writers:
            spawn("history writer", writer.run())
        spawn("history", parts.history.run())
        spawn("admission counts", parts.admission.run())
        await parts.main.start()
        await parts.enrolment.start()
        await parts.gateway.access_log.start()
        metrics = parts.metrics.start()
        if metrics is not None:
            self._tasks.spawn("metrics", metrics.run())
        spawn("decisions", parts.gateway.decisions.run())
        await parts.gateway.envoy.start()
        spawn("gateway", parts.gateway.envoy.run())
        await start_jobs(parts.jobs, self._database)

    async def _stop(self) -> None:
        """The gateway first, while decisions are still made for what it finishes; history last, so that it is whole.

        The gateway ends only when we were told to end, and not to keep it: after a failure it goes on with what it knows, and
        the next start finds it.
        """
        parts = self._parts
        if self._signals.end and not self._live.now.gateway.keep_on_stop:
            await self._drain()
        parts.gateway.decisions.stop()
        await parts.gateway.access_log.stop(GRPC_GRACE_SECONDS)
        await parts.enrolment.stop(GRPC_GRACE_SECONDS)
        await parts.main.stop(GRPC_GRACE_SECONDS)
        parts.history.sample()
        parts.admission.hand_over()
        if await self._flush() and not self._signals.failure:
            await self._seal()

    async def _flush(self) -> bool:
        """Write what waits. False: something could not be written."""
        whole = True
        for writer in self._parts.writers:
            try:
                async with asyncio.timeout(FLUSH_SECONDS_MAX):
                    whole = await writer.flush() and whole
            except TimeoutError:
                whole = False
                log.error("history_not_written", rows=writer.waiting_count)
        return whole

    async def _seal(self) -> None:
        """Nothing more comes into the audit: sign its end, and have it written how that went."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS_MAX):
                await self._parts.jobs.run_now(SEAL_AUDIT)
        except TimeoutError:
            log.error("audit_not_sealed")
        await self._flush()

    async def _drain(self) -> None:
        """Let requests end within the limit; a second signal ends them now."""
        envoy = self._parts.gateway.envoy
        draining = self._tasks.spawn("drain the gateway", envoy.stop(self._live.now.gateway.drain_seconds_max))
        hurry = self._tasks.spawn("wait for a second signal", self._signals.second.wait())
        await asyncio.wait({draining, hurry}, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not draining.done():
            log.warning("drain_cut_short", reason="told to end a second time")
            draining.cancel()
            await asyncio.wait({draining})
            await envoy.stop(0.0)

    async def _until_told(self) -> int:
        failed = self._tasks.spawn("watch for failure", self._tasks.failed.wait())
        while True:
            told = self._tasks.spawn("wait for a signal", self._signals.told())
            await asyncio.wait({failed, told}, return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            if self._tasks.failed.is_set():
                log.error("essential_part_ended", error=str(self._tasks.failure))
                return 1
            if self._signals.failure:
                return 1
            if self._signals.end:
                log.info("ending", reason="told to")
                return 0
            if self._signals.take_reload() and self._live.reload():
                await self._reloaded()

    async def _reloaded(self) -> None:
        """Put what SIGHUP may change into force; what is read live needs nothing here."""
        self._plan_jobs()
        fleet = self._live.now.fleet
        self._parts.store.thresholds = TrustThresholds(fleet.fresh_seconds, fleet.stale_seconds, fleet.lost_seconds)
        try:
            self._parts.gateway.files.write_static()
            await self._parts.desired.refresh()
        except (StokerError, OSError) as error:
            log.error("not_all_reloaded", error=str(error))

    def _plan_jobs(self) -> None:
        plan_jobs(self._parts.jobs, self._live, self._database, self._lock, self._parts, self._signals.fail)
