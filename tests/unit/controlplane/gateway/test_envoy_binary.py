"""Reading what a binary says that it is."""

from pathlib import Path

import pytest

from controlplane.errors import ConfigurationError
from controlplane.gateway.envoy_binary import parse_version

HERE = Path("/opt/envoy")


def test_recent_versions_are_taken() -> None:
    assert parse_version("\n/opt/envoy  version: 9e55/1.40.0/Clean/RELEASE/BoringSSL\n", HERE) == "1.40.0"
    assert parse_version("/opt/envoy  version: 9e55/1.36.2-dev/Modified/DEBUG/BoringSSL", HERE) == "1.36.2"
    assert parse_version("/opt/envoy  version: 9e55/2.0.0/Clean/RELEASE/BoringSSL", HERE) == "2.0.0"


@pytest.mark.parametrize(
    "told", ["/opt/envoy  version: 9e55/1.35.9/Clean/RELEASE/BoringSSL", "GNU bash, version 5", ""]
)
def test_old_ones_and_strangers_are_named(told: str) -> None:
    with pytest.raises(ConfigurationError, match="/opt/envoy"):
        parse_version(told, HERE)
