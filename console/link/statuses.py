"""gRPC statuses to `LinkError`s: one table. Called by `console.link.client`; knows no particular call.

A failed TLS handshake arrives as UNAVAILABLE with the reason only in its text; it is told apart here, since waiting
heals an absent control plane but never a wrong certificate.
"""

import re
from collections.abc import Callable

import grpc

from console.link.errors import LinkError, LinkErrorKind

_KINDS: dict[grpc.StatusCode, LinkErrorKind] = {
    grpc.StatusCode.UNAVAILABLE: "unavailable",
    grpc.StatusCode.DEADLINE_EXCEEDED: "unavailable",
    grpc.StatusCode.CANCELLED: "unavailable",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "unavailable",
    grpc.StatusCode.UNAUTHENTICATED: "refused",
    grpc.StatusCode.PERMISSION_DENIED: "refused",
    grpc.StatusCode.INVALID_ARGUMENT: "invalid",
    grpc.StatusCode.OUT_OF_RANGE: "invalid",
    grpc.StatusCode.NOT_FOUND: "not_found",
    grpc.StatusCode.ALREADY_EXISTS: "conflict",
    grpc.StatusCode.FAILED_PRECONDITION: "conflict",
    grpc.StatusCode.ABORTED: "conflict",
}
_NOT_OUR_SERVER = re.compile(r"handshake failed|CERTIFICATE_VERIFY_FAILED|hostname verification", re.IGNORECASE)
_NOT_OUR_OPERATOR = re.compile(
    r"TLSV1_ALERT|SSLV3_ALERT|CERTIFICATE_REQUIRED|alert (?:unknown|bad|certificate|access)", re.IGNORECASE
)
_UNUSABLE_FILES = "Failed to create security handshaker"
_TOLD_BY_US = "stoker-code"  # in the metadata of an error that the control plane itself raised
_CLOSED_AT_ONCE = "Socket closed"  # with TLS 1.3, all that one is told of a certificate that is not accepted


def link_error(
    error: grpc.RpcError | grpc.aio.AioRpcError, server: str, own_problem: Callable[[], str | None] = lambda: None
) -> LinkError:
    """`own_problem` says what is wrong with the operator's certificate, if anything; only asked when it may be that."""
    code, details = _code_and_details(error)
    if code is grpc.StatusCode.UNAVAILABLE:
        if _told_by_control_plane(error):
            return LinkError(
                "away", details or "Something behind the control plane does not answer; its log says what."
            )
        return _unavailable(details, server, own_problem)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return LinkError(
            "unavailable",
            f"The control plane at {server} did not answer in time. Try again, or allow more with --timeout.",
        )
    if code is grpc.StatusCode.UNIMPLEMENTED and details in ("", "Method not found!"):
        return LinkError(
            "internal", f"The control plane at {server} is older than this console and does not know this call."
        )
    message = details or f"The control plane answered {code.name} and no more; its log says why."
    return LinkError(_KINDS.get(code, "internal"), message)


def _unavailable(details: str, server: str, own_problem: Callable[[], str | None]) -> LinkError:
    ask_an_admin = "Ask an admin: `stoker operator create NAME --role ROLE --out DIR`."
    if _UNUSABLE_FILES in details:
        return LinkError(
            "refused", "ca.pem, cert.pem and key.pem do not fit together, or one is damaged. " + ask_an_admin
        )
    if _NOT_OUR_OPERATOR.search(details):
        return LinkError("refused", f"The control plane at {server} does not accept your certificate. {ask_an_admin}")
    if _NOT_OUR_SERVER.search(details):
        return LinkError(
            "refused",
            f"What answers at {server} is not the control plane that these credentials belong to: its certificate does "
            f"not come from their ca.pem. Check `server` in context.toml, or ask an admin for new credentials.",
        )
    problem = own_problem() if _CLOSED_AT_ONCE in details else None
    if problem is not None:
        return LinkError(
            "refused", f"The control plane at {server} does not accept your certificate: {problem} {ask_an_admin}"
        )
    return LinkError(
        "unavailable",
        f"The control plane cannot be reached at {server} ({_short(details)}). Is `stoker-controlplane run` up, and "
        f"its port open to you?",
    )


def _code_and_details(error: grpc.RpcError | grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str]:
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code(), error.details() or ""
    return grpc.StatusCode.UNKNOWN, str(error)


def _told_by_control_plane(error: grpc.RpcError | grpc.aio.AioRpcError) -> bool:
    """It was reached, and it is something behind it that is away."""
    return isinstance(error, grpc.aio.AioRpcError) and any(key == _TOLD_BY_US for key, _ in error.trailing_metadata())


def _short(details: str) -> str:
    """The last cause of gRPC's chain of causes, without the addresses it lists before."""
    last = details.rsplit("last error: ", 1)[-1].strip().rstrip(".")
    return last.removeprefix("UNKNOWN: ").removeprefix("UNAVAILABLE: ")[:160] or "no reason given"
