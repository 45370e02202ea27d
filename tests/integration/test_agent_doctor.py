"""`stoker-agent doctor` on a real state directory, with a control plane there and away. Loopback only."""

import asyncio
import json
import os
import socket
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from node_agent.host.instance_lock import InstanceLock
from node_agent.host.standing import Standing, save
from node_agent.link.identity import IdentityStore
from tests.fakes.authority import FakeAuthority
from tests.fakes.control_plane import FakeControlPlane
from tests.fakes.linked_agent import enrol

ROOT = Path(__file__).resolve().parents[2]
VLLM_PYTHON = ROOT / ".venv-vllm/bin/python"


@pytest.fixture
def engine_python(tmp_path: Path) -> Path:
    """An environment with a vLLM that has a known hole, small enough to make here."""
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "torch.py").write_text(
        "__version__ = '2.9'\nclass cuda:\n"
        "    is_available = staticmethod(lambda: True)\n    device_count = staticmethod(lambda: 2)\n"
        "    get_device_name = staticmethod(lambda index: 'H200')\n"
    )
    (packages / "vllm.py").write_text("print('chatter')\n__version__ = '0.21.0'\n")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={packages} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


async def joined(plane: FakeControlPlane, state_dir: Path, **engines: object) -> None:
    await enrol(plane, IdentityStore(state_dir))
    _keep_settings(plane, state_dir, engines)


def _keep_settings(plane: FakeControlPlane, state_dir: Path, engines: dict[str, object]) -> None:
    state_dir.chmod(0o700)
    lines = [
        f'[server]\naddress = "{plane.address}"\nenrolment_address = "{plane.enrolment_address}"',
        '[node]\nname = "gcp-1"\nadvertise_hosts = ["127.0.0.1"]',
        "[engines]",
        *(f"{key} = {json.dumps(value)}" for key, value in engines.items()),
    ]
    (state_dir / "agent.toml").write_text("\n".join(lines))


async def doctor(state_dir: Path, *more: str) -> tuple[int | None, dict[str, Any]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "node_agent", "doctor", "-o", "json", "--state-dir", str(state_dir), *more),
        cwd=ROOT,
        env=kept,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(120):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert errors == b""
    return process.returncode, json.loads(output)


def levels(answer: dict[str, Any], check: str) -> list[str]:
    return [found["level"] for found in answer["findings"] if found["check"] == check]


def says(answer: dict[str, Any], check: str) -> str:
    return " | ".join(found["says"] for found in answer["findings"] if found["check"] == check)


def everything(folder: Path) -> dict[str, tuple[int, float, bytes]]:
    return {
        str(path): (path.stat().st_mode, path.stat().st_mtime, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


async def test_a_bare_machine_is_told_what_is_missing_first(tmp_path: Path) -> None:
    code, answer = await doctor(tmp_path / "state")
    assert (code, answer["healthy"]) == (1, False)
    first = answer["findings"][0]
    assert (first["check"], first["level"]) == ("identity", "fail")
    assert "stoker-agent join" in first["fix"]
    assert all(found["fix"] for found in answer["findings"] if found["level"] != "ok")
    assert not (tmp_path / "state").exists()


async def test_a_joined_node_is_looked_at_and_left_as_it_was(
    plane: FakeControlPlane, engine_python: Path, tmp_path: Path
) -> None:
    state_dir = tmp_path / "state"
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        await joined(plane, state_dir, python=str(engine_python), port_first=port, port_last=port)
        standing = Standing(
            1, "0.0", f"connected to {plane.address}", connected=True, watched=True, engines={"failed": 1}
        )
        with InstanceLock(state_dir):
            save(state_dir, standing)
            before = everything(state_dir)
            code, answer = await doctor(state_dir)
            assert everything(state_dir) == before
    assert code == 1
    assert levels(answer, "identity") == ["ok"]
    assert levels(answer, "control plane") == levels(answer, "enrolment port") == ["ok"]
    assert (levels(answer, "agent's session"), says(answer, "agent's session")) == (["ok"], standing.connection)
    assert "the agent that runs is still 0.0" in says(answer, "agent")
    assert "CVE-2026-48746" in says(answer, "engine environment")
    assert says(answer, "torch") == "torch sees 2 x H200"
    assert (levels(answer, "ports"), f"listen on {port}" in says(answer, "ports")) == (["fail"], True)
    assert "given up 1 engines" in says(answer, "engines")
    # Nobody's session was taken, and nothing was asked of the control plane beyond its certificate.
    assert plane.received.hellos == []
    assert len(plane.received.joins) == 1


async def test_the_control_plane_away_or_another_one(
    plane: FakeControlPlane, engine_python: Path, tmp_path: Path
) -> None:
    state_dir = tmp_path / "state"
    await joined(plane, state_dir, python=str(engine_python))
    await plane.vanish()
    _, answer = await doctor(state_dir)
    assert levels(answer, "control plane") == ["fail"]
    assert f"nothing listens at {plane.address}" in says(answer, "control plane")
    assert levels(answer, "enrolment port") == ["warn"]  # needed for joining alone
    stranger = FakeControlPlane(FakeAuthority())
    stranger.port, stranger.enrolment_port = plane.port, plane.enrolment_port
    await stranger.start()
    try:
        _, answer = await doctor(state_dir)
    finally:
        await stranger.vanish()
    assert "another CA signed" in says(answer, "control plane")


async def test_every_mistake_in_the_settings_is_told_with_its_line(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("[engines]\nport_first = 0\n[link]\nfoo = 1\n")
    code, answer = await doctor(tmp_path / "state", "--config", str(config))
    assert code == 1
    assert levels(answer, "settings") == ["fail", "fail"]
    for place in (f"{config}:2: engines.port_first", f"{config}:4: link.foo"):
        assert place in says(answer, "settings")
    assert levels(answer, "memory")  # the others were looked at all the same


async def test_keys_that_others_may_read_are_found(
    plane: FakeControlPlane, engine_python: Path, tmp_path: Path
) -> None:
    await joined(plane, tmp_path, python=str(engine_python))
    IdentityStore(tmp_path).node_path.chmod(0o644)
    _, answer = await doctor(tmp_path)
    assert "can be read by other users" in says(answer, "identity")


@pytest.mark.vllm
async def test_a_real_vllm_is_recognised(plane: FakeControlPlane, tmp_path: Path) -> None:
    await joined(plane, tmp_path, python=str(VLLM_PYTHON))
    _, answer = await doctor(tmp_path)
    assert levels(answer, "engine environment") == ["ok"]
    assert "vLLM 0.32.0" in says(answer, "engine environment")
    assert levels(answer, "torch") == ["ok"]
