"""Fixtures: a started gateway in front of two engines of one model and one of another."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.fakes.engine_server import FakeEngine
from tests.integration.gateway.harness import Gateway, gateway


@pytest.fixture
def llama() -> Iterator[FakeEngine]:
    with FakeEngine("org/llama", name="llama-1") as engine:
        yield engine


@pytest.fixture
def llama_twin() -> Iterator[FakeEngine]:
    with FakeEngine("org/llama", name="llama-2") as engine:
        yield engine


@pytest.fixture
def qwen() -> Iterator[FakeEngine]:
    with FakeEngine("qwen", name="qwen-1") as engine:
        yield engine


@pytest.fixture
async def served(llama: FakeEngine, llama_twin: FakeEngine, qwen: FakeEngine) -> AsyncIterator[Gateway]:
    async with gateway() as built:
        await built.start(llama, llama_twin, qwen)
        yield built
