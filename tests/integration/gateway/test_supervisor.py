"""Envoy's life: started, adopted, replaced, restarted, drained, and what people read when it cannot start."""

import asyncio
import json
import os
import signal
import socket
import threading
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from controlplane.errors import AlreadyRunningError, ConfigurationError, UnavailableError
from controlplane.gateway.decision_server import bind_private
from controlplane.gateway.endpoint_files import XdsFiles
from controlplane.gateway.envoy_process import birth_of
from controlplane.gateway.facts import GatewaySettings
from controlplane.gateway.supervisor import EnvoySupervisor
from tests.fakes.engine_server import FakeEngine
from tests.integration.gateway.harness import CHAT, Gateway, eventually, gateway

pytestmark = pytest.mark.envoy
ASK = {"model": "qwen", "messages": []}


def another(served: Gateway, **changes: object) -> EnvoySupervisor:
    """What a restarted daemon has: the same settings and directory, and nothing in memory."""
    settings = replace(served.settings, **changes)  # type: ignore[arg-type]
    return EnvoySupervisor(settings, XdsFiles(settings), served.clock)


async def test_envoy_outlives_the_daemon_and_is_adopted(served: Gateway, qwen: FakeEngine) -> None:
    pid = served.supervisor.status.pid
    assert pid is not None
    assert os.getsid(pid) == pid  # a session of its own: signals to the daemon's group do not reach it
    qwen.faults.gate = threading.Event()
    async with served.client() as client:
        async with client.stream("POST", CHAT, json={**ASK, "stream": True}) as response:
            lines = (line async for line in response.aiter_lines() if line)
            await anext(lines)
            served.supervisor = another(served)
            await served.supervisor.start()
            status = served.supervisor.status
            assert (status.pid, status.adopted, status.version.count(".")) == (pid, True, 2)
            qwen.faults.gate.set()
            assert [line async for line in lines][-1] == "data: [DONE]"
        # The last known engines are still there, before the new daemon has told any.
        assert (await client.post(CHAT, json=ASK)).status_code == 200
        assert (await client.get("/v1/models")).json()["data"]


async def test_another_configuration_replaces_it_after_draining(served: Gateway, qwen: FakeEngine) -> None:
    pid = served.supervisor.status.pid
    qwen.faults.gate = threading.Event()
    async with served.client() as client, client.stream("POST", CHAT, json={**ASK, "stream": True}) as response:
        lines = (line async for line in response.aiter_lines() if line)
        await anext(lines)
        served.supervisor = another(served, memory_bytes_max=1 << 29)
        starting = served.tasks.spawn("start", served.supervisor.start())
        await eventually(lambda: _refused(served.settings.listen_port), "the old Envoy refusing new connections")
        assert not starting.done()
        qwen.faults.gate.set()
        assert [line async for line in lines][-1] == "data: [DONE]"
    await asyncio.wait_for(starting, 20)
    assert served.supervisor.status.pid not in {pid, None}
    assert not served.supervisor.status.adopted
    async with served.client() as client:
        assert (await client.post(CHAT, json=ASK)).status_code == 200


def _refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


async def test_orphan_without_a_state_file_is_ended(served: Gateway) -> None:
    pid = served.supervisor.status.pid
    assert pid is not None
    served.settings.state_path.unlink()
    served.supervisor = another(served)
    await served.supervisor.start()
    assert served.supervisor.status.pid not in {pid, None}
    assert birth_of(pid) is None


async def test_recycled_process_id_is_not_touched(served: Gateway) -> None:
    await served.supervisor.stop(drain_seconds_max=0)
    state = {"pid": os.getpid(), "birth": "someone-else", "configuration": "", "version": "", "bootstrap_path": ""}
    served.settings.state_path.write_text(json.dumps(state))
    served.supervisor = another(served)
    await served.supervisor.start()
    assert served.supervisor.status.pid not in {os.getpid(), None}


