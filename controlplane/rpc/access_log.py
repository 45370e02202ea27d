"""Receives Envoy's access log: every request's end, a few milliseconds after it, over a Unix-domain socket.

Started by `bootstrap` through `access_log_server`, apart from the server that agents and operators call. Only translates:
each entry becomes a `RequestEnd` and goes to the injected callback. Never blocks and never fails a stream for one bad entry.
"""

import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import structlog
from envoy.config.core.v3.base_pb2 import RequestMethod
from envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc
from google.protobuf.duration_pb2 import Duration

from controlplane.fleet.requests import RequestEnd

OnEnd = Callable[[RequestEnd], None]
TEXT_LENGTH_MAX = 256
# The namespaces under which the gateway's filters leave what they found out about a request.
_KEY_METADATA = "envoy.filters.http.jwt_authn"
_MODEL_METADATA = "stoker.request"

log = structlog.get_logger(__name__)


class AccessLogService(als_pb2_grpc.AccessLogServiceServicer):  # type: ignore[misc]  # the stubs are untyped
    def __init__(self, on_end: OnEnd) -> None:
        self._on_end = on_end

    async def StreamAccessLogs(  # noqa: N802 - the wire's name
        self, messages: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]
    ) -> Any:
        async for message in messages:
            for entry in message.http_logs.log_entry:
                try:
                    self._on_end(request_end(entry))
                except Exception:
                    log.exception("access_log_entry_failed", request_id=entry.request.request_id)
        return als_pb2.StreamAccessLogsResponse()


def access_log_server(path: Path, on_end: OnEnd) -> grpc.aio.Server:
    """A server bound to `path`, not yet started; `on_end` is called in the event loop, once per ended request."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 16 << 20)])
    als_pb2_grpc.add_AccessLogServiceServicer_to_server(AccessLogService(on_end), server)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    previous = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{path}")
    finally:
        os.umask(previous)
    return server


def request_end(entry: Any) -> RequestEnd:
    """One entry of Envoy's, in our words."""
    common, request, response = entry.common_properties, entry.request, entry.response
    found = common.metadata.filter_metadata
    key = found[_KEY_METADATA].fields["key"].struct_value.fields if _KEY_METADATA in found else {}
    asked = found[_MODEL_METADATA].fields if _MODEL_METADATA in found else {}
    return RequestEnd(
        request_id=request.request_id,
        started_at=common.start_time.ToDatetime(tzinfo=UTC) if common.HasField("start_time") else _EPOCH,
        method=RequestMethod.Name(request.request_method),
        path=request.path.partition("?")[0][:TEXT_LENGTH_MAX],
        status=response.response_code.value,
        tenant=key["sub"].string_value if "sub" in key else "",
        key_id=key["jti"].string_value if "jti" in key else "",
        model=asked["model"].string_value[:TEXT_LENGTH_MAX] if "model" in asked else "",
        endpoint=_endpoint(common.upstream_remote_address),
        attempts_count=common.upstream_request_attempt_count,
        duration_seconds=_seconds(common, "duration"),
        first_byte_seconds=_seconds(common, "time_to_first_upstream_rx_byte"),
        sent_to_engine_seconds=_seconds(common, "time_to_first_upstream_tx_byte"),
        request_bytes=request.request_body_bytes,
        response_bytes=response.response_body_bytes,
        flags=tuple(field.name for field, value in common.response_flags.ListFields()),
        details=response.response_code_details[:TEXT_LENGTH_MAX],
        failure=common.upstream_transport_failure_reason[:TEXT_LENGTH_MAX],
    )


_EPOCH = datetime.fromtimestamp(0, UTC)


def _seconds(common: Any, name: str) -> float | None:
    if not common.HasField(name):
        return None
    value: Duration = getattr(common, name)
    return value.seconds + value.nanos / 1e9


def _endpoint(address: Any) -> str:
    where = address.socket_address
    if not where.address:
        return ""
    return f"[{where.address}]:{where.port_value}" if ":" in where.address else f"{where.address}:{where.port_value}"
