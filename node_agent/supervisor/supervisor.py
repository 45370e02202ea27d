"""All engines of this node: started, watched, stopped, and found again after a restart of the agent.

The session and the composition root call this; it knows no control plane. An engine never stops because the agent lost
contact or ended, unless it is told so.

    supervisor = Supervisor(engine_factory=…, access=…, state_dir=…, clock=…, on_event=…)
    await supervisor.readopt()               # once, before anything else
    tasks.spawn(supervisor.run(), …)         # until cancelled
    await supervisor.start(spec)             # returns when the start has begun; `statuses` tells how it goes
    await supervisor.stop(engine_id, …)      # returns when the process is gone
    await supervisor.load_adapter(engine_id, name, source); await supervisor.read_log(engine_id, lines_max)
    await supervisor.shutdown(…)             # last; no other call after it
"""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import structlog

from node_agent.clock import Clock
from node_agent.engines import argument_check
from node_agent.engines.engine import EngineAccess, EngineFactory
from node_agent.errors import AgentError, EngineNotHereError, StaleGenerationError
from node_agent.inside.insides import EngineInsides
from node_agent.session.facts import EngineSpec, EngineState, EngineStatus, NodeEvent
from node_agent.session.values import Severity
from node_agent.supervisor.instance import Instance, Surroundings
from node_agent.supervisor.life import Start, Stop
from node_agent.supervisor.log_file import LogFile
from node_agent.supervisor.policy import SupervisorPolicy
from node_agent.supervisor.records import EngineDirectory, recorded_engine_ids
from node_agent.supervisor.runner import EngineRunner
from node_agent.tasks import TaskScope

_log = structlog.get_logger(__name__)
_random_number = random.SystemRandom().random


_WORTH_KEEPING = (EngineState.STARTING, EngineState.READY)


