"""Runs one engine: carries out what `lifecycle` decides, and tells it what happened.

Made and ticked by `Supervisor`. `advance` and everything it calls are synchronous and quick; whatever may take time
(readings, canaries, goodbyes) runs in the supervisor's task scope and reports back here. What comes back from an
earlier process is dropped.
"""

import asyncio
import contextlib
from collections import deque
from datetime import datetime, timedelta

from node_agent.errors import AgentError, EngineUnreachableError, LaunchError, MetricsError
from node_agent.session.facts import EngineSpec, EngineState, EngineStatus, NodeEvent
from node_agent.session.values import Severity
from node_agent.supervisor import instance as instances
from node_agent.supervisor import lifecycle
from node_agent.supervisor.adapters import Adapters
from node_agent.supervisor.instance import Instance, Surroundings
from node_agent.supervisor.life import (
    Answering,
    Died,
    Effect,
    Event,
    Kill,
    Life,
    LoadSeen,
    Spawn,
    StageSeen,
    Stuck,
    Terminate,
    Tick,
)
from node_agent.supervisor.log_file import LogFile
from node_agent.supervisor.process import Gone
from node_agent.supervisor.records import EngineDirectory, EngineRecord
from node_agent.supervisor.status import engine_status

_WATCHED = (EngineState.READY, EngineState.DRAINING)
_BROKEN = (EngineState.BACKING_OFF, EngineState.FAILED)
_GOODBYE_SECONDS_MAX = 2.0
# Where an error stands is rarely the very end: a traceback of vLLM's worker is followed by those of its callers.
_CAUSE_LINES = 400


