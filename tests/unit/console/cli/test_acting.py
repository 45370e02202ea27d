"""The commands that change something: what they send, when they ask, and how they fail."""

import json
from pathlib import Path

import grpc
import pytest

from console.settings import load_credentials
from tests.fakes.operator_service import FakeOperatorService
from tests.unit.console.cli.conftest import Stoker

PLACEMENT = "llama-3-70b@gcp-2"


async def test_place_passes_everything_on(service: FakeOperatorService, run: Stoker) -> None:
    words = "place m --node n --source /w --device cuda:0 --device cuda:1 --deployment d --dry-run -- --max-len 99 -x"
    result = await run(*words.split())
    request = service.requests("Place")[0]
    assert result.exit_code == 0
    assert (request.model, request.node, request.source, request.deployment) == ("m", "n", "/w", "d")
    assert (list(request.device_ids), request.dry_run) == (["cuda:0", "cuda:1"], True)
    assert list(request.engine_args) == ["--max-len", "99", "-x"]
    assert result.stdout == "Run m on n.\n"
    assert "nothing was changed" in result.stderr


async def test_actions_as_json(run: Stoker) -> None:
    result = await run("drain", PLACEMENT, "--deadline", "5m", "--reason", "fan", "-o", "json")
    expected = {"steps": [f"Drain placement {PLACEMENT}."], "placement_ids": [PLACEMENT], "changed": True}
    assert json.loads(result.stdout) == {**expected, "dry_run": False}


async def test_drain_and_resume(service: FakeOperatorService, run: Stoker) -> None:
    assert (await run("drain", PLACEMENT, "--deadline", "1m30s", "--reason", "fan")).exit_code == 0
    assert (await run("resume", "--node", "aws-2")).exit_code == 0
    drained, resumed = service.requests("Drain")[0], service.requests("Resume")[0]
    assert (drained.placement_id, drained.drain_seconds_max, drained.reason) == (PLACEMENT, 90.0, "fan")
    assert (resumed.node, resumed.placement_id) == ("aws-2", "")
    for words in (("drain",), ("drain", PLACEMENT, "--node", "aws-2"), ("resume",)):
        assert (await run(*words)).exit_code == 2


DESTRUCTIVE = {
    "remove": ("Remove", ("remove", PLACEMENT)),
    "drain a node": ("Drain", ("drain", "--node", "aws-1")),
    "forget a node": ("ForgetNode", ("node", "forget", "aws-1")),
    "revoke a key": ("RevokeKey", ("key", "revoke", "key-1")),
}


@pytest.fixture
async def with_key(run: Stoker) -> None:
    await run("key", "create", "--tenant", "acme", "--note", "for tests")


@pytest.mark.usefixtures("with_key")
@pytest.mark.parametrize("what", DESTRUCTIVE)
async def test_without_a_terminal_nothing_is_destroyed(service: FakeOperatorService, run: Stoker, what: str) -> None:
    method, words = DESTRUCTIVE[what]
    result = await run(*words)
    assert (result.exit_code, service.requests(method)) == (2, [])
    assert "--yes" in result.stderr
    assert (await run(*words, "--yes")).exit_code == 0
    assert len(service.requests(method)) == 1


@pytest.mark.usefixtures("with_key", "terminal")
@pytest.mark.parametrize("what", DESTRUCTIVE)
async def test_on_a_terminal_the_steps_are_shown_first(service: FakeOperatorService, run: Stoker, what: str) -> None:
    method, words = DESTRUCTIVE[what]
    refused = await run(*words, answers="n\n")
    assert refused.exit_code == 1
    assert "  1. " in refused.stderr
    assert "nothing was changed" in refused.stderr
    assert all(request.dry_run for request in service.requests(method))
    service.calls.clear()
    assert (await run(*words, answers="y\n")).exit_code == 0
    assert len([request for request in service.requests(method) if not getattr(request, "dry_run", False)]) == 1


@pytest.mark.usefixtures("terminal")
async def test_a_key_that_is_not_there_is_not_asked_about(service: FakeOperatorService, run: Stoker) -> None:
    assert (await run("key", "revoke", "nope")).exit_code == 3
    assert service.requests("RevokeKey") == []


async def test_a_secret_is_all_that_goes_to_standard_output(service: FakeOperatorService, run: Stoker) -> None:
    made = await run("key", "create", "--tenant", "acme", "--lifetime", "90d", "--note", "n")
    assert made.stdout == "a-secret\n"
    assert "key-1" in made.stderr
    assert service.requests("CreateKey")[0].lifetime_seconds == 90 * 86400
    token = await run("node", "token", "--name", "aws-1", "--lifetime", "30m", "--replace")
    request = service.requests("CreateJoinToken")[0]
    assert token.stdout == "a-join-token\n"
    assert (request.node_name, request.lifetime_seconds, request.replace) == ("aws-1", 1800, True)
    assert json.loads((await run("node", "token", "-o", "json")).stdout)["token"] == "a-join-token"
    assert service.requests("CreateJoinToken")[1].lifetime_seconds == 0, "the control plane's setting"
    assert (await run("node", "token", "--replace")).exit_code == 2


