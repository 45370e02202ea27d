"""Carries out one command and says how it ended: what an outcome is made of.

Called by `session_runner` for every effect that runs a command. It knows the supervisor and the probe only by what it
needs of them, and it never raises: a refusal of theirs becomes the outcome's sentence, a fault of ours as well.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from node_agent.errors import AgentError
from node_agent.session.commands import LogLines, LogWanted
from node_agent.session.facts import EngineSpec, EngineState, EngineStatus
from node_agent.session.protocol import (
    CommandFinished,
    Run,
    RunLoadAdapter,
    RunProbe,
    RunReportInterval,
    RunStart,
    RunStop,
    RunUnloadAdapter,
)

_log = structlog.get_logger(__name__)

LOG_LINES_DEFAULT = 200
LOG_LINES_MAX = 5_000
_WITHOUT_PROCESS = (EngineState.STOPPED, EngineState.BACKING_OFF, EngineState.FAILED)

# Measures the roofs of every device and answers with a sentence that says what it found. Raises AgentError.
Probe = Callable[[bool], Awaitable[str]]


class EngineRunner(Protocol):
    """What the session needs of the supervisor. All may raise AgentError, whose sentence becomes the outcome's."""

    async def start(self, spec: EngineSpec) -> None: ...

    async def stop(self, engine_id: str, *, drain_seconds_max: float, forget: bool) -> None: ...

    async def load_adapter(self, engine_id: str, name: str, source: str) -> None: ...

    async def unload_adapter(self, engine_id: str, name: str) -> None: ...

    async def read_log(self, engine_id: str, lines_max: int) -> tuple[str, ...]: ...

    def statuses(self) -> tuple[EngineStatus, ...]: ...


async def cannot_probe(_force: bool) -> str:
    raise AgentError("this agent has no probe")


class CommandWork:
    def __init__(self, engines: EngineRunner, probe: Probe = cannot_probe) -> None:
        self._engines = engines
        self._probe = probe
        self._stopping = False

    def refuse_starts(self) -> None:
        """The agent is going down: nothing new is started."""
        self._stopping = True

    async def carry_out(self, run: Run) -> CommandFinished:
        try:
            done = await self._do(run)
        except AgentError as error:
            return CommandFinished(run.command_id, succeeded=False, message=str(error))
        except Exception as error:  # noqa: BLE001 - whatever broke, the command has ended and the session goes on
            _log.exception("command_crashed", command_id=run.command_id)
            text = f"the agent itself failed ({type(error).__name__}): see its log on this node"
            return CommandFinished(run.command_id, succeeded=False, message=text)
        return CommandFinished(run.command_id, succeeded=True, message=done)

    async def read_log(self, wanted: LogWanted) -> LogLines:
        count = min(wanted.lines_max or LOG_LINES_DEFAULT, LOG_LINES_MAX)
        try:
            return LogLines(wanted.request_id, await self._engines.read_log(wanted.engine_id, count))
        except AgentError as error:
            return LogLines(wanted.request_id, problem=str(error))
        except Exception as error:  # noqa: BLE001 - who asked gets an answer, and the session goes on
            _log.exception("log_unreadable", engine_id=wanted.engine_id)
            return LogLines(wanted.request_id, problem=f"the agent itself failed ({type(error).__name__})")

    async def _do(self, run: Run) -> str:
        match run:
            case RunStart(_, spec):
                if self._stopping:
                    raise AgentError("this agent is stopping")
                await self._engines.start(spec)
                return f"engine {spec.engine_id} generation {spec.generation} is being started"
            case RunStop(_, engine_id, drain_seconds_max, forget):
                await self._engines.stop(engine_id, drain_seconds_max=drain_seconds_max, forget=forget)
                return f"engine {engine_id} has stopped"
            case RunLoadAdapter(_, engine_id, name, source):
                await self._engines.load_adapter(engine_id, name, source)
                return f"engine {engine_id} serves {name} from {source}"
            case RunUnloadAdapter(_, engine_id, name):
                await self._engines.unload_adapter(engine_id, name)
                return f"engine {engine_id} no longer serves {name}"
            case RunProbe(_, force):
                return await self._probe_devices(force)
            case RunReportInterval():
                raise TypeError("the session machine carries this out by itself")

    async def _probe_devices(self, force: bool) -> str:
        running = [status.engine_id for status in self._engines.statuses() if status.state not in _WITHOUT_PROCESS]
        if running and not force:
            raise AgentError(
                f"{', '.join(running)} runs here: a probe would slow it down and measure too little; drain it first, "
                "or force the probe"
            )
        return await self._probe(force)
