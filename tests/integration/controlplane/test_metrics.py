"""The daemon's metrics over its real HTTP server, of a fleet that real sessions tell of."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from controlplane.bootstrap.metrics_wiring import Metrics
from controlplane.errors import AlreadyRunningError
from controlplane.exposition.metrics_app import MetricsApp
from controlplane.exposition.metrics_server import MetricsServer, MetricsTls
from controlplane.proto.stoker.v1 import agent_pb2, fleet_pb2
from controlplane.runtime.tasks import TaskScope
from controlplane.settings import MetricsSettings
from tests.support.fleet import placed
from tests.support.served import AgentStream, Served, until

PARSERS = {"": text_string_to_metric_families, "application/openmetrics-text": openmetrics_families}


@asynccontextmanager
async def serving(server: MetricsServer) -> AsyncIterator[str]:
    server.bind()
    tasks = TaskScope()
    tasks.spawn("metrics", server.run())
    try:
        yield server.address
    finally:
        await tasks.close()


@pytest.fixture
async def url(plane: Served) -> str:
    """The page of the plane, at a free port."""
    metrics = Metrics(MetricsSettings(port=0), plane.parts.metrics.sources)
    server = metrics.start()
    assert server is not None
    plane.tasks.spawn("metrics", server.run())
    return f"{metrics.address}/metrics"


async def scraped(url: str, accept: str = "") -> dict[str, float]:
    """Sums by name."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(url, headers={"accept": accept})
    assert answer.status_code == 200
    sums: dict[str, float] = {}
    for family in PARSERS[accept](answer.text):  # type: ignore[no-untyped-call]
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


def engine(tokens: int, instance_id: str) -> fleet_pb2.EngineStatus:
    return fleet_pb2.EngineStatus(
        engine_id="llama@gcp-1",
        generation=1,
        instance_id=instance_id,
        model="llama",
        state=fleet_pb2.ENGINE_STATE_READY,
        gauges=fleet_pb2.EngineGauges(kv_capacity_tokens=1000, kv_used_tokens=250, running_count=2, waiting_count=1),
        counters=fleet_pb2.EngineCounters(generation_tokens_total=tokens),
    )


@pytest.mark.parametrize("accept", PARSERS)
async def test_a_fleet_is_told_and_its_counters_survive_an_engines_restart(
    plane: Served, url: str, accept: str
) -> None:
    await plane.enrol(placements=(placed(),))
    stream = AgentStream(plane.channel(plane.node()))
    await stream.greet()
    seen = []
    for sequence, (tokens, instance) in enumerate(((100, "i1"), (140, "i1"), (3, "i2"), (10, "i2")), 1):
        await stream.say(report=agent_pb2.Report(sequence=sequence, engines=[engine(tokens, instance)]))

        def told(tokens: int = tokens) -> bool:
            known = plane.snapshot.engines.get("llama@gcp-1")
            return known is not None and known.report.counters.generation_tokens == tokens

        await until(told, "the report is applied")
        seen.append((await scraped(url, accept))["stoker_generated_tokens_total"])
    sums = await scraped(url, accept)
    assert seen == [0, 40, 43, 50]
    assert sums["stoker_engine_restarts_total"] == 1
    assert (sums["stoker_kv_used_tokens"], sums["stoker_kv_capacity_tokens"]) == (250, 1000)
    assert sums["stoker_agent_sessions"] == 1
    assert sums["stoker_agent_reports_total"] == 4
    assert sums["stoker_database_up"] == 1
    assert sums["process_resident_memory_bytes"] > 0


async def test_only_the_page_is_served_and_only_read(url: str) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.get(url.removesuffix("/metrics"))).status_code == 404
        assert (await client.post(url)).status_code == 405
        assert (await client.head(url)).text == ""


async def test_a_taken_port_stops_only_who_asked_for_it(plane: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(AlreadyRunningError, match=r"for metrics.*under \[metrics\]"):
            Metrics(MetricsSettings(port=port), plane.parts.metrics.sources).start()
        default = MetricsSettings().model_copy(update={"port": port})
        default.model_fields_set.clear()
        assert Metrics(default, plane.parts.metrics.sources).start() is None
    assert Metrics(MetricsSettings(enabled=False), plane.parts.metrics.sources).start() is None


async def test_over_tls_only_a_certificate_of_the_named_ca_is_answered(plane: Served, tmp_path: Path) -> None:
    own = plane.authority.server_credentials((), plane.snapshot.at)
    client = plane.node()
    (tmp_path / "client.pem").write_bytes(client.key + client.certificate)

    async def make(_: str) -> tuple[str, bytes]:
        return "text/plain", b"yes"

    tls = MetricsTls(own.certificate, own.key, plane.authority.ca_file)
    async with serving(MetricsServer(MetricsApp(make), "127.0.0.1", 0, tls)) as address:
        context = ssl.create_default_context(cafile=str(plane.authority.ca_file))
        context.check_hostname = False
        async with httpx.AsyncClient(verify=context) as stranger:
            with pytest.raises(httpx.HTTPError):
                await stranger.get(f"{address}/metrics")
        context.load_cert_chain(tmp_path / "client.pem")
        async with httpx.AsyncClient(verify=context) as known:
            assert (await known.get(f"{address}/metrics")).text == "yes"