async def test_killed_envoy_comes_back(served: Gateway, qwen: FakeEngine) -> None:
    watching = served.tasks.spawn("envoy", served.supervisor.run())
    pid = served.supervisor.status.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: served.supervisor.status.restart_count == 1, "the restart")
    assert served.supervisor.status.pid not in {pid, None}
    async with served.client() as client:
        assert (await client.post(CHAT, json=ASK)).status_code == 200
    await served.supervisor.stop(drain_seconds_max=1)
    await asyncio.wait_for(watching, 10)
    assert served.supervisor.status.pid is None


async def test_stop_waits_for_running_answers_up_to_the_limit(served: Gateway, qwen: FakeEngine) -> None:
    qwen.faults.gate = threading.Event()
    async with served.client() as client, client.stream("POST", CHAT, json={**ASK, "stream": True}) as response:
        lines = (line async for line in response.aiter_lines() if line)
        await anext(lines)
        stopping = served.tasks.spawn("stop", served.supervisor.stop(drain_seconds_max=20))
        await eventually(lambda: _refused(served.settings.listen_port), "new connections being refused")
        qwen.faults.gate.set()
        assert [line async for line in lines][-1] == "data: [DONE]"
    await asyncio.wait_for(stopping, 15)
    assert not served.settings.state_path.exists()
    await served.supervisor.stop()  # twice does no harm


async def test_stop_cuts_what_does_not_end(served: Gateway, qwen: FakeEngine) -> None:
    qwen.faults.hang = True
    async with served.client() as client:
        call = served.tasks.spawn("client", client.post(CHAT, json=ASK))
        await eventually(lambda: qwen.app.running == 1, "the engine taking the request")
        await served.supervisor.stop(drain_seconds_max=0.3)
        with pytest.raises(httpx.TransportError):
            await call


async def test_port_taken_is_named() -> None:
    async with gateway() as built:
        with socket.socket() as other:
            other.bind(("127.0.0.1", built.settings.listen_port))
            other.listen()
            with pytest.raises(
                AlreadyRunningError, match=rf"port {built.settings.listen_port} .* already taken .*gateway.port"
            ):
                await built.supervisor.start()
        assert not built.settings.state_path.exists()


async def test_last_lines_are_shown_when_it_dies_at_start(tmp_path: Path) -> None:
    broken = tmp_path / "envoy"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "envoy  version: abc/1.40.0/Clean/RELEASE/BoringSSL" && exit 0\n'
        "echo 'something is wrong with line 7' >&2\nexit 3\n"
    )
    broken.chmod(0o755)
    async with gateway(envoy_path=broken) as built:
        with pytest.raises(UnavailableError, match=r"exit code 3[\s\S]*something is wrong with line 7"):
            await built.supervisor.start()
        assert built.supervisor.status.pid is None
        assert not built.settings.state_path.exists()


async def test_old_or_missing_envoy_and_bad_key_set_are_explained(tmp_path: Path) -> None:
    old = tmp_path / "envoy"
    old.write_text('#!/bin/sh\necho "envoy  version: abc/1.29.3/Clean/RELEASE/BoringSSL"\n')
    old.chmod(0o755)
    async with gateway(envoy_path=old) as built:
        with pytest.raises(ConfigurationError, match=r"1\.29\.3.*1\.36 or newer"):
            await built.supervisor.start()
    async with gateway(envoy_path=tmp_path / "none") as built:
        with pytest.raises(ConfigurationError, match="not a file"):
            await built.supervisor.start()
    async with gateway(jwks_path=tmp_path / "none.json") as built:
        with pytest.raises(ConfigurationError, match="Key Set"):
            await built.supervisor.start()


async def test_two_daemons_do_not_share_the_decision_socket(served: Gateway) -> None:
    with pytest.raises(AlreadyRunningError, match="already answers"):
        bind_private(served.settings.decision_socket)
    assert served.settings.decision_socket.stat().st_mode & 0o777 == 0o600
    assert served.settings.access_log_socket.stat().st_mode & 0o777 == 0o600
    assert served.settings.admin_socket.stat().st_mode & 0o777 == 0o600


def test_too_long_socket_path_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="shorter run_dir"):
        GatewaySettings(run_dir=tmp_path / ("x" * 120), jwks_path=tmp_path, insecure_upstreams=True)
