"""TLS towards engines and clients, through a real Envoy: who is let in and who is not."""

import asyncio
import ssl
from pathlib import Path

import httpx
import pytest

from controlplane.gateway.facts import ServerTls, UpstreamTls
from tests.fakes.engine_server import EngineTls, FakeEngine
from tests.integration.gateway.certificates import TestCa
from tests.integration.gateway.harness import CHAT, error_of, eventually, gateway

pytestmark = pytest.mark.envoy
ASK = {"model": "m", "messages": []}


async def test_engines_and_gateway_know_each_other(tmp_path: Path) -> None:
    ca = TestCa(tmp_path)
    own, own_key = ca.issue("gateway", "stoker://gateway")
    node, node_key = ca.issue("node-a", "stoker://node/node-a?id=00000000000000000000000000000001")
    operator, operator_key = ca.issue("ada", "stoker://operator/ada")
    upstream = UpstreamTls(own, own_key, ca.path)
    engine_tls = EngineTls(node, node_key, ca.path)
    with (
        FakeEngine("m", name="true", tls=engine_tls) as true,
        FakeEngine("m", name="operator", tls=EngineTls(operator, operator_key, ca.path)) as impostor,
        FakeEngine("m", name="plain") as plain,
    ):
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectError)):
            # Nobody without the gateway's certificate gets an answer.
            async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=str(ca.path))) as stranger:
                await stranger.post(f"https://127.0.0.1:{true.port}{CHAT}", json=ASK)
        async with gateway(insecure_upstreams=False, upstream_tls=upstream) as built:
            await built.start(true, node="node-a")
            async with built.client() as client:

                async def answer(engine: FakeEngine, claimed_node: str) -> httpx.Response:
                    built.serve(engine, node=claimed_node)
                    wanted = built.settings.xds_dir / "cds.json"
                    assert str(engine.port) in wanted.read_text()

                    async def taken() -> bool:
                        told = await asyncio.to_thread(built.supervisor._admin._call_blocking, "GET", "/clusters")
                        return told is not None and f"127.0.0.1:{engine.port}::".encode() in told[1]

                    await eventually(taken, "Envoy taking the engine")
                    return await client.post(CHAT, json=ASK)

                assert (await answer(true, "node-a")).status_code == 200
                assert (await answer(true, "")).status_code == 200
                for engine, claimed in ((true, "node-b"), (impostor, "node-a"), (impostor, ""), (plain, "node-a")):
                    if claimed == "node-b":
                        built.serve(impostor, node="node-a")  # so that the change of the node alone is seen
                    refused = await answer(engine, claimed)
                    assert refused.status_code == 503, (engine.app.name, claimed)
                    assert error_of(refused)["code"] == "engine_unreachable"
                    end = await built.ended(refused.headers["x-request-id"])
                    assert "TLS" in end.failure
                assert not impostor.seen
                assert not plain.seen


async def test_gateway_with_a_foreign_certificate_is_refused_by_engines(tmp_path: Path) -> None:
    ca, other = TestCa(tmp_path), TestCa(tmp_path, "other")
    foreign, foreign_key = other.issue("gateway", "stoker://gateway")
    node, node_key = ca.issue("node-a", "stoker://node/node-a?id=00000000000000000000000000000001")
    with FakeEngine("m", name="true", tls=EngineTls(node, node_key, ca.path)) as engine:
        async with gateway(insecure_upstreams=False, upstream_tls=UpstreamTls(foreign, foreign_key, ca.path)) as built:
            await built.start(engine, node="node-a")
            async with built.client() as client:
                assert (await client.post(CHAT, json=ASK)).status_code == 503
                assert not engine.seen
                # The certificate is renewed while Envoy runs: its files are replaced.
                own, own_key = ca.issue("renewed", "stoker://gateway")
                own_key.replace(foreign_key)
                own.replace(foreign)

                async def accepted() -> bool:
                    return (await client.post(CHAT, json=ASK)).status_code == 200

                await eventually(accepted, "the renewed certificate")


async def test_clients_by_tls(tmp_path: Path) -> None:
    ca = TestCa(tmp_path)
    certificate, key = ca.issue("server", "https://gateway.example")
    trust = ssl.create_default_context(cafile=str(ca.path))
    with FakeEngine("m", name="m-1") as engine:
        async with gateway(client_tls=ServerTls(certificate, key)) as built:
            await built.start(engine)
            async with built.client(verify=trust) as client:
                assert (await client.post(CHAT, json=ASK)).status_code == 200
            async with built.client(verify=ssl.create_default_context()) as stranger:
                with pytest.raises(httpx.ConnectError):
                    await stranger.get("/v1/models")
