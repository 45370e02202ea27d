"""The metrics of a real `stoker-agent` process, scraped as Prometheus does."""

import json
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.authority import FakeAuthority
from tests.fakes.control_plane import FakeControlPlane, eventually
from tests.integration.test_agent_process import finished, joined, spawn


@pytest.fixture
async def plane() -> AsyncIterator[FakeControlPlane]:
    control_plane = FakeControlPlane(FakeAuthority())
    await control_plane.start()
    yield control_plane
    await control_plane.vanish()


@asynccontextmanager
async def running(state_dir: Path, config: Path) -> AsyncIterator[Process]:
    process = await spawn("run", "--state-dir", str(state_dir), "--log-format", "json", "--config", str(config))
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def said(process: Process, event: str) -> dict[str, Any]:
    """The first line of its log about this."""
    assert process.stderr is not None
    async for line in process.stderr:
        if line.startswith(b"{") and (told := json.loads(line))["event"] == event:
            return dict(told)
    raise AssertionError(f"it ended without {event}")


async def test_an_agent_is_scraped(plane: FakeControlPlane, tmp_path: Path) -> None:
    await joined(plane, tmp_path / "state")
    config = tmp_path / "agent.toml"
    config.write_text("[metrics]\nport = 0\n")
    async with running(tmp_path / "state", config) as process:
        served = await said(process, "metrics_served")
        await eventually(lambda: plane.received.reports, "reports", seconds=60)
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{served['port']}/metrics")
        told = {
            sample.name: sample for family in text_string_to_metric_families(answer.text) for sample in family.samples
        }
        assert told["stoker_agent_info"].labels["node"] == "gcp-1"
        assert told["stoker_agent_connected"].value == 1
        assert told["process_cpu_seconds_total"].value > 0
        process.send_signal(signal.SIGTERM)
        assert (await finished(process))[0] == 0


async def test_a_port_that_is_taken_is_an_event_and_ends_nothing(plane: FakeControlPlane, tmp_path: Path) -> None:
    await joined(plane, tmp_path / "state")
    config = tmp_path / "agent.toml"
    with socket.create_server(("127.0.0.1", 0)) as holder:
        config.write_text(f"[metrics]\nport = {holder.getsockname()[1]}\n")
        async with running(tmp_path / "state", config) as process:
            assert "cannot be served" in (await said(process, "metrics_not_served"))["message"]
            await eventually(lambda: plane.received.reports, "reports", seconds=60)
            process.send_signal(signal.SIGTERM)
            assert (await finished(process))[0] == 0
