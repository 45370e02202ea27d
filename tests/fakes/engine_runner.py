"""A supervisor that only remembers: what the agent's session needs, with starts and stops that the test can hold."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from node_agent.errors import AgentError, EngineNotHereError
from node_agent.session.facts import EngineSpec, EngineState, EngineStatus

_SINCE = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class FakeEngines:
    started: list[EngineSpec] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    adapters: list[tuple[str, str, str]] = field(default_factory=list)  # engine, name, source; "": unloaded
    logs: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by engine
    fail_with: AgentError | None = None
    crash_on_statuses: bool = False
    hold: asyncio.Event = field(default_factory=asyncio.Event)  # clear: stops wait for it

    def __post_init__(self) -> None:
        self.hold.set()
        self._statuses: dict[str, EngineStatus] = {}

    async def start(self, spec: EngineSpec) -> None:
        self.started.append(spec)
        if self.fail_with is not None:
            raise self.fail_with
        self._statuses[spec.engine_id] = EngineStatus(
            engine_id=spec.engine_id,
            generation=spec.generation,
            instance_id=f"{spec.engine_id}-{spec.generation}",
            model=spec.model,
            state=EngineState.READY,
            state_since=_SINCE,
        )

    async def stop(self, engine_id: str, *, drain_seconds_max: float, forget: bool) -> None:
        self.stopped.append(engine_id)
        await self.hold.wait()
        if forget:
            self._statuses.pop(engine_id, None)
        elif engine_id in self._statuses:
            self._statuses[engine_id] = replace(self._statuses[engine_id], state=EngineState.STOPPED)

    async def load_adapter(self, engine_id: str, name: str, source: str) -> None:
        self.adapters.append((engine_id, name, source))
        if self.fail_with is not None:
            raise self.fail_with

    async def unload_adapter(self, engine_id: str, name: str) -> None:
        self.adapters.append((engine_id, name, ""))
        if self.fail_with is not None:
            raise self.fail_with

    async def read_log(self, engine_id: str, lines_max: int) -> tuple[str, ...]:
        if engine_id not in self.logs:
            raise EngineNotHereError(f"there is no engine {engine_id} on this node")
        return self.logs[engine_id][-lines_max:]

    def statuses(self) -> tuple[EngineStatus, ...]:
        if self.crash_on_statuses:
            raise RuntimeError("a bug in the supervisor")
        return tuple(self._statuses.values())