async def test_a_new_operator_can_work_at_once(service: FakeOperatorService, run: Stoker, tmp_path: Path) -> None:
    out = tmp_path / "bo"
    result = await run("operator", "create", "bo", "--role", "viewer", "--out", str(out))
    assert result.exit_code == 0, result.output
    made = load_credentials(out, {})
    assert (made.name, made.server, made.warnings) == ("bo", service.credentials.server, ())
    assert b"PRIVATE KEY" not in service.requests("CreateOperator")[0].certificate_request_pem
    assert (await run("--credentials", str(out), "status")).exit_code == 0
    again = await run("operator", "create", "bo", "--role", "viewer", "--out", str(out))
    assert (again.exit_code, len(service.requests("CreateOperator"))) == (1, 1)


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        (grpc.StatusCode.NOT_FOUND, 3),
        (grpc.StatusCode.INVALID_ARGUMENT, 3),
        (grpc.StatusCode.PERMISSION_DENIED, 4),
        (grpc.StatusCode.UNAUTHENTICATED, 4),
        (grpc.StatusCode.UNAVAILABLE, 5),
        (grpc.StatusCode.FAILED_PRECONDITION, 1),
        (grpc.StatusCode.INTERNAL, 1),
    ],
)
async def test_exit_codes(service: FakeOperatorService, run: Stoker, code: grpc.StatusCode, exit_code: int) -> None:
    service.fail("Drain", code, "the \x1b[31mreason\nin two lines")
    result = await run("drain", PLACEMENT)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert result.stderr.startswith("stoker: ")
    assert "in two lines" in result.stderr
    assert "\x1b" not in result.stderr
    assert result.stderr.count("\n") == 1


async def test_a_viewer_is_refused(service: FakeOperatorService, run: Stoker) -> None:
    service.role = "viewer"
    assert (await run("engines")).exit_code == 0
    result = await run("drain", PLACEMENT)
    assert (result.exit_code, "needs the role operator" in result.stderr) == (4, True)


async def test_nobody_answers(service: FakeOperatorService, run: Stoker) -> None:
    await service.stop()
    result = await run("--timeout", "2", "status")
    assert (result.exit_code, "cannot be reached" in result.stderr) == (5, True)


async def test_what_is_typed_wrong(run: Stoker) -> None:
    for words in ("drain x --deadline 5x", "events --since yesterday", "key create", "history engines --bucket ten"):
        result = await run(*words.split())
        assert result.exit_code == 2, words
        assert result.stdout == ""


async def test_a_restart_replaces_arguments_only_when_some_are_given(service: FakeOperatorService, run: Stoker) -> None:
    assert (await run("restart", PLACEMENT, "--yes", "--", "--max-model-len", "9")).exit_code == 0
    assert (await run("restart", PLACEMENT, "--yes", "--reason", "leak")).exit_code == 0
    assert (await run("restart", PLACEMENT, "--yes", "--no-args")).exit_code == 0
    assert (await run("restart", PLACEMENT, "--yes", "--no-args", "--", "-x")).exit_code == 2
    asked = [(request.replace_args, list(request.engine_args)) for request in service.requests("Restart")]
    assert asked == [(True, ["--max-model-len", "9"]), (False, []), (True, [])]
    assert (await run("restart", "nobody", "--yes")).exit_code == 3


async def test_adapters_probes_and_intervals_are_passed_on(service: FakeOperatorService, run: Stoker) -> None:
    assert (await run("adapter", "load", PLACEMENT, "law", "/lora/law")).exit_code == 0
    assert (await run("adapter", "unload", PLACEMENT, "law", "--yes")).exit_code == 0
    assert (await run("adapter", "unload", PLACEMENT, "law")).exit_code == 2
    assert (await run("probe", "aws-1", "--force", "--yes")).exit_code == 0
    assert (await run("report-interval", "aws-1", "0.5", "--dry-run")).exit_code == 0
    assert (await run("report-interval", "aws-1", "61")).exit_code == 2
    loaded, probed = service.requests("LoadAdapter")[0], service.requests("ProbeNode")[0]
    assert (loaded.name, loaded.source) == ("law", "/lora/law")
    assert (probed.node, probed.force) == ("aws-1", True)
    assert [(request.seconds, request.dry_run) for request in service.requests("SetReportInterval")] == [(0.5, True)]


async def test_a_log_is_shown_without_anything_that_steers_the_terminal(
    service: FakeOperatorService, run: Stoker
) -> None:
    service.role = "viewer"
    service.logs[PLACEMENT] = ["one", "two \x1b[31mred", "three"]
    shown = await run("logs", PLACEMENT, "-n", "2")
    assert (shown.exit_code, len(shown.stdout.splitlines()), "\x1b" in shown.stdout) == (0, 2, False)
    told = json.loads((await run("logs", PLACEMENT, "-o", "json")).stdout)
    assert (told["engine_id"], len(told["lines"])) == (PLACEMENT, 3)
    assert (await run("logs", "nobody")).exit_code == 3
