"""Starting the command: what it loads, where it finds credentials, and the real program as a process of its own."""

import asyncio
import json
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.cli.root import stoker
from console.model.fleet_view import Severity
from tests.fakes import fleet
from tests.fakes.certificates import TestAuthority
from tests.fakes.operator_service import FakeOperatorService
from tests.support.launch import launched

HEAVY = ("textual", "torch", "sqlalchemy", "vllm", "grpc", "google.protobuf", "cryptography")
PATIENCE_SECONDS = 30


def test_help_loads_nothing_heavy() -> None:
    program = f"""
import sys
sys.argv = ["stoker", "--help"]
from console.__main__ import main
try:
    main()
except SystemExit:
    pass
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "Exit codes:" in done.stdout
    assert "5  the control plane cannot be reached" in done.stdout


def test_every_command_has_help_and_every_reading_one_has_json() -> None:
    runner = CliRunner()
    for words in ("status", "nodes", "engines", "models", "placements", "events", "history engines", "key list"):
        result = runner.invoke(stoker, [*words.split(), "--help"])
        assert result.exit_code == 0
        assert "--output [table|json]" in result.output
    for words in ("place", "remove", "drain", "resume", "node forget", "node token", "key create", "key revoke"):
        assert runner.invoke(stoker, [*words.split(), "--help"]).exit_code == 0
    for words in ("operator create", "console", "version", "engine"):
        assert runner.invoke(stoker, [*words.split(), "--help"]).exit_code == 0
    assert "stoker remove" in runner.invoke(stoker, ["node", "forget", "--help"]).output
    assert "the control plane's setting" in " ".join(runner.invoke(stoker, ["node", "token", "--help"]).output.split())
    assert "--at WORDS" in runner.invoke(stoker, ["console", "--help"]).output
    assert runner.invoke(stoker, ["version"]).output.startswith("stoker ")


def test_without_credentials_all_three_places_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STOKER_CREDENTIALS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    result = CliRunner().invoke(stoker, ["status"])
    assert result.exit_code == 4
    for place in ("--credentials DIR", "$STOKER_CREDENTIALS", str(tmp_path / "stoker" / "credentials")):
        assert place in result.stderr


async def _process(*words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *launched(sys.executable, "-m", "console", *words), stdout=PIPE, stderr=PIPE
    )


async def test_a_process_of_its_own_says_one_clean_line_when_it_fails(tmp_path: Path) -> None:
    async with FakeOperatorService(fleet.small()) as service:
        wrong = service.save_credentials(tmp_path / "c")
        (wrong / "ca.pem").write_bytes(TestAuthority().ca_pem)
        (wrong / "key.pem").chmod(0o644)
        process = await _process("--credentials", str(wrong), "status")
        async with asyncio.timeout(PATIENCE_SECONDS):
            stdout, stderr = await process.communicate()
    warning, error = stderr.decode().splitlines()
    assert (process.returncode, stdout) == (4, b"")
    assert "chmod 600" in warning
    assert error.startswith("stoker: What answers at")


async def test_a_picture_of_the_console_needs_no_terminal(tmp_path: Path) -> None:
    async with FakeOperatorService(fleet.small()) as service:
        directory, picture = service.save_credentials(tmp_path / "c"), tmp_path / "console.svg"
        words = ("--credentials", str(directory), "console", "--screenshot", str(picture), "--size", "100x30")
        async with asyncio.timeout(PATIENCE_SECONDS):
            process = await _process(*words)
            _, stderr = await process.communicate()
            assert (process.returncode, stderr.decode()) == (0, f"Wrote {picture}.\n")
            await service.stop()
            process = await _process(*words)
            await process.communicate()
    assert "llama-3-8b" in picture.read_text(encoding="utf-8")
    assert process.returncode == 5


async def test_a_picture_of_any_screen_and_of_nothing_that_is_not_there(tmp_path: Path) -> None:
    async with FakeOperatorService(fleet.small()) as service:
        directory = service.save_credentials(tmp_path / "c")

        async def at(*words: str) -> tuple[int | None, str]:
            process = await _process("--credentials", str(directory), "console", *words)
            async with asyncio.timeout(PATIENCE_SECONDS):
                _, stderr = await process.communicate()
            return process.returncode, stderr.decode()

        picture = tmp_path / "engine.svg"
        assert await at("--screenshot", str(picture), "--at", "engine oci-1") == (0, f"Wrote {picture}.\n")
        assert "Roofline" in picture.read_text(encoding="utf-8")
        picture = tmp_path / "none.svg"
        assert await at("--screenshot", str(picture), "--at", "engine nope") == (
            3,
            "stoker: There is no engine nope.\n",
        )
        assert await at("--screenshot", str(picture), "--at", "node -1") == (
            3,
            "stoker: -1 may be gcp-1, oci-1: write more of it.\n",
        )
        calls = len(service.calls)
        for words, why in (
            (("--screenshot", str(picture), "--at", "nonsense"), "There is no :nonsense."),
            (("--screenshot", str(picture), "--at", "engine"), "Write :engine"),
            (("--screenshot", str(picture), "--at", "quit"), "leads to no screen"),
            (("--screenshot", str(picture), "--at", " "), "leads to no screen"),
            (("--at", "events"), "needs --screenshot"),
        ):
            code, told = await at(*words)
            assert code == 2, words
            assert why in told
        assert len(service.calls) == calls, "what is wrong in itself is not asked about"
        assert not picture.exists()


async def test_following_events_outlives_the_control_plane_and_ends_with_an_interrupt(tmp_path: Path) -> None:
    async with FakeOperatorService(fleet.mixed()) as service:
        process = await _process(
            "--credentials", str(service.save_credentials(tmp_path / "c")), "events", "-f", "-o", "json"
        )
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            known = [json.loads(await process.stdout.readline())["event_id"] for _ in service.view.events]
            await service.until_watched()
            await service.stop()
            next_id = 1 + max(event.event_id for event in service.view.events)
            happened = fleet.event(next_id, 1, Severity.ERROR, "engine_failed", "again", node="gcp-1")
            await service.show(replace(service.view, events=(*service.view.events, happened)))
            await service.start()
            following = json.loads(await process.stdout.readline())
            process.send_signal(signal.SIGINT)
            rest, stderr = await process.communicate()
    assert known == [event.event_id for event in fleet.mixed().events]
    assert (following["event_id"], following["severity"]) == (next_id, "error")
    assert (process.returncode, rest) == (0, b"")
    assert b"Traceback" not in stderr
