"""A fleet served over real mutual TLS, and the `stoker` command run against it in a thread of its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from console.cli.root import stoker
from tests.fakes import fleet
from tests.fakes.operator_service import FakeOperatorService

Stoker = Callable[..., Awaitable[Result]]


@pytest.fixture
async def service() -> AsyncIterator[FakeOperatorService]:
    async with FakeOperatorService(fleet.mixed()) as started:
        yield started


@pytest.fixture
def run(service: FakeOperatorService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stoker:
    """`await run("engines", "-o", "json")`, as operator ana. In a pipe, 120 columns wide."""
    monkeypatch.setenv("COLUMNS", "120")
    directory = service.save_credentials(tmp_path / "ana")

    async def invoke(*words: str, answers: str | None = None) -> Result:
        arguments = ["--credentials", str(directory), *words]
        return await asyncio.to_thread(CliRunner().invoke, stoker, arguments, input=answers, catch_exceptions=False)

    return invoke


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is somebody to ask."""
    monkeypatch.setattr("console.cli.confirm.is_terminal", lambda: True)
