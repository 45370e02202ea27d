"""Logs: one line each, in the asked form, and never with a secret in it."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane import telemetry
from controlplane.identity import certificates, join_tokens
from controlplane.identity.api_keys import ApiKeySigner
from tests.support.clock import START

KEY = certificates.new_key()
SECRETS = {
    "join token": join_tokens.mint(b"ca").text,
    "API key": ApiKeySigner(KEY).mint("acme", None, START, "k"),
    "private key": certificates.key_pem(KEY).decode().split("\n")[1],
    "password": "hunter22",
}
TEXTS = {
    "join token": SECRETS["join token"],
    "API key": SECRETS["API key"],
    "private key": certificates.key_pem(KEY).decode(),
    "password": "postgresql://stoker:hunter22@db/stoker",
}


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    handlers, level = list(logging.root.handlers), logging.root.level
    before = structlog.get_config()
    yield io.StringIO()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    logging.captureWarnings(False)
    structlog.configure(**before)


def fail(text: str) -> None:
    raise ValueError(text)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_of_json(stream: io.StringIO) -> None:
    telemetry.configure("json", "info", stream=stream)
    structlog.get_logger("a.b").info("node_joined", node="gpu-1", gpus=8)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "node_joined", "node": "gpu-1", "gpus": 8, "level": "info", "logger": "a.b", "service": "controlplane",
    }  # fmt: skip


def test_libraries_go_the_same_way(stream: io.StringIO) -> None:
    telemetry.configure("json", "info", "other", stream)
    logging.getLogger("some.library").warning("%s is %d", "it", 3, extra={"node": "gpu-1"})
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["service"], line["node"]) == (
        "it is 3",
        "some.library",
        "other",
        "gpu-1",
    )


def test_the_level_changes_while_it_runs(stream: io.StringIO) -> None:
    telemetry.configure("json", "warning", stream=stream)
    log = structlog.get_logger("a")
    log.info("one")
    telemetry.set_level("debug")
    log.debug("two")
    logging.getLogger("apscheduler.executors").info("chatter")
    telemetry.set_level("error")
    log.warning("three")
    assert [line["event"] for line in lines(stream)] == ["two"]


def test_configuring_again_does_not_double_lines(stream: io.StringIO) -> None:
    for form in ("console", "json"):
        telemetry.configure(form, "info", stream=stream)
    structlog.get_logger("a").info("once")
    assert len(lines(stream)) == 1


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("kind", SECRETS)
def test_secrets_never_get_through(stream: io.StringIO, form: str, kind: str) -> None:
    telemetry.configure(form, "debug", stream=stream)
    text = TEXTS[kind]
    log = structlog.get_logger("a")
    log.info("x", value=text)
    log.info(f"with {text} in it")  # noqa: G004 - what somebody will do one day
    log.info("x", nested={"deep": [text, (text,)]}, raw=text.encode(), thing=ValueError(text))
    logging.getLogger("library").info("got %s", text)
    try:
        fail(f"cannot use {text}")
    except ValueError:
        log.exception("failed")
        logging.getLogger("library").exception("failed")
    assert SECRETS[kind] not in stream.getvalue()
    assert telemetry.HIDDEN in stream.getvalue()


@pytest.mark.parametrize("name", ["token", "api_key", "password", "Authorization", "client_secret", "join_token"])
def test_fields_that_are_called_like_secrets(stream: io.StringIO, name: str) -> None:
    telemetry.configure("json", "info", stream=stream)
    structlog.get_logger("a").info("x", **{name: "plain"}, token_id="t1", key_id="k1", prompt_tokens=5, tokens_max=6)
    (line,) = lines(stream)
    assert line[name] == telemetry.HIDDEN
    assert (line["token_id"], line["key_id"], line["prompt_tokens"], line["tokens_max"]) == ("t1", "k1", 5, 6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_nothing_drives_a_terminal(stream: io.StringIO, text: str) -> None:
    telemetry.configure("console", "info", stream=stream)
    stream.truncate(stream.seek(0))
    structlog.get_logger("a").info(text, value=text)
    (line,) = stream.getvalue().split("\n")[:-1]
    assert line.isprintable()


def test_an_exception_is_told_without_its_locals(stream: io.StringIO) -> None:
    telemetry.configure("json", "info", stream=stream)
    hidden = "not-for-" + "logs"
    try:
        fail(str(len(hidden)))
    except ValueError:
        structlog.get_logger("a").exception("failed")
    (line,) = lines(stream)
    assert "ValueError: 12" in line["exception"]
    assert "not-for-logs" not in stream.getvalue()
