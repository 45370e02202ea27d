"""What a gRPC status from the control plane means for the agent. Called by `enrolment` and `session_link`."""

import grpc

from node_agent.link.problems import ControlPlaneUnreachableError, LinkError, RefusedByControlPlaneError, printable

# The control plane understood, and the same call would be refused again: a person has to act.
_REFUSALS = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,  # with a sentence of the control plane's own: the releases do not fit
    }
)
_NO_SUCH_METHOD = ("", "Method not found!")  # what gRPC says by itself
_AWAY = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.ABORTED,
    }
)


def explain(error: grpc.aio.AioRpcError, address: str) -> LinkError:
    """The same in Stoker's words."""
    code, details = error.code(), printable(error.details() or "")
    if code is grpc.StatusCode.UNIMPLEMENTED and details in _NO_SUCH_METHOD:
        text = f"{address} does not serve this call: it is probably the control plane's other port, or an older release"
        return RefusedByControlPlaneError(text)
    if code in _REFUSALS:
        return RefusedByControlPlaneError(f"refused by the control plane: {details or code.name}")
    if code in _AWAY:
        return ControlPlaneUnreachableError(f"the control plane at {address} is away: {details or code.name}")
    return LinkError(f"the control plane at {address} failed ({code.name}): {details or 'no details'}; see its log")
