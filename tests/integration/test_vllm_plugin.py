"""The plug-in and the agent over a real socket: requests go through as without it, and nothing that it says is lost."""

import asyncio
import json
import socket
import tempfile
from collections.abc import AsyncIterator
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from node_agent.session.records import RequestOutcome
from node_agent.vllm_plugins import wire
from node_agent.vllm_plugins.cache_salt import salt_of
from node_agent.vllm_plugins.middleware import RequestMiddleware
from node_agent.vllm_plugins.plugin import Plugin
from node_agent.vllm_plugins.sender import Sender
from node_agent.vllm_plugins.step_sums import added_up
from tests.fakes.plugged_engine import Answer, EngineClient, ListeningAgent, Server, ask, until

TEXT = "The ratio of work to bytes is called the arithmetic intensity. " * 10
CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": TEXT}]}
CONFIG = SimpleNamespace(
    cache_config=SimpleNamespace(block_size=16), model_config=SimpleNamespace(served_model_name=["m", "other"])
)


@pytest.fixture
async def agent() -> AsyncIterator[ListeningAgent]:
    with tempfile.TemporaryDirectory(prefix="s-", dir="/tmp") as folder:  # short: a socket lies in it
        agent = ListeningAgent(Path(folder) / "p")
        await agent.begin()
        yield agent
        await agent.end()


@pytest.fixture
async def plugin(agent: ListeningAgent) -> AsyncIterator[Plugin]:
    plugin = Plugin(str(agent.path))
    plugin.engine_is_up(CONFIG)
    yield plugin
    await asyncio.to_thread(plugin.close)


@pytest.fixture
def server() -> Server:
    return Server(EngineClient())


@pytest.fixture
def app(server: Server, plugin: Plugin) -> RequestMiddleware:
    return RequestMiddleware(server, plugin)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_request_is_salted_served_and_recorded(
    app: RequestMiddleware, server: Server, agent: ListeningAgent, stream: bool, pieces: int
) -> None:
    answer = await ask(app, server, {**CHAT, "stream": stream}, pieces=pieces)
    assert (answer.status, answer.body) == (200, b"abc")
    assert json.loads(server.bodies[0]) == {**CHAT, "stream": stream, "cache_salt": salt_of("acme")}
    assert server.lengths == [str(len(server.bodies[0]))]
    await until(lambda: agent.records)
    (record,) = agent.records.values()
    assert (record.request_id, record.tenant, record.model) == ("r1", "acme", "m")
    assert (record.outcome, record.status_code) == (RequestOutcome.COMPLETED, 200)
    assert (record.prompt_tokens, record.cached_tokens, record.output_tokens) == (len(TEXT), 2, 3)
    assert (record.queue_seconds, record.ttft_seconds, record.inter_token_seconds_mean) == (0.5, 1.5, 0.5)
    assert record.finished_at >= record.started_at


