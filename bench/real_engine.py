"""A real vLLM engine for the gateway's measurement: one node of the demo, reached straight and through the gateway.

Called by `bench.gateway --vllm`. Straight means over the same mutual TLS that the gateway speaks, as the node's own agent
does; so the difference is the gateway, its decision and the second hop, not the encryption.
"""

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.stack import NODES, Stack, make_model, running


@dataclass(frozen=True, slots=True)
class RealEngine:
    direct_url: str
    direct_tls: ssl.SSLContext
    gateway_url: str
    key: str


@contextmanager
def real_engine() -> Iterator[RealEngine]:
    """Everything is started before the block and ended after it."""
    with tempfile.TemporaryDirectory(prefix="stoker-", dir="/tmp") as directory:
        stack = Stack(Path(directory), nodes=NODES[:1], sample_seconds=10.0)
        with running(stack):
            node, source = stack.nodes[0], make_model()
            stack.init()
            stack.start_daemon()
            stack.join(node)
            stack.start_agent(node)
            stack.wait_connected()
            stack.place(node, source)
            stack.wait_ready(1)
            endpoint = next(iter(stack.watcher.view.engines.values())).endpoint
            identity = stack.state_dir(node) / "identity"
            tls = ssl.create_default_context(cafile=identity / "ca.pem")
            tls.load_cert_chain(identity / "scraper.pem")
            key = stack.create_key("bench")
            stack.watcher.stop()
            yield RealEngine(f"https://{endpoint}", tls, stack.base_url.removesuffix("/v1"), key)
