"""One whole Stoker for the end-to-end tests: control plane, real Envoy, two nodes with a real vLLM engine each.

Made once for all of them, since a vLLM takes half a minute to start; each test leaves it as it found it.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.stack import Stack, make_model, running


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Two engines that take requests. At the end nothing of it may be left running."""
    with tempfile.TemporaryDirectory(prefix="stoker-", dir="/tmp") as directory:  # short: it holds sockets
        stack = Stack(Path(directory))
        with running(stack):
            source = make_model()
            stack.init()
            stack.start_daemon()
            for node in stack.nodes:
                stack.join(node)
                stack.start_agent(node)
            stack.wait_connected()
            for node in stack.nodes:
                stack.place(node, source)
            stack.wait_ready(len(stack.nodes))
            yield stack
            left = stack.stop()
    assert left == [], "processes that should have ended with the fleet"


@pytest.fixture(scope="session")
def key(stack: Stack) -> str:
    """An API key of a tenant."""
    return stack.create_key("acme")
