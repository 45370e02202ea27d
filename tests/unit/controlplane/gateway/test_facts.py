"""What the gateway refuses to be told."""

from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.errors import ConfigurationError, InvalidInputError
from controlplane.gateway.facts import GatewayEngine, GatewayModel, GatewayModels, GatewaySettings

GOOD = GatewaySettings(run_dir=Path("/run/x"), jwks_path=Path("/run/x/jwks.json"), insecure_upstreams=True)


@pytest.mark.parametrize("host", ["gpu.example", "", "10.0.0.1 ", '10.0.0.1"}', "169.254.0.1%eth0/x"])
def test_engines_are_named_by_address(host: str) -> None:
    with pytest.raises(InvalidInputError, match="not an IP address"):
        GatewayEngine("e", "m", host, 8000)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_ports_are_ports(port: int) -> None:
    with pytest.raises(InvalidInputError, match="port"):
        GatewayEngine("e", "m", "10.0.0.1", port)


def test_endpoints_are_written_as_envoy_writes_them() -> None:
    assert GatewayEngine("e", "m", "10.0.0.1", 80).endpoint == "10.0.0.1:80"
    assert GatewayEngine("e", "m", "fd00::1", 80).endpoint == "[fd00::1]:80"


@pytest.mark.parametrize("name", ['a"}', "a b", "%REQ(x)%", "", "../x", "a\n"])
def test_names_that_could_mean_something_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(InvalidInputError):
        GatewayModel(name)


def test_models_are_unique_and_hold_their_own_engines() -> None:
    with pytest.raises(InvalidInputError, match="twice"):
        GatewayModels((GatewayModel("m"), GatewayModel("m")))
    with pytest.raises(InvalidInputError, match="serves m"):
        GatewayModel("n", (GatewayEngine("e", "m", "10.0.0.1", 80),))
    assert GatewayModel("a/b").cluster != GatewayModel("a-b").cluster
    assert len(GatewayModel("x" * 192).cluster) < 70


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"insecure_upstreams": False}, "upstream_tls is missing"),
        ({"body_bytes_max": 10}, "body_bytes_max"),
        ({"concurrency": 0}, "concurrency"),
        ({"run_dir": Path("/") / ("x" * 100)}, "shorter run_dir"),
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        replace(GOOD, **change)  # type: ignore[arg-type]
