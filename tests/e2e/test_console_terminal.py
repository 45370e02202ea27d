"""The console in a real terminal (tmux, 120 by 40) over the real fleet: what it shows, how it follows, how it ends."""

import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from openai import OpenAI

from demo.processes import environment, tool
from demo.stack import MODEL, Stack

pytestmark = [pytest.mark.vllm, pytest.mark.envoy, pytest.mark.tmux, pytest.mark.timeout(600)]


class Terminal:
    """A terminal that nobody looks at, with the console in it."""

    def __init__(self, stack: Stack) -> None:
        self._socket = str(stack.root / "tmux.sock")
        command = [*tool("console"), "--credentials", str(stack.credentials), "console"]
        self._run("-f", "/dev/null", "new-session", "-d", "-s", "console", "-x", "120", "-y", "40", shlex.join(command))

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, *arguments], env=environment(), capture_output=True, text=True, check=False
        )
        return done.stdout

    def text(self) -> str:
        return self._run("capture-pane", "-p", "-t", "console")

    def type(self, *keys: str) -> None:
        self._run("send-keys", "-t", "console", *keys)

    @property
    def ended(self) -> bool:
        return "console" not in self._run("list-sessions")

    def close(self) -> None:
        self._run("kill-server")


@pytest.fixture
def terminal(stack: Stack) -> Iterator[Terminal]:
    made = Terminal(stack)
    yield made
    made.close()


def until(terminal: Terminal, what: str, holds: Callable[[str], bool], seconds: float = 20.0) -> str:
    deadline = time.monotonic() + seconds
    while not holds(text := terminal.text()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}; the screen:\n{text}"
        threading.Event().wait(0.1)
    return text


def test_an_operator_sees_the_fleet_follows_it_and_leaves(stack: Stack, key: str, terminal: Terminal) -> None:
    screen = until(terminal, "the fleet is shown", lambda text: "LIVE" in text and text.count(f"{MODEL}@") == 2)
    assert "serving" in screen
    for node in stack.nodes:
        assert node.name in screen
        assert node.region in screen

    client = OpenAI(base_url=stack.base_url, api_key=key, timeout=60)
    client.completions.create(model=MODEL, prompt="show me", max_tokens=200)
    until(terminal, "its time to first token is shown", lambda text: re.search(rf"{MODEL}@.* m?s ", text) is not None)

    engine_id = f"{MODEL}@{stack.nodes[0].name}"
    terminal.type(f":engine {engine_id}", "Enter")
    until(
        terminal,
        "the engine's screen is shown",
        lambda text: "KV cache" in text and "Latency" in text and engine_id in text,
    )

    stack.stoker_text("drain", engine_id, "--yes")
    until(terminal, "the drain is shown", lambda text: re.search(r"drain|stopp", text) is not None)
    stack.stoker_text("resume", engine_id)

    terminal.type("Escape")
    until(terminal, "the overview is back", lambda text: "What is wrong" in text)
    terminal.type("q")
    deadline = time.monotonic() + 10
    while not terminal.ended:
        assert time.monotonic() < deadline, terminal.text()
        threading.Event().wait(0.1)
    stack.wait_ready(len(stack.nodes))
