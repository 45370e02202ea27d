"""SIGKILL under traffic, to an agent and to the control plane: clients notice nothing, and no record is lost or doubled."""

import itertools
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from openai import OpenAI

from demo.processes import left_over
from demo.stack import MODEL, DemoNode, Stack
from node_agent.clock import SystemClock
from node_agent.spool.payloads import SAMPLE
from node_agent.spool.record_spool import FILE_NAME

pytestmark = [pytest.mark.vllm, pytest.mark.envoy, pytest.mark.timeout(600)]

WORKERS = 4
REQUESTS_MAX = 400  # if all else hangs
AT_A_TIME = 20
PAUSE_SECONDS = 0.1
LONG_STREAMS = 8  # more than enough for each engine to have some
LONG_TOKENS = 1200  # so many that they outlast all that happens meanwhile
CLOCK = SystemClock()


@dataclass(frozen=True)
class Answer:
    """What a client was told of its request."""

    request_id: str
    prompt_tokens: int
    output_tokens: int


class Traffic:
    """Clients that ask one request after the other, streamed and not, until they are stopped."""

    def __init__(self, base_url: str, key: str) -> None:
        self.answers: list[Answer] = []
        self.failures: list[str] = []
        self._client = OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=60)
        self._numbers = itertools.count(1)
        self._long: list[threading.Thread] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work, name=f"client {n}") for n in range(WORKERS)]

    @contextmanager
    def running(self) -> Iterator["Traffic"]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in (*self._threads, *self._long):
                thread.join()
            self._client.close()

    def more(self, count: int = AT_A_TIME) -> None:
        """Until so many more have been answered."""
        wanted = len(self.answers) + count
        until(f"{count} more are answered", lambda: bool(self.failures) or len(self.answers) >= wanted, 120)
        assert self.failures == []

    def begin_long_streams(self) -> None:
        """Until each of them has begun to arrive."""
        begun = [threading.Event() for _ in range(LONG_STREAMS)]

        def stream(begins: threading.Event) -> None:
            self._ask(next(self._numbers), partial(self._streamed, begins=begins), LONG_TOKENS)

        self._long = [threading.Thread(target=stream, args=(begins,)) for begins in begun]
        for thread in self._long:
            thread.start()
        until("the long streams have begun", lambda: all(begins.is_set() for begins in begun))

    def end_long_streams(self) -> None:
        """Until all that was asked in them has arrived."""
        until("the long streams have ended", lambda: not any(thread.is_alive() for thread in self._long), 120)
        assert self.failures == []

    def _work(self) -> None:
        while not self._over.wait(PAUSE_SECONDS):
            number = next(self._numbers)
            if number > REQUESTS_MAX:
                return
            self._ask(number, self._streamed if number % 2 else self._plain, 10 + number % 40)

    def _ask(self, number: int, request: Callable[[int, int], Answer], tokens: int) -> None:
        try:
            self.answers.append(request(number, tokens))
        except Exception as error:  # noqa: BLE001 - whatever a client can see is a failure
            self.failures.append(f"request {number}: {error!r}")

    def _plain(self, number: int, tokens: int) -> Answer:
        raw = self._client.chat.completions.with_raw_response.create(
            model=MODEL, messages=said(number), max_tokens=tokens
        )
        usage = raw.parse().usage
        assert usage is not None
        return Answer(raw.headers["x-request-id"], usage.prompt_tokens, usage.completion_tokens)

    def _streamed(self, number: int, tokens: int, begins: threading.Event | None = None) -> Answer:
        stream = self._client.chat.completions.create(
            model=MODEL,
            messages=said(number),
            max_tokens=tokens,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"ignore_eos": True},
        )
        usage = None
        for chunk in stream:
            usage = chunk.usage or usage
            if begins is not None and chunk.choices:
                begins.set()
        assert usage is not None, "the stream ended early"
        return Answer(stream.response.headers["x-request-id"], usage.prompt_tokens, usage.completion_tokens)


def said(number: int) -> Any:
    return [{"role": "user", "content": f"{number}: how far is the water from the gauge's mark tonight?"}]


