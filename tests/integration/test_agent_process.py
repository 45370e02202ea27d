"""`stoker-agent` as its users run it: a process of its own, joined to a control plane over real TLS."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.fakes.control_plane import FakeControlPlane, eventually

ROOT = Path(__file__).resolve().parents[2]


async def spawn(*arguments: str) -> Process:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "node_agent", *arguments),
        cwd=ROOT,
        env=environment,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )


async def finished(process: Process, stdin: bytes = b"") -> tuple[int | None, str, str]:
    async with asyncio.timeout(60):
        output, errors = await process.communicate(stdin)
    return process.returncode, output.decode(), errors.decode()


async def joined(plane: FakeControlPlane, state_dir: Path) -> None:
    place = ("--name", "gcp-1", "--provider", "gcp", "--region", "europe-west4", "--label", "rack=7")
    process = await spawn(
        *("join", "--server", plane.enrolment_address, "--session-server", plane.address),
        *(*place, "--state-dir", str(state_dir)),
    )
    code, output, errors = await finished(process, plane.authority.join_token().encode())
    assert (code, errors) == (0, "")
    assert output.endswith(f"next: stoker-agent run --state-dir {state_dir}\n")


@asynccontextmanager
async def running(state_dir: Path) -> AsyncIterator[Process]:
    process = await spawn("run", "--state-dir", str(state_dir), "--log-format", "json")
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_join_run_and_stop(plane: FakeControlPlane, tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    await joined(plane, state_dir)
    [request] = plane.received.joins
    assert (request.provider, dict(request.labels)) == ("gcp", {"rack": "7"})
    assert list(request.advertised_hosts) == ["127.0.0.1"]

    async with running(state_dir) as process:
        await eventually(lambda: len(plane.received.reports) >= 3, "reports", seconds=60)
        code, output, _ = await finished(await spawn("status", "-o", "json", "--state-dir", str(state_dir)))
        assert (code, json.loads(output)["running"], json.loads(output)["node"]) == (0, True, "gcp-1")
        code, _, errors = await finished(await spawn("run", "--state-dir", str(state_dir)))
        assert code == 1
        assert f"another stoker-agent (process {process.pid}) uses {state_dir}" in errors
        process.send_signal(signal.SIGTERM)
        code, output, errors = await finished(process)
    assert (code, output) == (0, "")
    events = [json.loads(line)["event"] for line in errors.splitlines() if line.startswith("{")]
    assert [event for event in events if event.startswith("agent_")] == [
        "agent_started",
        "agent_stopping",
        "agent_stopped",
    ]
    assert "connected" in events
    code, _, errors = await finished(await spawn("join", "--server", "127.0.0.1:1", *_again(state_dir)), b"x")
    assert (code, "no join token" in errors) == (2, True)


def _again(state_dir: Path) -> tuple[str, ...]:
    return ("--name", "gcp-1", "--provider", "gcp", "--region", "europe-west4", "--state-dir", str(state_dir))


async def test_an_agent_starts_and_waits_while_the_control_plane_is_away(
    plane: FakeControlPlane, tmp_path: Path
) -> None:
    await joined(plane, tmp_path)
    await plane.vanish()
    async with running(tmp_path) as process:
        assert process.stderr is not None
        async with asyncio.timeout(60):
            while b"link_unreachable" not in (line := await process.stderr.readline()):
                assert line, "it ended"
        assert b"nothing listens at" in line
        await plane.start()
        await eventually(lambda: plane.received.hellos, "the agent comes")
        process.send_signal(signal.SIGINT)
        assert (await finished(process))[0] == 0


async def test_joining_twice_needs_a_word(plane: FakeControlPlane, tmp_path: Path) -> None:
    await joined(plane, tmp_path)
    server = ("--server", plane.enrolment_address, "--session-server", plane.address)
    token = plane.authority.join_token().encode()
    code, _, errors = await finished(await spawn("join", *server, *_again(tmp_path)), token)
    assert code == 1
    assert "add --replace to join anew" in errors
    code, _, errors = await finished(await spawn("join", *server, *_again(tmp_path), "--replace"), token)
    assert (code, errors) == (0, "")
