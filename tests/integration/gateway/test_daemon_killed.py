"""A daemon in a process of its own is killed with SIGKILL in the middle of an answer."""

import asyncio
import multiprocessing
import threading
from multiprocessing.synchronize import Event

import pytest

from controlplane.gateway.endpoint_files import XdsFiles
from controlplane.gateway.facts import GatewayEngine, GatewayModels, GatewaySettings
from tests.fakes.engine_server import FakeEngine
from tests.integration.gateway.harness import CHAT, Gateway, SigningKey, eventually, gateway

pytestmark = pytest.mark.envoy
ASK = {"model": "m", "messages": []}


def _daemon(settings: GatewaySettings, engine_port: int, ready: Event) -> None:
    async def live() -> None:
        built = Gateway(settings, SigningKey())
        built.files = XdsFiles(settings)
        await built.start_daemon()
        built.files.apply(GatewayModels.of((GatewayEngine("m-1", "m", "127.0.0.1", engine_port),)))
        await built.supervisor.start()
        await eventually(built.reaches_decision, "Envoy seeing the decision service")
        ready.set()
        await asyncio.Event().wait()

    asyncio.run(live())


async def test_streams_end_whole_and_envoy_is_adopted() -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    with FakeEngine("m", name="m-1") as engine:
        engine.faults.gate = threading.Event()
        async with gateway() as built:
            daemon = context.Process(target=_daemon, args=(built.settings, engine.port, ready))
            daemon.start()
            try:
                assert await asyncio.to_thread(ready.wait, 30)
                async with built.client() as client:
                    ask = {**ASK, "stream": True, "max_tokens": 10}
                    async with client.stream("POST", CHAT, json=ask) as response:
                        lines = (line async for line in response.aiter_lines() if line)
                        first = [await anext(lines)]
                        daemon.kill()
                        await asyncio.to_thread(daemon.join, 10)
                        assert daemon.exitcode == -9
                        engine.faults.gate.set()
                        rest = [line async for line in lines]
                    assert len(first + rest) == 11
                    assert (await client.post(CHAT, json=ASK)).status_code == 200
                    assert (await client.get("/v1/models")).json()["data"][0]["id"] == "m"
                    await built.start_daemon()  # finds the sockets that the dead one left behind
                    await built.supervisor.start()
                    assert built.supervisor.status.adopted
                    await eventually(built.reaches_decision, "Envoy seeing the new daemon")
                    done = await client.post(CHAT, json=ASK)
                    assert built.asked
                    assert (await built.ended(done.headers["x-request-id"])).status == 200
            finally:
                daemon.kill()
                daemon.join(10)