async def test_the_next_turns_prefix_is_noted_when_the_reply_is_there(
    app: RequestMiddleware, server: Server, agent: ListeningAgent
) -> None:
    """The reply ends the second chunk, which the prompt alone does not fill."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x" * 1000}]}
    await ask(app, server, body)
    await until(lambda: len(agent.notes) == 2)
    prompt, turn = agent.notes
    assert (prompt.tenant, prompt.model, prompt.cache_salt) == ("acme", "m", salt_of("acme"))
    assert len(prompt.chunks) == 1
    assert turn.chunks[: len(prompt.chunks)] == prompt.chunks


async def test_the_agents_own_request_is_left_alone(
    app: RequestMiddleware, server: Server, agent: ListeningAgent
) -> None:
    sent = json.dumps(CHAT).encode()
    await ask(app, server, sent, tenant="", headers=[(wire.CANARY_HEADER.encode(), b"1")])
    await ask(app, server, CHAT, request_id="after")
    await until(lambda: agent.records)
    assert server.bodies[0] == sent
    assert [record.request_id for record in agent.records.values()] == ["after"]


async def test_a_request_that_cannot_be_salted_reaches_no_engine(
    server: Server, plugin: Plugin, agent: ListeningAgent
) -> None:
    def salting(_body: bytes, _tenant: str) -> bytes:
        raise MemoryError

    refusing = RequestMiddleware(server, plugin, salting)
    answer = await ask(refusing, server, CHAT)
    assert (answer.status, server.bodies) == (503, [])
    assert json.loads(answer.body)["error"]["code"] == "tenant_not_isolated"
    await ask(refusing, server, CHAT, tenant="", request_id="unnamed")
    await until(lambda: len(agent.records) == 2 and agent.hellos[-1].problems)
    assert "cannot be given its tenant's cache_salt" in agent.hellos[-1].problems[0]
    outcomes = {record.request_id: (record.outcome, record.status_code) for record in agent.records.values()}
    assert outcomes == {"r1": (RequestOutcome.FAILED, 503), "unnamed": (RequestOutcome.COMPLETED, 200)}


@pytest.mark.parametrize("tenant", ["acme", ""])
async def test_a_client_cannot_choose_which_events_the_engine_tells(
    app: RequestMiddleware, server: Server, agent: ListeningAgent, tenant: str
) -> None:
    wanted = {**CHAT, "vllm_xargs": {"kv_cache_report_mode": "full", "session_id": "s"}}
    answer = await ask(app, server, wanted, tenant=tenant)
    salt = {"cache_salt": salt_of(tenant)} if tenant else {}
    assert answer.status == 200
    assert json.loads(server.bodies[0]) == {**CHAT, "vllm_xargs": {"session_id": "s"}, **salt}
    assert server.lengths == [str(len(server.bodies[0]))]


@pytest.mark.parametrize("body", [b"", b'{"model": "m', b"[]", b"\xff", b"{" * 5000])
async def test_a_malformed_body_is_the_servers_to_refuse(
    app: RequestMiddleware, server: Server, agent: ListeningAgent, body: bytes
) -> None:
    answer = await ask(app, server, body)
    assert (answer.status, answer.body, server.bodies) == (400, b"malformed", [body])
    await until(lambda: agent.records)
    (record,) = agent.records.values()
    assert (record.outcome, record.status_code, record.prompt_tokens) == (RequestOutcome.REFUSED, 400, None)


async def test_a_client_that_leaves_is_told_from_an_engine_that_breaks(
    app: RequestMiddleware, server: Server, agent: ListeningAgent
) -> None:
    await ask(app, server, {**CHAT, "stream": True}, request_id="left", leave_after=1)
    server.state.engine_client.fail = True
    with pytest.raises(RuntimeError, match="broke"):
        await ask(app, server, CHAT, request_id="broken")
    await until(lambda: len(agent.records) == 2)
    outcomes = {record.request_id: (record.outcome, record.status_code) for record in agent.records.values()}
    assert outcomes == {"left": (RequestOutcome.ABORTED, 200), "broken": (RequestOutcome.FAILED, 0)}


async def test_an_unknown_engine_client_is_told_and_costs_no_request(
    app: RequestMiddleware, server: Server, agent: ListeningAgent
) -> None:
    del server.state.engine_client.renderer
    answer = await ask(app, server, CHAT)
    await until(lambda: agent.records and agent.hellos[-1].problems)
    assert answer.body == b"abc"
    assert "engine client is not as expected" in agent.hellos[-1].problems[0]


async def test_a_stat_logger_that_vllm_did_not_load_is_told(agent: ListeningAgent, server: Server) -> None:
    plugin = Plugin(str(agent.path))
    try:
        answer = await ask(RequestMiddleware(server, plugin), server, CHAT)
        await until(lambda: agent.records and agent.hellos[-1].problems)
        assert (answer.body, agent.notes) == (b"abc", [])
    finally:
        await asyncio.to_thread(plugin.close)


async def test_outputs_of_another_shape_are_told_and_cost_no_request(
    app: RequestMiddleware, server: Server, agent: ListeningAgent
) -> None:
    async def generate(*_arguments: object, **_options: object) -> AsyncIterator[Any]:
        yield SimpleNamespace(outputs=[SimpleNamespace(text="new")])

    server.state.engine_client.generate = generate
    answer = await ask(app, server, CHAT)
    await until(lambda: agent.records and agent.hellos[-1].problems)
    (record,) = agent.records.values()
    assert (answer.body, record.outcome, record.prompt_tokens) == (b"new", RequestOutcome.COMPLETED, None)


async def test_no_record_is_lost_or_doubled_when_the_agent_dies_before_keeping_it(
    app: RequestMiddleware, server: Server, agent: ListeningAgent
) -> None:
    await ask(app, server, CHAT, request_id="0")
    await until(lambda: agent.records)
    agent.sturdy = False
    for number in (1, 2):
        await ask(app, server, CHAT, request_id=str(number))
    await until(lambda: agent.came[-1:] in ([2], [3]))
    await agent.end()
    await ask(app, server, CHAT, request_id="3")
    agent.sturdy = True
    agent.came.clear()
    await agent.begin()
    await until(lambda: len(agent.records) == 4)
    assert [record.request_id for record in agent.records.values()] == ["0", "1", "2", "3"]
    assert sorted(agent.came) == [2, 3, 4], "what was kept is not sent again"


async def test_what_changes_while_the_greeting_is_sent_is_told_in_another(agent: ListeningAgent) -> None:
    """The engine comes up just while the plug-in dials."""
    models = chain([""], repeat("m"))

    def hello() -> dict[str, Any]:
        model = next(models)
        if not model:
            sender.greet_again()
        return {
            "protocol": wire.PROTOCOL,
            "version": wire.PLUGIN_VERSION,
            "source": "5a",
            "pid": 1,
            "problems": [],
            "shape": {},
            "model": model,
            "schemes": [],
        }

    sender = Sender(str(agent.path), hello, lambda: added_up([]), pytest.fail)
    sender.start()
    try:
        await until(lambda: [hello.model for hello in agent.hellos] == ["", "m"])
    finally:
        await asyncio.to_thread(sender.close)


async def test_step_totals_come_by_themselves(plugin: Plugin, agent: ListeningAgent) -> None:
    sums = plugin.new_sums(0)
    sums.steps, sums.flops = 7, 1e12
    await until(lambda: any(steps.steps == 7 for steps in agent.steps))
    assert agent.hellos[-1].model == "m"
    assert agent.hellos[-1].shape["kv_block_tokens"] == 16


@pytest.mark.parametrize(
    "said",
    [
        b"\x00\xff\n",
        b'{"t":"steps"}\n',  # without a greeting
        b'{"t":"hello","protocol":1,"version":"1","source":"../x"}\n',
        b'{"t":"hello","protocol":1,"version":"1","source":"ab"}\n{"t":"steps","flops":-1}\n',
        (
            b'{"t":"hello","protocol":1,"version":"1","source":"ab"}\n{"t":"record","n":1,"id":"a","tenant":"t","model":"m",'
            b'"started":1e300,"finished":1,"outcome":"completed","status":200}\n'
        ),
        b'{"t":"hello","protocol":99,"version":"9"}\n',
        b"[" * 300_000 + b"\n",
        b"x" * 300_000,
    ],
)
async def test_garbage_closes_its_connection_and_no_other(
    app: RequestMiddleware, server: Server, agent: ListeningAgent, said: bytes
) -> None:
    await until(lambda: agent.hellos)
    reader, writer = await asyncio.open_unix_connection(agent.path)
    writer.write(said)
    await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert len(agent.troubles) == 1
    await ask(app, server, CHAT)
    await until(lambda: agent.records)


HELLO = b'{"t":"hello","protocol":1,"version":"1","source":"ab"}\n'


def record_line(number: int) -> bytes:
    fields = {"n": number, "id": "a", "tenant": "t", "model": "m", "started": 1, "finished": 2, "outcome": "completed"}
    return json.dumps({"t": "record", "status": 200, **fields}).encode() + b"\n"


async def test_records_are_kept_in_bunches_and_at_once_when_their_engine_is_gone(agent: ListeningAgent) -> None:
    await agent.end()
    agent.gather_seconds = 3600.0
    await agent.begin()
    reader, writer = await asyncio.open_unix_connection(agent.path)
    writer.write(HELLO + b"".join(record_line(number) for number in (1, 2, 3)))
    assert wire.WELCOME in (await reader.readline()).decode()
    await until(lambda: agent.hellos)
    assert agent.came == [], "gathered, and not acknowledged"
    writer.close()
    await until(lambda: agent.came)
    assert agent.came == [1, 2, 3]


async def test_more_records_than_memory_should_hold_are_kept_without_waiting_for_others(agent: ListeningAgent) -> None:
    await agent.end()
    agent.gather_seconds = 3600.0
    await agent.begin()
    reader, writer = await asyncio.open_unix_connection(agent.path)
    writer.write(HELLO + b"".join(record_line(number) for number in range(1, 4001)))
    await asyncio.wait_for(writer.drain(), 30)
    await reader.readline()
    kept = json.loads(await asyncio.wait_for(reader.readline(), 30))
    assert kept["n"] >= 2000
    writer.close()
    await until(lambda: len(agent.came) == 4000)
    assert agent.came == list(range(1, 4001))


async def test_an_agent_that_says_garbage_or_hangs_up_costs_no_request(agent: ListeningAgent, server: Server) -> None:
    path = agent.path.with_name("odd")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        plugin = Plugin(str(path))
        try:
            odd, _ = await asyncio.to_thread(listening.accept)
            odd.sendall(b"\xff{]\n")
            answer: Answer = await ask(RequestMiddleware(server, plugin), server, CHAT)
            odd.close()
            assert answer.body == b"abc"
        finally:
            await asyncio.to_thread(plugin.close)