def until(what: str, condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = CLOCK.monotonic() + seconds
    while not condition():
        assert CLOCK.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        threading.Event().wait(0.1)


def read(database: Path, question: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute(question, values).fetchall()


def history(stack: Stack, question: str, *values: object) -> list[tuple[Any, ...]]:
    return read(stack.data_dir / "stoker.db", question, *values)


def recorded(stack: Stack, tenant: str) -> list[tuple[Any, ...]]:
    question = (
        "SELECT request_id, prompt_tokens, output_tokens, outcome, status_code FROM request_records WHERE tenant = ?"
    )
    return history(stack, question, tenant)


def expect_each_recorded_once(stack: Stack, traffic: Traffic, tenant: str) -> None:
    assert traffic.failures == []
    until("the last record has arrived", lambda: len(recorded(stack, tenant)) >= len(traffic.answers))
    for node in stack.nodes:  # what else might come again would come with what is still in the spools
        until(f"{node.name} has delivered all", lambda node=node: spooled(stack, node) == Counter())  # type: ignore[misc]
    expected = Counter((a.request_id, a.prompt_tokens, a.output_tokens, "completed", 200) for a in traffic.answers)
    assert Counter(recorded(stack, tenant)) == expected
    assert history(stack, "SELECT node, dropped_total FROM spool_positions WHERE dropped_total > 0") == []
    for row in stack.watcher.view.engines.values():
        assert row.inside is not None
        assert row.inside.records_dropped_total == 0


def spooled(stack: Stack, node: DemoNode) -> Counter[int]:
    """What the node keeps and has not delivered, by kind."""
    return Counter(kind for (kind,) in read(stack.state_dir(node) / FILE_NAME, "SELECT kind FROM records"))


def engine_processes(stack: Stack) -> set[tuple[int, float]]:
    """The API servers of the fleet's engines: pid and time of start."""
    found: set[tuple[int, float]] = set()
    for process in left_over(str(stack.root)):
        try:
            if "vllm.entrypoints.openai.api_server" in process.cmdline():
                found.add((process.pid, process.create_time()))
        except psutil.NoSuchProcess:
            continue
    return found


def instances(stack: Stack, tenant: str) -> set[tuple[str, str]]:
    return set(history(stack, "SELECT engine_id, instance_id FROM request_records WHERE tenant = ?", tenant))


def whole(stack: Stack) -> bool:
    """Operators see every node, and every engine as it is now."""
    view = stack.watcher.view
    return (
        stack.watcher.live
        and all(row.connected for row in view.nodes.values())
        and len(view.engines) == len(stack.nodes)
        and all(
            row.routable
            and row.trust.value == "fresh"
            and row.inside is not None
            and row.inside.state.value == "active"
            for row in view.engines.values()
        )
    )


def test_a_killed_agent_costs_no_request_no_engine_and_no_record(stack: Stack) -> None:
    tenant = "agent-killed"
    until("the fleet is whole", lambda: whole(stack))
    engines = engine_processes(stack)
    with Traffic(stack.base_url, stack.create_key(tenant)).running() as traffic:
        traffic.more()
        traffic.begin_long_streams()
        until(
            "operators see them",
            lambda: sum(row.inflight for row in stack.watcher.view.engines.values()) >= LONG_STREAMS // 2,
        )
        node = max(stack.watcher.view.engines.values(), key=lambda row: row.inflight).node  # most has to be kept there
        agent = stack.agents[node]
        agent.kill()
        killed_at = CLOCK.now()
        until("operators see it gone", lambda: not stack.watcher.view.nodes[node].connected)
        traffic.end_long_streams()
        traffic.more()
        began_at = CLOCK.now()
        agent.start()
        until("the engine is adopted again", lambda: whole(stack), 60)
        traffic.more()
    expect_each_recorded_once(stack, traffic, tenant)
    meanwhile = history(
        stack,
        "SELECT request_id FROM request_records WHERE tenant = ? AND node = ? AND finished_at > ? AND finished_at < ?",
        *(tenant, node, f"{killed_at:%Y-%m-%d %H:%M:%S.%f}", f"{began_at:%Y-%m-%d %H:%M:%S.%f}"),
    )
    assert meanwhile, "the engine without an agent finished nothing, so nothing could be lost"
    assert engine_processes(stack) == engines
    assert len(instances(stack, tenant)) == len(stack.nodes), "an engine has been started anew"


def test_what_was_while_the_control_plane_was_killed_arrives_once(stack: Stack) -> None:
    tenant = "control-plane-killed"
    until("the fleet is whole", lambda: whole(stack))
    engines = engine_processes(stack)
    with Traffic(stack.base_url, stack.create_key(tenant)).running() as traffic:
        traffic.more()
        traffic.begin_long_streams()
        stack.daemon.kill()
        killed_at = CLOCK.now()
        traffic.end_long_streams()
        traffic.more()
        for node in stack.nodes:
            until("each node has kept a sample", lambda node=node: spooled(stack, node)[SAMPLE] > 0)  # type: ignore[misc]
        stack.watcher.live = False
        began_at = CLOCK.now()
        stack.daemon.start()
        until("operators see the fleet as it is", lambda: whole(stack), 60)
        traffic.more()
    expect_each_recorded_once(stack, traffic, tenant)
    filled = history(
        stack,
        "SELECT engine_id, COUNT(*) FROM engine_samples WHERE sampled_at > ? AND sampled_at < ? GROUP BY engine_id",
        *(f"{at:%Y-%m-%d %H:%M:%S.%f}" for at in (killed_at, began_at)),
    )
    assert {engine_id for engine_id, _ in filled} == set(stack.watcher.view.engines)
    assert engine_processes(stack) == engines
