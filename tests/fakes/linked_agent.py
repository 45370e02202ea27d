"""One agent's session as the composition root would make it, with fake engines. For tests of the link."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from node_agent.clock import SystemClock
from node_agent.inside.residency import EngineResidency
from node_agent.link.enrolment import Joined, JoinRequest, join
from node_agent.link.epoch_file import EpochFile
from node_agent.link.identity import IdentityStore
from node_agent.link.join_token import parse_join_token
from node_agent.link.owed_file import OwedFile
from node_agent.link.residency_pump import ResidencyPump
from node_agent.link.session_runner import SessionRunner
from node_agent.session.backoff import BackoffPolicy
from node_agent.session.facts import Device
from node_agent.session.machine import SessionPolicy
from node_agent.tasks import TaskScope
from tests.fakes.control_plane import FakeControlPlane
from tests.fakes.engine_runner import FakeEngines

CLOCK = SystemClock()


async def enrol(plane: FakeControlPlane, store: IdentityStore, token: str | None = None) -> Joined:
    request = JoinRequest("gcp-1", "gcp", "europe-west4", "0.1.0", advertised_hosts=("127.0.0.1", "gcp-1.example"))
    text = token or plane.authority.join_token()
    return await join(
        address=plane.enrolment_address, token=parse_join_token(text), request=request, store=store, clock=CLOCK
    )


class Agent:
    """One running session, as the composition root would make it."""

    def __init__(self, plane: FakeControlPlane, store: IdentityStore, state_dir: Path) -> None:
        self.engines = FakeEngines()
        self.devices: tuple[Device, ...] = (Device("cpu:0", "a CPU", "cpu"),)
        self.statuses: list[str] = []
        self.residencies: list[EngineResidency] = []
        self.runner = SessionRunner(
            address=plane.address,
            policy=SessionPolicy("0.1.0", "boot-1", "linux", BackoffPolicy(0.02, 0.1, 0.2)),
            store=store,
            epochs=EpochFile(state_dir),
            owed=OwedFile(state_dir),
            engines=self.engines,
            devices=lambda: self.devices,
            clock=CLOCK,
            draw=random.Random(7).random,  # noqa: S311 - spreads retries
            on_status=self.statuses.append,
            residency=ResidencyPump(lambda: self.residencies, period_seconds=0.02),
        )


@asynccontextmanager
async def running(plane: FakeControlPlane, store: IdentityStore, state_dir: Path) -> AsyncIterator[Agent]:
    agent = Agent(plane, store, state_dir)
    async with TaskScope("test") as scope:
        scope.spawn(agent.runner.run(), name="session")
        yield agent
