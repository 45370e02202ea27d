"""The steps that bring the demo's fleet up, told one by one. Called by `demo.check` and `demo.run`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from demo.stack import MODEL, Stack, make_model

TENANT = "demo"


class Steps:
    """Numbered lines of progress, each with how long it took."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._number = 0

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        self._number += 1
        print(f"[{self._number}/{self._total}] {what} …", flush=True)
        began = time.monotonic()
        yield
        print(f"      done in {time.monotonic() - began:.1f} s", flush=True)


def set_up(stack: Stack, steps: Steps) -> str:
    """From nothing to engines that take requests; the demo tenant's API key. Seven steps. Raises StepFailedError."""
    with steps.step("a tiny random-weight Llama with a tokenizer and a chat template"):
        source = make_model()
    with steps.step("control plane: database, certificate authority, first operator"):
        stack.init()
    with steps.step("control plane and gateway (Envoy) start"):
        stack.start_daemon()
    with steps.step(f"{len(stack.nodes)} nodes join, each with a one-time token"):
        for node in stack.nodes:
            stack.join(node)
    with steps.step("the nodes measure what their devices reach (roofline)"):
        for node in stack.nodes:
            stack.probe(node)
            stack.start_agent(node)
        stack.wait_connected()
    with steps.step(f"{MODEL} is placed on each node; vLLM starts (about half a minute)"):
        for node in stack.nodes:
            stack.place(node, source)
        stack.wait_ready(len(stack.nodes))
    with steps.step("an API key"):
        return stack.create_key(TENANT)