class Supervisor:
    def __init__(
        self,
        *,
        engine_factory: EngineFactory,
        access: EngineAccess,
        state_dir: Path,
        clock: Clock,
        on_event: Callable[[NodeEvent], None],
        policy: SupervisorPolicy | None = None,
        insides: EngineInsides | None = None,
        draw: Callable[[], float] = _random_number,
    ) -> None:
        self._tasks = TaskScope("supervisor")
        self._policy = policy or SupervisorPolicy()
        self._on_event = on_event
        self._clock = clock
        self._state_dir = state_dir
        self._runners: dict[str, EngineRunner] = {}
        self._around = Surroundings(
            engine_factory=engine_factory,
            access=access,
            state_dir=state_dir,
            clock=clock,
            policy=self._policy,
            tasks=self._tasks,
            on_event=on_event,
            draw=draw,
            ports_taken=self._ports_taken,
            insides=insides,
        )

    async def readopt(self) -> tuple[EngineStatus, ...]:
        """Finds the engines that an earlier run of the agent left running, and takes them on untouched."""
        for engine_id in recorded_engine_ids(self._state_dir):
            if engine_id not in self._runners:
                self._readopt_one(engine_id)
        return self.statuses()

    async def start(self, spec: EngineSpec) -> None:
        """Returns when the start has begun. A newer generation drains and replaces the process; the same one changes
        nothing, unless the engine was stopped. A FAILED engine needs a newer generation.

        Raises StaleGenerationError, or EngineSpecError before anything that runs is touched: the engine itself judges the
        arguments of a newer generation, which may take some seconds.
        """
        runner = self._runners.get(spec.engine_id)
        if runner is not None:
            newest = (runner.life.next_spec or runner.life.spec).generation
            if spec.generation < newest:
                raise StaleGenerationError(
                    f"generation {spec.generation} of {spec.engine_id} is refused: generation {newest} is already here"
                )
        await self._vouch_for(spec, runner)
        if runner is None:
            runner = EngineRunner(spec.engine_id, self._around)
            runner.begin(spec)
            self._runners[spec.engine_id] = runner
        else:
            runner.refused = ""
            runner.apply(Start(spec))

    async def stop(self, engine_id: str, *, drain_seconds_max: float, forget: bool) -> None:
        """Returns once its process is gone, at the latest shortly after the drain's time is over. An engine that is not
        here is as good as stopped. A start of a newer generation meanwhile ends the wait.
        """
        runner = self._runners.get(engine_id)
        if runner is None:
            return
        runner.apply(Stop(drain_seconds_max))
        # It ticks by itself, so that stopping does not hang on `run` being alive.
        while runner.life.stop_wanted and runner.life.state is not EngineState.STOPPED:
            await asyncio.sleep(self._policy.tick_seconds)
            self._advance(runner)
        if forget and runner.life.stop_wanted and self._runners.get(engine_id) is runner:
            del self._runners[engine_id]
            runner.directory.remove()

    async def load_adapter(self, engine_id: str, name: str, source: str) -> None:
        """Served from now on, and by every later process of this engine. Raises AgentError."""
        runner = self._known(engine_id)
        await runner.adapters.load(_serving(runner), name, source)

    async def unload_adapter(self, engine_id: str, name: str) -> None:
        """One that is not served is as good as unloaded. Raises AgentError."""
        runner = self._known(engine_id)
        await runner.adapters.unload(_serving(runner), name)

    async def read_log(self, engine_id: str, lines_max: int) -> tuple[str, ...]:
        """Of any engine that has run here and was not forgotten, oldest line first. Raises AgentError."""
        log = LogFile(EngineDirectory(self._state_dir, engine_id).log_path, bytes_max=self._policy.log_bytes_max)
        try:
            return await asyncio.to_thread(log.history, lines_max)
        except FileNotFoundError:
            self._known(engine_id)
            return ()  # it is here, and nothing of it was ever started
        except OSError as error:
            raise EngineNotHereError(f"the log of {engine_id} cannot be read: {error.strerror}") from error

    def statuses(self) -> tuple[EngineStatus, ...]:
        """As last seen, ordered by engine id. Never blocks."""
        return tuple(self._runners[engine_id].status() for engine_id in sorted(self._runners))

    def model_source(self, engine_id: str) -> str:
        """Where the engine's model came from, a folder or an id; "" for an engine that is not here."""
        runner = self._runners.get(engine_id)
        return "" if runner is None else runner.life.spec.source

    async def run(self) -> None:
        """Until cancelled. Cancelling it leaves every engine as it is."""
        while True:
            self.tick()
            await asyncio.sleep(self._policy.tick_seconds)

    def tick(self) -> None:
        for runner in list(self._runners.values()):
            self._advance(runner)

    async def shutdown(self, *, drain_seconds_max: float, keep_engines: bool) -> None:
        """`keep_engines`: they go on serving, for the next agent to find. Otherwise all are drained and stopped."""
        if not keep_engines:
            stops = (
                self.stop(engine_id, drain_seconds_max=drain_seconds_max, forget=False) for engine_id in self._runners
            )
            await asyncio.gather(*stops)
        await self._tasks.close()
        for runner in self._runners.values():
            await runner.close()

    async def _vouch_for(self, spec: EngineSpec, runner: EngineRunner | None) -> None:
        """Raises EngineSpecError or LaunchError when this spec could only fail. What runs goes on, and says so."""
        try:
            engine = self._around.engine_factory(spec)
            if (
                runner is None
                or runner.life.state not in _WORTH_KEEPING
                or spec.generation == runner.life.spec.generation
            ):
                return
            trial = engine.trial()
            if trial is not None:
                await argument_check.judge(trial, runner.directory.path)
        except AgentError as error:
            if runner is not None:
                goes_on = f"generation {runner.life.spec.generation} stays"
                runner.refused = f"generation {spec.generation} was not started, {goes_on}: {error}"
            raise

    def _known(self, engine_id: str) -> EngineRunner:
        runner = self._runners.get(engine_id)
        if runner is None:
            raise EngineNotHereError(f"there is no engine {engine_id} on this node")
        return runner

    def _ports_taken(self, engine_id: str) -> set[int]:
        others = (runner for runner in self._runners.values() if runner.engine_id != engine_id)
        return {runner.port for runner in others if runner.port is not None}

    def _readopt_one(self, engine_id: str) -> None:
        directory = EngineDirectory(self._state_dir, engine_id)
        try:
            record = directory.load()
        except (ValueError, OSError) as error:
            self._tell("record_unreadable", f"{error}; an engine may still run", engine_id)
            return
        if record is None:
            return
        runner = EngineRunner(engine_id, self._around)
        try:
            if runner.resume(record):
                self._runners[engine_id] = runner
            else:
                directory.drop_record()
        except AgentError as error:
            self._tell("engine_not_adopted", f"process {record.identity.pid} runs unwatched: {error}", engine_id)

    def _advance(self, runner: EngineRunner) -> None:
        try:
            runner.advance()
        except Exception as error:  # noqa: BLE001 - one engine's trouble must not end the others' care
            _log.error("engine_tick_failed", engine_id=runner.engine_id, exc_info=error)

    def _tell(self, kind: str, message: str, engine_id: str) -> None:
        self._on_event(NodeEvent(kind, message, Severity.ERROR, self._clock.now(), engine_id=engine_id))


def _serving(runner: EngineRunner) -> Instance:
    if runner.serving is None:
        state = runner.life.state.value.replace("_", " ")
        raise EngineNotHereError(f"engine {runner.engine_id} is {state}: adapters need one that is ready")
    return runner.serving
