"""`stoker-controlplane run` as a process with its Envoy, an agent's stream, operators' calls and the gateway's question.

For integration tests of what must outlive a daemon or a database. The process and its Envoy die with the block.
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx

from controlplane.clock import SystemClock
from controlplane.fleet.access import Role
from controlplane.identity import certificates
from controlplane.identity.authority import Authority
from controlplane.identity.layout import DataLayout
from controlplane.proto.stoker.v1 import operator_pb2_grpc
from controlplane.storage.database import Database
from tests.support.fleet import enrolled, placed
from tests.support.served import AgentStream

ROOT = Path(__file__).resolve().parents[2]
SECONDS_MAX = 90.0
# A busy machine must not make a node stale that a test keeps talking for.
CONFIG = """
[server]
host = "127.0.0.1"
port = 0
enrolment_port = 0
[gateway]
host = "127.0.0.1"
port = 0
concurrency = 1
drain_seconds_max = 1.0
[fleet]
fresh_seconds = 10.0
stale_seconds = 60.0
lost_seconds = 120.0
[history]
sample_interval_seconds = 1.0
flush_seconds = 0.2
"""


async def control_plane(*arguments: str) -> Process:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "controlplane", *arguments),
        cwd=ROOT,
        env=environment,
        stdout=PIPE,
        stderr=STDOUT,
        limit=1 << 20,
    )


async def ended(process: Process) -> tuple[int | None, str]:
    """Exit code, and all that it said."""
    async with asyncio.timeout(SECONDS_MAX):
        output, _ = await process.communicate()
    return process.returncode, output.decode()


class Installation:
    """A data directory with gcp-1 joined and llama placed on it."""

    def __init__(self, data: Path, database_url: str) -> None:
        self.data = data
        self.database_url = database_url
        self.decision_socket = data / "run" / "decision.sock"

    async def make(self) -> None:
        url = () if self.database_url.startswith("sqlite") else ("--database-url", self.database_url)
        code, said = await ended(await control_plane("init", "--data-dir", str(self.data), *url))
        assert code == 0, said
        tail = "" if not url else f'[database]\nurl = "{self.database_url}"\n'
        (self.data / "controlplane.toml").write_text(CONFIG + tail)
        self.authority = Authority.load(DataLayout(self.data).identity)
        database = Database.open(self.database_url)
        await database.run(lambda uow: uow.nodes.put(enrolled("gcp-1")))
        await database.run(lambda uow: uow.placements.put(placed("llama@gcp-1")))
        await database.close()


class Daemon:
    """One running process. Its log is read all the time, so that it never waits for us."""

    def __init__(self, installation: Installation, process: Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self._installation = installation
        self._channels: list[grpc.aio.Channel] = []
        self.port = 0

    async def follow(self) -> None:
        assert self.process.stdout is not None
        while raw := await self.process.stdout.readline():
            try:
                self.lines.append(json.loads(raw))
            except ValueError:
                self.lines.append({"event": "noise", "text": raw.decode()})

    async def ready(self) -> None:
        await soon(lambda: any(line["event"] == "ready" for line in self.lines) or self.process.returncode, "ready")
        self.port = next((line["grpc_port"] for line in self.lines if line["event"] == "ready"), 0)
        assert self.port, self.lines

    def _channel(self, key_pem: bytes, certificate_pem: bytes) -> grpc.aio.Channel:
        ca = self._installation.authority.ca_pem
        made = grpc.aio.secure_channel(
            f"localhost:{self.port}", grpc.ssl_channel_credentials(ca, key_pem, certificate_pem)
        )
        self._channels.append(made)
        return made

    def agent(self) -> AgentStream:
        key = certificates.new_key()
        issued = self._installation.authority.node_credentials(
            certificates.request_pem(key, "gcp-1"),
            name="gcp-1",
            identity_serial="0" * 32,
            hosts=("127.0.0.1",),
            now=SystemClock().now(),
        )
        return AgentStream(self._channel(certificates.key_pem(key), issued.certificate_pem))

    def operators(self) -> "operator_pb2_grpc.OperatorServiceAsyncStub":
        admin = DataLayout(self._installation.data).operator(Role.ADMIN.value)
        channel = self._channel((admin / "key.pem").read_bytes(), (admin / "cert.pem").read_bytes())
        return operator_pb2_grpc.OperatorServiceStub(channel)

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()


@asynccontextmanager
async def running(installation: Installation) -> AsyncIterator[Daemon]:
    process = await control_plane("run", "--data-dir", str(installation.data))
    daemon = Daemon(installation, process)
    try:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(daemon.follow())
            await daemon.ready()
            yield daemon
            await daemon.close()
            reading.cancel()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        for pid in envoys(installation.data):
            os.kill(pid, signal.SIGKILL)


def envoys(data: Path) -> list[int]:
    """Processes that run with this data directory's gateway configuration."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it has just ended
            if str(data / "run") in command and "envoy" in command:
                found.append(int(entry.name))
    return found


class Decisions:
    """Asks where requests should go, as Envoy does, one after another until told to stop."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self.answers: list[tuple[int, str]] = []  # status, and where to, or why not

    async def run(self) -> None:
        headers = {"x-stoker-tenant": "acme", "x-stoker-key-id": "k1"}
        transport = httpx.AsyncHTTPTransport(uds=str(self._socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://decision", timeout=30.0) as client:
            while True:
                headers["x-request-id"] = f"r{len(self.answers)}"
                body = {"model": "llama", "messages": []}
                answer = await client.post("/v1/chat/completions", json=body, headers=headers)
                told = answer.headers.get("x-gateway-destination-endpoint", "") or answer.text
                self.answers.append((answer.status_code, told))
                await asyncio.sleep(0.005)


async def soon(condition: Any, what: str) -> None:
    """Wait until `condition()` holds; fail with `what` when it does not in time."""
    try:
        async with asyncio.timeout(SECONDS_MAX):
            while not condition():  # noqa: ASYNC110 - it looks at plain state
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {SECONDS_MAX:.0f} s: {what}") from None
