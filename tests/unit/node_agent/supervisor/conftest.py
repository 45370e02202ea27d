"""A bench for each test: a supervisor, fake engine processes, a stopped clock. Nothing outlives its test."""

import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from node_agent.engines.engine import EngineAccess
from tests.fakes.supervised import Bench


def free_port_range(count: int) -> tuple[int, int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        first: int = probe.getsockname()[1]
    return first, first + count - 1


@pytest.fixture
def access() -> EngineAccess:
    first, last = free_port_range(4)
    return EngineAccess("127.0.0.1", "127.0.0.1", first, last)


@pytest.fixture
async def make_bench(tmp_path: Path, access: EngineAccess) -> AsyncIterator[Callable[..., Bench]]:
    """Takes what a `Bench` takes; what is not given is the test's own."""
    benches: list[Bench] = []

    def make(**given: Any) -> Bench:
        benches.append(Bench(**{"state_dir": tmp_path / "state", "access": access, **given}))
        return benches[-1]

    yield make
    for bench in benches:
        await bench.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()
