"""A node never gets the control plane's own name."""

import pytest

from controlplane.errors import InvalidInputError
from controlplane.identity.hosts import checked_node_hosts


def test_a_nodes_own_hosts() -> None:
    assert checked_node_hosts(["GPU-1.Example", "127.0.0.1", "localhost"]) == (
        "gpu-1.example",
        "127.0.0.1",
        "localhost",
    )


@pytest.mark.parametrize(
    "name", ["stoker-controlplane", "Stoker-ControlPlane", "stoker-controlplane.", " stoker-controlplane"]
)
def test_the_control_planes_name_in_any_spelling(name: str) -> None:
    with pytest.raises(InvalidInputError, match="control plane's name"):
        checked_node_hosts(["gpu-1", name])
