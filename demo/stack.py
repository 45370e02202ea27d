"""A whole Stoker on this machine: a control plane with its gateway, and nodes that run real vLLM engines.

Called by `python -m demo` and by the end-to-end tests. Uses the programs as anybody would, by their command lines; all that it
makes lies in one directory, and nothing of it is left running after `stop`.
"""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from console.model.fleet_view import EngineState
from demo.processes import REPOSITORY, Child, StepFailedError, call, kill_left_over, tool
from demo.watching import Watcher

VLLM_PYTHON = REPOSITORY / ".venv-vllm" / "bin" / "python"
MODEL = "tiny-llama"
MODELS_DIR = REPOSITORY / ".cache" / "models"
START_SECONDS_MAX = 300.0
STOP_SECONDS_MAX = 60.0
POLL_SECONDS = 0.25

# What makes two engines fit on two cores and start in half a minute; a GPU would need none of it.
ENGINE_ARGS = (
    "--enforce-eager",
    "--dtype=float32",
    "--max-model-len=2048",
    "--block-size=32",
    "--kv-cache-memory-bytes=8M",
    "--max-num-seqs=16",
    "--max-num-batched-tokens=2048",
)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DemoNode:
    name: str
    provider: str
    region: str


NODES = (
    DemoNode("nimbus-1", "nimbus", "eu-north"),
    DemoNode("cumulus-1", "cumulus", "us-west"),
)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(item.getsockname()[1]) for item in sockets]
    for item in sockets:
        item.close()
    return ports


def make_model(name: str = MODEL) -> Path:
    """The tiny model's directory; made once."""
    if not VLLM_PYTHON.exists():
        raise StepFailedError("vLLM's environment is missing: run `make setup-vllm`")
    path = MODELS_DIR / name
    call([str(VLLM_PYTHON), "demo/tiny_model.py", str(path), "--name", name], "making the tiny model", seconds=300)
    return path


