"""The daemon as a process on PostgreSQL, with a joined agent and the real gateway: what SQLite does by default."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from demo.processes import environment, tool
from demo.stack import Stack, running

pytestmark = [pytest.mark.postgres, pytest.mark.envoy]


@pytest.fixture
def stack(postgres_url: str) -> Iterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="stoker-", dir="/tmp") as directory:  # short: it holds sockets
        stack = Stack(Path(directory), settings={"STOKER_CONTROLPLANE_DATABASE__URL": postgres_url})
        with running(stack):
            stack.init()
            stack.start_daemon()
            yield stack
            assert stack.stop() == []


def test_nodes_keys_and_events_live_in_postgresql(stack: Stack) -> None:
    node = stack.nodes[0]
    stack.join(node)
    stack.start_agent(node)
    stack.wait_connected()
    key = stack.create_key("acme")
    assert httpx.get(f"{stack.base_url}/models", headers={"authorization": f"Bearer {key}"}).json()["data"] == []
    assert stack.stoker("status")["server"]["database"] == "postgresql"

    stack.daemon.kill()
    stack.watcher.live = False
    stack.daemon.start()
    stack.wait("operators are answered again", lambda: stack.watcher.live, (stack.daemon,), 30)
    stack.wait_connected()
    assert stack.stoker("status")["server"]["leader_epoch"] == 2
    assert [row["tenant"] for row in stack.stoker("key", "list")] == ["acme"]
    assert "node_connected" in {row["kind"] for row in stack.stoker("events")}


def test_a_second_daemon_on_the_same_database_is_refused(stack: Stack) -> None:
    second = subprocess.run(
        [*tool("controlplane"), "run", "--data-dir", str(stack.data_dir)],
        env=environment(stack.daemon.extra),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 6
    assert "another control plane" in second.stderr
    assert stack.stoker("status")["server"]["gateway_state"] == "serving"
