"""Serves the metrics over HTTP in the agent's own event loop. Run by the composition root; waits for callers, does nothing else.

One request a connection, a few connections at a time, each bounded in time and size. A port that is taken, or files that are
no good, are told and tried again later; nothing that happens here ends the agent.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h11
import structlog

from node_agent.tasks import TaskScope

_log = structlog.get_logger(__name__)

METRICS_PATH = "/metrics"
_CONNECTIONS_MAX = 8
_REQUEST_SECONDS_MAX = 10.0
_REQUEST_BYTES_MAX = 16 * 1024
_RETRY_SECONDS = 30.0

Make = Callable[[str], tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class MetricsTls:
    """Whoever scrapes shows a certificate of this CA."""

    certificate_file: Path
    key_file: Path
    client_ca_file: Path

    def context(self) -> ssl.SSLContext:
        """Raises OSError and ssl.SSLError."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.certificate_file, self.key_file)
        made.load_verify_locations(self.client_ca_file)
        made.verify_mode = ssl.CERT_REQUIRED
        return made


class MetricsServer:
    def __init__(
        self,
        make: Make,
        host: str,
        port: int,
        *,
        tls: MetricsTls | None = None,
        on_trouble: Callable[[str], None] = lambda _: None,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        """`make` gives content type and body for what the caller accepts; `on_trouble` is told once why nothing is served."""
        self._make = make
        self._host = host
        self._port = port
        self._tls = tls
        self._on_trouble = on_trouble
        self._retry_seconds = retry_seconds
        self._scope = TaskScope("metrics")
        self.bound_port: int | None = None

    async def run(self) -> None:
        """Until cancelled."""
        told = False
        while True:
            try:
                server = await asyncio.start_server(
                    self._connected,
                    self._host,
                    self._port,
                    ssl=self._tls.context() if self._tls else None,
                    limit=_REQUEST_BYTES_MAX,
                )
            except (OSError, ssl.SSLError) as error:
                if not told:
                    told = True
                    self._on_trouble(f"metrics cannot be served at {self._host}:{self._port}: {error}")
                await asyncio.sleep(self._retry_seconds)
                continue
            self.bound_port = server.sockets[0].getsockname()[1]
            _log.info("metrics_served", host=self._host, port=self.bound_port, tls=self._tls is not None)
            try:
                async with server, self._scope:
                    await server.serve_forever()
            finally:
                self.bound_port = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if len(self._scope) < _CONNECTIONS_MAX:
                answering = self._scope.spawn(self._answer(reader, writer), name="scrape")
                await asyncio.wait((answering,))
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_REQUEST_BYTES_MAX)
        try:
            async with asyncio.timeout(_REQUEST_SECONDS_MAX):
                request = await _request(connection, reader)
                if request is None:
                    return
                status, kind, body = self._response(request)
                headers = [("content-type", kind), ("content-length", str(len(body))), ("connection", "close")]
                writer.write(connection.send(h11.Response(status_code=status, headers=headers)) or b"")
                if request.method != b"HEAD":
                    writer.write(connection.send(h11.Data(data=body)) or b"")
                await writer.drain()
        except (h11.RemoteProtocolError, h11.LocalProtocolError, OSError, TimeoutError):
            return  # the caller's fault, or its leaving

    def _response(self, request: h11.Request) -> tuple[int, str, bytes]:
        if request.target.partition(b"?")[0] != METRICS_PATH.encode():
            return 404, "text/plain", b"The metrics are at /metrics.\n"
        if request.method not in (b"GET", b"HEAD"):
            return 405, "text/plain", b"Use GET.\n"
        accept = ",".join(value.decode("latin-1") for name, value in request.headers if name == b"accept")
        try:
            return 200, *self._make(accept)
        except Exception:  # noqa: BLE001 - a figure that cannot be told must not end the agent
            _log.exception("metrics_failed")
            return 500, "text/plain", b"The metrics could not be read: see the agent's log.\n"


async def _request(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """The head of a request; a body is not waited for. None: the caller has left, or asked nothing."""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(4096)
            connection.receive_data(data)
        else:
            return event if isinstance(event, h11.Request) else None