@dataclass
class Stack:
    """One control plane and some nodes under `root`, a short path (it holds Unix-domain sockets)."""

    root: Path
    nodes: tuple[DemoNode, ...] = NODES
    say: Say = lambda line: print(line, flush=True)
    sample_seconds: float = 1.0
    settings: dict[str, str] = field(default_factory=dict)  # further STOKER_CONTROLPLANE_* variables
    agent_settings: dict[str, dict[str, str]] = field(default_factory=dict)  # by node: further STOKER_AGENT_* variables

    def __post_init__(self) -> None:
        self.grpc_port, self.enrolment_port, self.gateway_port = free_ports(3)
        self.data_dir = self.root / "control-plane"
        self.logs = self.root / "logs"
        self.credentials = self.data_dir / "operators" / "admin"
        self.daemon = Child(
            "the control plane",
            [*tool("controlplane"), "run", "--data-dir", str(self.data_dir)],
            self.logs / "control-plane.log",
            self._daemon_environment(),
        )
        self.agents: dict[str, Child] = {}
        self.watcher = Watcher(self.credentials)

    @property
    def base_url(self) -> str:
        """Where clients send requests."""
        return f"http://127.0.0.1:{self.gateway_port}/v1"

    def _daemon_environment(self) -> dict[str, str]:
        return {
            "STOKER_DEMO": str(self.root),
            "STOKER_CONTROLPLANE_SERVER__HOST": "127.0.0.1",
            "STOKER_CONTROLPLANE_SERVER__PORT": str(self.grpc_port),
            "STOKER_CONTROLPLANE_SERVER__ENROLMENT_PORT": str(self.enrolment_port),
            "STOKER_CONTROLPLANE_GATEWAY__PORT": str(self.gateway_port),
            "STOKER_CONTROLPLANE_GATEWAY__DRAIN_SECONDS_MAX": "20",
            "STOKER_CONTROLPLANE_HISTORY__SAMPLE_INTERVAL_SECONDS": str(self.sample_seconds),
            "STOKER_CONTROLPLANE_HISTORY__FLUSH_SECONDS": "0.5",
            "STOKER_CONTROLPLANE_LOGS__FORMAT": "console",
            **self.settings,
        }

    # ---- the control plane

    def init(self) -> None:
        """Make the data directory: database, CA, first operator."""
        call(
            [*tool("controlplane"), "init", "--data-dir", str(self.data_dir), "--host", "127.0.0.1"],
            "initialising the control plane",
            self._daemon_environment(),
        )

    def start_daemon(self) -> None:
        """Start it and wait until it answers operators and clients."""
        self.daemon.start()
        self.watcher.start()
        self.wait("the control plane answers", self._daemon_answers, (self.daemon,), 60.0)

    def _daemon_answers(self) -> bool:
        server = self.watcher.view.server
        return self.watcher.live and server is not None and server.gateway_state == "serving"

    def stoker(self, *arguments: str) -> Any:
        """What `stoker ARGUMENTS -o json` answers, as the first operator."""
        return json.loads(self.stoker_text(*arguments, "-o", "json"))

    def stoker_text(self, *arguments: str) -> str:
        """What `stoker ARGUMENTS` prints, as the first operator."""
        extra = {"STOKER_CREDENTIALS": str(self.credentials)}
        return call([*tool("console"), *arguments], f"stoker {' '.join(arguments)}", extra)

    # ---- nodes

    def join(self, node: DemoNode) -> None:
        """Enrol the node with a token of its own."""
        token = self.root / f"{node.name}.token"
        token.write_text(self.stoker_text("node", "token", "--name", node.name))
        call(
            [
                *tool("node_agent"), "join", "--server", f"127.0.0.1:{self.enrolment_port}", "--token-file", str(token),
                "--name", node.name, "--provider", node.provider, "--region", node.region,
                "--advertise-host", "127.0.0.1", "--state-dir", str(self.state_dir(node)),
            ],
            f"joining {node.name}",
            self._agent_environment(node),
        )  # fmt: skip
        token.unlink()

    def state_dir(self, node: DemoNode) -> Path:
        return self.root / "nodes" / node.name

    def _agent_environment(self, node: DemoNode) -> dict[str, str]:
        first = 20_000 + (self.gateway_port * 7 + self.nodes.index(node) * 20) % 10_000
        return {
            "STOKER_DEMO": str(self.root),
            "STOKER_AGENT_SERVER__ADDRESS": f"127.0.0.1:{self.grpc_port}",
            "STOKER_AGENT_ENGINES__PYTHON": str(VLLM_PYTHON),
            "STOKER_AGENT_ENGINES__BIND_HOST": "127.0.0.1",
            "STOKER_AGENT_ENGINES__PORT_FIRST": str(first),
            "STOKER_AGENT_ENGINES__PORT_LAST": str(first + 19),
            "STOKER_AGENT_ENGINES__DRAIN_SECONDS_MAX": "20",
            "STOKER_AGENT_LOG__FORMAT": "console",
            **self.agent_settings.get(node.name, {}),
        }

    def probe(self, node: DemoNode) -> Any:
        """Measure what the node's devices reach; before engines run there."""
        arguments = ["probe", "-o", "json", "--state-dir", str(self.state_dir(node))]
        return json.loads(
            call([*tool("node_agent"), *arguments], f"probing {node.name}", self._agent_environment(node))
        )

    def start_agent(self, node: DemoNode) -> None:
        agent = Child(
            f"the agent of {node.name}",
            [*tool("node_agent"), "run", "--state-dir", str(self.state_dir(node))],
            self.logs / f"{node.name}.log",
            self._agent_environment(node),
        )
        self.agents[node.name] = agent
        agent.start()

    def wait_connected(self) -> None:
        def connected() -> bool:
            rows = self.watcher.view.nodes.values()
            return sum(row.connected for row in rows) == len(self.agents)

        self.wait("all nodes are connected", connected, (self.daemon, *self.agents.values()), 60.0)

    # ---- engines and requests

    def place(self, node: DemoNode, source: Path, model: str = MODEL, args: tuple[str, ...] = ENGINE_ARGS) -> None:
        self.stoker_text("place", model, "--node", node.name, "--source", str(source), "--", *args)

    def wait_ready(self, count: int) -> None:
        """Until so many engines take requests, telling each new stage of their start."""
        told: dict[str, str] = {}

        def ready() -> bool:
            rows = self.watcher.view.engines.values()
            for row in rows:
                stage = f"{row.state.value}: {row.stage}" if row.stage else row.state.value
                if told.get(row.engine_id) != stage:
                    told[row.engine_id] = stage
                    self.say(f"      {row.engine_id}: {stage}")
                if row.state is EngineState.FAILED:
                    raise StepFailedError(f"{row.engine_id} failed: {row.reason}\n" + "\n".join(row.log_tail))
            return sum(row.routable for row in rows) >= count

        self.wait(f"{count} engines take requests", ready, (self.daemon, *self.agents.values()), START_SECONDS_MAX)

    def create_key(self, tenant: str) -> str:
        """An API key for `tenant`."""
        return str(self.stoker("key", "create", "--tenant", tenant)["secret"])

    # ---- all of it

    def wait(
        self,
        what: str,
        condition: Callable[[], bool],
        alive: tuple[Child, ...],
        seconds: float,
    ) -> None:
        """Until `condition`, as long as these children live. Raises StepFailedError."""
        deadline = time.monotonic() + seconds
        while True:
            for child in alive:
                child.check()
            if condition():
                return
            if time.monotonic() > deadline:
                tails = "\n".join(f"--- {child.name}\n{child.tail()}" for child in alive)
                raise StepFailedError(f"waited {seconds:.0f} s in vain until {what}\n{tails}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> list[str]:
        """End everything, agents first; what had to be killed in the end (empty when all went well)."""
        self.watcher.stop()
        for agent in self.agents.values():
            if agent.process is not None and agent.process.poll() is None:
                agent.process.terminate()
        for agent in self.agents.values():
            agent.stop(STOP_SECONDS_MAX)
        self.daemon.stop(STOP_SECONDS_MAX)
        return kill_left_over(str(self.root))


@contextmanager
def running(stack: Stack) -> Iterator[Stack]:
    """The stack, stopped for certain when the block ends in whatever way."""
    try:
        yield stack
    finally:
        stack.stop()
