"""The one table from our errors to gRPC statuses, and the wrapper that applies it to every handler."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import grpc
import structlog

from controlplane import errors

log = structlog.get_logger(__name__)

STATUS: tuple[tuple[type[errors.StokerError], grpc.StatusCode], ...] = (
    (errors.InvalidInputError, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.NotFoundError, grpc.StatusCode.NOT_FOUND),
    (errors.ConflictError, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.IdentityRefusedError, grpc.StatusCode.UNAUTHENTICATED),
    (errors.RoleRefusedError, grpc.StatusCode.PERMISSION_DENIED),
    (errors.IncompatibleError, grpc.StatusCode.UNIMPLEMENTED),
    (errors.UnavailableError, grpc.StatusCode.UNAVAILABLE),
    (errors.StokerError, grpc.StatusCode.INTERNAL),
)
INTERNAL = "the control plane failed on this call; its log has the details"

Handler = TypeVar("Handler", bound=Callable[..., Any])


def status_of(error: errors.StokerError) -> grpc.StatusCode:
    """The first line of the table that fits."""
    return next(code for kind, code in STATUS if isinstance(error, kind))


async def _abort(context: "grpc.aio.ServicerContext[Any, Any]", method: str, error: Exception) -> NoReturn:
    if isinstance(error, errors.StokerError):
        context.set_trailing_metadata((("stoker-code", error.code),))
        await context.abort(status_of(error), str(error))
    log.error("rpc_failed", method=method, exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, INTERNAL)
    raise AssertionError("abort always raises")


def unary(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """For handlers that answer once: our errors become statuses, others are logged and told as INTERNAL."""

    @functools.wraps(method)
    async def handler(self: Any, request: Any, context: Any) -> Any:
        try:
            return await method(self, request, context)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a status
            await _abort(context, method.__name__, error)

    return handler


def streaming(method: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    """The same for handlers that answer with a stream."""

    @functools.wraps(method)
    async def handler(self: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for answer in method(self, request, context):
                yield answer
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a status
            await _abort(context, method.__name__, error)

    return handler
