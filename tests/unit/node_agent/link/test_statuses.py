"""gRPC statuses in Stoker's words."""

import grpc
import pytest

from node_agent.link.problems import ControlPlaneUnreachableError, LinkError, RefusedByControlPlaneError
from node_agent.link.statuses import explain


def explained(code: grpc.StatusCode, details: str) -> LinkError:
    return explain(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details), "cp:7443")


def test_the_other_port_is_told_from_another_release() -> None:
    other_port = explained(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
    assert "the control plane's other port" in str(other_port)
    other_release = explained(grpc.StatusCode.UNIMPLEMENTED, "this agent is too old: upgrade it")
    assert str(other_release) == "refused by the control plane: this agent is too old: upgrade it"
    assert isinstance(other_release, RefusedByControlPlaneError)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, RefusedByControlPlaneError),
        (grpc.StatusCode.UNAVAILABLE, ControlPlaneUnreachableError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ControlPlaneUnreachableError),
        (grpc.StatusCode.INTERNAL, LinkError),
    ],
)
def test_kinds(code: grpc.StatusCode, kind: type[LinkError]) -> None:
    problem = explained(code, "because\x1b[31m\nof this")
    assert type(problem) is kind
    assert str(problem).isprintable()
