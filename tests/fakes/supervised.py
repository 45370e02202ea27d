"""A supervisor over fake engine processes with time in the test's hands. Used by the supervisor's tests.

The processes are real; only the clock is not. `until` is the one way to wait: it lets processes and tasks get on, with
the fake clock moving by a set amount a round, and gives up after a deadline.
"""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from node_agent.engines.engine import EngineAccess, Launch
from node_agent.engines.vllm import VllmEngine, VllmSettings
from node_agent.inside.sockets import InsideSockets
from node_agent.session.facts import EngineSpec, EngineStatus, NodeEvent
from node_agent.supervisor.policy import SupervisorPolicy
from node_agent.supervisor.process import session_members
from node_agent.supervisor.supervisor import Supervisor

FAKE_ENGINE = Path(__file__).with_name("engine_process.py")
_PAUSE_SECONDS = 0.01
_ROUNDS_MAX = 2000

# Nothing here is waited for in real time but the processes themselves.
POLICY = SupervisorPolicy(tick_seconds=_PAUSE_SECONDS, scrape_seconds=0.1, settle_seconds=0.0, canary_seconds_max=0.5)


class FakeClock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class FakeVllm(VllmEngine):
    """vLLM in everything but the program that is started."""

    def launch(self, port: int, inside: InsideSockets | None = None) -> Launch:
        real = super().launch(port, inside)
        return replace(real, command=(sys.executable, str(FAKE_ENGINE), *real.command[3:]))

    def trial(self) -> Launch:
        started = self.launch(1)
        return replace(started, command=(*started.command, "--fake-trial"))


def engine_spec(engine_id: str = "one", *args: str, generation: int = 1, model: str = "tiny") -> EngineSpec:
    return EngineSpec(engine_id=engine_id, generation=generation, model=model, source="some/model", engine_args=args)


@dataclass
class Bench:
    state_dir: Path
    access: EngineAccess
    policy: SupervisorPolicy = POLICY
    clock: FakeClock = field(default_factory=FakeClock)
    events: list[NodeEvent] = field(default_factory=list)
    supervisors: list[Supervisor] = field(default_factory=list)
    pids: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.restart_agent()

    @property
    def supervisor(self) -> Supervisor:
        return self.supervisors[-1]

    def restart_agent(self) -> Supervisor:
        """A second agent on the same state directory; the first one is simply not heard of again."""
        settings = VllmSettings(engine_python=Path(sys.executable))
        self.supervisors.append(
            Supervisor(
                engine_factory=lambda spec: FakeVllm(spec, self.access, settings),
                access=self.access,
                state_dir=self.state_dir,
                clock=self.clock,
                on_event=self.events.append,
                policy=self.policy,
                draw=lambda: 1.0,
            )
        )
        return self.supervisor

    def status(self, engine_id: str = "one") -> EngineStatus:
        return next(status for status in self.supervisor.statuses() if status.engine_id == engine_id)

    async def until(self, holds: Callable[[], object], *, seconds_a_round: float = 0.02) -> None:
        for _ in range(_ROUNDS_MAX):
            self.supervisor.tick()
            self.pids.update(status.pid for status in self.supervisor.statuses() if status.pid)
            if holds():
                return
            await asyncio.sleep(_PAUSE_SECONDS)
            self.clock.seconds += seconds_a_round
        raise AssertionError(f"did not come to pass; last: {self.supervisor.statuses()} {self.events}")

    async def pass_time(self, seconds: float, *, seconds_a_round: float) -> None:
        end = self.clock.seconds + seconds
        await self.until(lambda: self.clock.seconds >= end, seconds_a_round=seconds_a_round)

    async def until_state(
        self, state: object, engine_id: str = "one", *, seconds_a_round: float = 0.02
    ) -> EngineStatus:
        await self.until(lambda: self.status(engine_id).state is state, seconds_a_round=seconds_a_round)
        return self.status(engine_id)

    async def command(self, engine_id: str = "one", **values: object) -> None:
        """Tells a fake engine how to behave. Only without TLS."""
        await self.post("/fake", dict(values), engine_id)

    async def post(self, path: str, body: dict[str, object], engine_id: str = "one") -> int:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"http://{self.status(engine_id).endpoint}{path}", json=body)
            return answer.status_code

    async def close(self) -> None:
        for supervisor in self.supervisors:
            await supervisor.shutdown(drain_seconds_max=0, keep_engines=True)
        for pid in self.pids:
            kill_session(pid)

    def left_running(self) -> set[int]:
        return {member for pid in self.pids for member in session_members(pid)}


def kill_session(pid: int) -> None:
    import os
    import signal
    from contextlib import suppress

    for member in session_members(pid):
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
