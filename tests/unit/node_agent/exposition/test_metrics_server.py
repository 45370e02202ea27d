"""The agent's HTTP server for metrics: what it answers, and what it survives."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx

from node_agent.exposition.metrics_server import MetricsServer
from node_agent.tasks import TaskScope


def make(accept: str) -> tuple[str, bytes]:
    if accept == "break":
        raise ValueError("a figure that cannot be told")
    return "text/plain", f"accepts {accept}\n".encode()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - it looks at plain state
            await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(server: MetricsServer) -> AsyncIterator[str]:
    async with TaskScope("test") as scope:
        scope.spawn(server.run(), name="metrics")
        await until(lambda: server.bound_port is not None)
        yield f"http://127.0.0.1:{server.bound_port}"


async def test_it_answers_what_is_asked() -> None:
    async with serving(MetricsServer(make, "127.0.0.1", 0)) as url, httpx.AsyncClient() as client:
        told = await client.get(f"{url}/metrics", headers={"accept": "x"})
        assert (told.status_code, told.text) == (200, "accepts x\n")
        assert (await client.head(f"{url}/metrics")).status_code == 200
        assert (await client.get(f"{url}/")).status_code == 404
        assert (await client.post(f"{url}/metrics")).status_code == 405
        assert (await client.get(f"{url}/metrics", headers={"accept": "break"})).status_code == 500
        assert (await client.get(f"{url}/metrics?x=1", headers={"accept": "y"})).text == "accepts y\n"


async def test_nonsense_ends_its_own_connection_alone() -> None:
    async with serving(MetricsServer(make, "127.0.0.1", 0)) as url:
        port = int(url.rpartition(":")[2])
        for nonsense in (b"\x16\x03\x01\x02\x00 hello\r\n\r\n", b"GET /" + b"a" * 20_000, b""):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(nonsense)
            writer.write_eof()
            async with asyncio.timeout(20):
                assert b"200" not in await reader.read()
            writer.close()
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{url}/metrics")).status_code == 200


async def test_a_port_that_is_taken_is_told_once_and_tried_again() -> None:
    troubles: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        server = MetricsServer(make, "127.0.0.1", port, on_trouble=troubles.append, retry_seconds=0.01)
        async with TaskScope("test") as scope:
            scope.spawn(server.run(), name="metrics")
            await until(lambda: bool(troubles))
            holder.close()
            await until(lambda: server.bound_port is not None)
    [told] = troubles
    assert f"127.0.0.1:{port}" in told