class EngineRunner:
    """Begin with `begin` or `resume`; then `apply` what is asked and `advance` again and again."""

    def __init__(self, engine_id: str, around: Surroundings) -> None:
        self.engine_id = engine_id
        self.directory = EngineDirectory(around.state_dir, engine_id)
        self._around = around
        self._log = LogFile(self.directory.log_path, bytes_max=around.policy.log_bytes_max)
        self._log_tail: tuple[str, ...] = ()
        self._instance: Instance | None = None
        self._state_since = around.clock.now()
        self._retry_at: datetime | None = None
        self._save_failed = False
        self.adapters = Adapters(self._notify, self._save)
        self.refused = ""  # why a newer generation was not started, for people
        self.life: Life

    def begin(self, spec: EngineSpec) -> None:
        self.life, effects = lifecycle.born(spec, self._now(), self._around.policy)
        self._carry_on(effects)

    def resume(self, record: EngineRecord) -> bool:
        """Whether the recorded process still lives. Raises EngineSpecError when nobody could watch it."""
        found = instances.find_again(record, self._around, notify=self._notify)
        if found is None:
            return False
        self._instance = found
        self._state_since = record.state_since
        self.adapters.wanted = dict(record.adapters)
        state = instances.found_state(record)
        self.life = lifecycle.adopted(record.spec, state, record.restart_count, self._now(), self._around.policy)
        return True

    @property
    def serving(self) -> Instance | None:
        """The process, while it is ready for requests."""
        return self._instance if self.life.state is EngineState.READY else None

    @property
    def port(self) -> int | None:
        return self._instance.port if self._instance is not None and self.life.has_process else None

    def apply(self, event: Event) -> None:
        was = self.life.state
        self.life, effects = lifecycle.step(self.life, event, self._now(), self._around.policy)
        if self.life.state is not was:
            self._state_changed()
        self._carry_on(effects)

    def advance(self) -> None:
        """Looks once at everything that may have happened."""
        if self._instance is not None and self.life.has_process:
            gone = self._instance.process.poll()
            if gone is not None:
                self._bury(self._instance, gone)
            else:
                self._read_log(self._instance)
                self._check(self._instance)
        self.apply(Tick())

    async def close(self) -> None:
        """Lets go of the engine without touching it."""
        if self._instance is not None:
            await self._instance.watch.close()
            if self._instance.inside is not None:
                await self._instance.inside.close(gone=not self.life.has_process)

    def status(self) -> EngineStatus:
        return engine_status(
            self.engine_id,
            self.life,
            self._instance,
            advertise_host=self._around.access.advertise_host,
            state_since=self._state_since,
            retry_at=self._retry_at,
            log_tail=self._log_tail,
            refused=self.refused,
        )

    def _carry_on(self, effects: tuple[Effect, ...]) -> None:
        queue = deque(effects)
        while queue:
            match queue.popleft():
                case Spawn(spec):
                    self._spawn(spec)
                case Terminate() if self._instance is not None:
                    self._around.tasks.spawn(self._say_goodbye(self._instance), name=f"{self.engine_id} goodbye")
                case Kill() if self._instance is not None:
                    self._instance.process.kill()

    def _spawn(self, spec: EngineSpec) -> None:
        preferred = self._instance.port if self._instance is not None else None
        try:
            self._instance = instances.start(
                spec, self._around, self.directory, self._log, preferred_port=preferred, notify=self._notify
            )
        except AgentError as error:
            retryable = isinstance(error, LaunchError) and error.retryable
            self._log_tail = ()
            self.apply(Died(reason=str(error), retryable=retryable, draw=self._around.draw()))
            return
        self._save()

    def _bury(self, dead: Instance, gone: Gone) -> None:
        last_words = self._log.tail(_CAUSE_LINES)
        cause = dead.engine.cause_of_death(gone.exit_code, last_words)
        self.directory.drop_record()
        self._around.tasks.spawn(dead.watch.close(), name=f"{self.engine_id} close")
        if dead.inside is not None:
            self._around.tasks.spawn(dead.inside.close(gone=True), name=f"{self.engine_id} inside")
        self._log_tail = last_words[-self._around.policy.log_tail_lines :]
        self.apply(Died(reason=cause.reason, retryable=cause.retryable, draw=self._around.draw()))

    def _read_log(self, now_running: Instance) -> None:
        if self.life.state is EngineState.STARTING:
            for line in self._log.new_lines():
                news = now_running.engine.read_line(line)
                now_running.dtype = news.dtype or now_running.dtype
                if news.stage is not None:
                    self.apply(StageSeen(news.stage))
        try:
            self._log.bound()
        except OSError as error:
            self._trouble(f"the engine's log cannot be kept in bounds: {error.strerror}")

    def _check(self, running: Instance) -> None:
        now = self._now()
        if running.checking or now < running.next_check_at:
            return
        if self.life.state is EngineState.STARTING:
            work = self._try_to_open(running)
        elif self.life.state in _WATCHED:
            work = self._take_reading(running)
        else:
            return
        running.checking = True
        running.next_check_at = now + self._around.policy.scrape_seconds
        self._around.tasks.spawn(work, name=f"{self.engine_id} check")

    async def _try_to_open(self, running: Instance) -> None:
        def on_stage(stage: str) -> None:
            if self._is_current(running):
                self.apply(StageSeen(stage))

        try:
            await running.watch.open_for_service(on_stage)
            if self._is_current(running):
                await self.adapters.load_all(running)
        except (EngineUnreachableError, MetricsError):
            return
        finally:
            running.checking = False
        if self._is_current(running):
            self.apply(Answering())

    async def _take_reading(self, running: Instance) -> None:
        try:
            scrape = await running.watch.scrape()
        finally:
            running.checking = False
        if not self._is_current(running):
            return
        if running.inside is not None:
            running.inside.expect_voice()
        if scrape is not None:
            self.apply(LoadSeen(running=scrape.gauges.running, waiting=scrape.gauges.waiting))
        suspected = self.life.state is EngineState.READY and running.watch.suspicion() is not None
        if suspected and not running.confirming:
            running.confirming = True
            self._around.tasks.spawn(self._confirm(running), name=f"{self.engine_id} canary")

    async def _confirm(self, running: Instance) -> None:
        reason = running.watch.suspicion() or "no progress"
        try:
            stuck = await running.watch.confirm()
        finally:
            running.confirming = False
        if not self._is_current(running):
            return
        if stuck:
            self.apply(Stuck(running.watch.suspicion() or reason))
        else:
            self._save()

    async def _say_goodbye(self, running: Instance) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(running.watch.close(), _GOODBYE_SECONDS_MAX)
        running.process.terminate()

    def _is_current(self, running: Instance) -> bool:
        return running is self._instance and self.life.has_process

    def _state_changed(self) -> None:
        self._state_since = self._around.clock.now()
        wait = None if self.life.retry_at is None else self.life.retry_at - self._now()
        self._retry_at = None if wait is None else self._state_since + timedelta(seconds=wait)
        if self.life.state not in (*_BROKEN, EngineState.STARTING):
            self._log_tail = ()
        if self.life.has_process and self.life.state is not EngineState.STARTING:
            self._save()

    def _save(self) -> None:
        running = self._instance
        if running is None:
            return
        record = EngineRecord(
            spec=self.life.spec,
            instance_id=running.instance_id,
            identity=running.process.identity,
            port=running.port,
            state=self.life.state,
            state_since=self._state_since,
            restart_count=self.life.restart_count,
            dtype=running.dtype,
            description=running.watch.description,
            excluded=running.watch.excluded,
            adapters=self.adapters.wanted,
            inside_folder="" if running.inside is None else str(running.inside.sockets.folder),
        )
        try:
            self.directory.save(record)
            self._save_failed = False
        except OSError as error:
            self._trouble(f"the engine's record cannot be written, a new agent would not know it: {error.strerror}")

    def _trouble(self, message: str) -> None:
        if not self._save_failed:
            self._save_failed = True
            self._notify("state_unwritable", message, Severity.ERROR)

    def _notify(self, kind: str, message: str, severity: Severity) -> None:
        occurred_at = self._around.clock.now()
        self._around.on_event(NodeEvent(kind, message, severity, occurred_at, engine_id=self.engine_id))

    def _now(self) -> float:
        return self._around.clock.monotonic()
