"""The metrics of a real daemon process, scraped as Prometheus does."""

import signal
import socket
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.controlplane.test_daemon import configure, envoys, finished, running, spawn

pytestmark = pytest.mark.envoy


async def initialised(directory: Path, port: int) -> Path:
    """A data directory whose settings name this port for metrics."""
    code, said = await finished(await spawn("init", "--data-dir", str(directory)))
    assert code == 0, said
    configure(directory)
    settings = directory / "controlplane.toml"
    settings.write_text(f"{settings.read_text()}\n[metrics]\nport = {port}\n")
    return directory


async def test_a_daemon_is_scraped(tmp_path: Path) -> None:
    data = await initialised(tmp_path / "data", 0)
    async with running(data) as daemon:
        ready = await daemon.said("ready")
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{ready['metrics']}/metrics")
        told = {
            sample.name: sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }
        assert told["stoker_gateway_up"] == 1
        assert told["stoker_database_up"] == 1
        assert told["stoker_controlplane_leader_epoch"] == 1
        assert told["process_cpu_seconds_total"] > 0
        daemon.process.send_signal(signal.SIGTERM)
        assert await daemon.ended() == 0
        assert not [line for line in daemon.noise if "Traceback" in line], daemon.noise


async def test_a_port_that_was_set_and_is_taken_is_told_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        data = await initialised(tmp_path / "data", port)
        code, said = await finished(await spawn("run", "--data-dir", str(data)))
    assert code == 6, said
    assert f"cannot listen on 127.0.0.1:{port} for metrics" in said
    assert "Traceback" not in said
    assert envoys(data) == []
