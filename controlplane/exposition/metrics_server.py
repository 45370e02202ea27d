"""Serves the metrics on a TCP port, inside the daemon's own event loop: plain on this machine, else TLS with certificates.

Called by `bootstrap`: `bind()`, then `run()` as a task. Installs no signal handlers and configures no logging: both are the
daemon's. Nothing else of the daemon depends on it.
"""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from controlplane.errors import AlreadyRunningError, ConfigurationError
from controlplane.exposition.metrics_app import MetricsApp

_BACKLOG = 64
_CONNECTIONS_MAX = 64
_KEEP_ALIVE_SECONDS = 75  # Prometheus keeps its connection between scrapes


@dataclass(frozen=True, slots=True)
class MetricsTls:
    """Whoever scrapes shows a certificate of this CA."""

    certificate_file: Path
    key_file: Path
    client_ca_file: Path


class _QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class MetricsServer:
    def __init__(self, app: MetricsApp, host: str, port: int, tls: MetricsTls | None) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._socket: socket.socket | None = None
        self._server = _QuietServer(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                loop="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,
                limit_concurrency=_CONNECTIONS_MAX,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=1,
                ssl_certfile=tls.certificate_file if tls else None,
                ssl_keyfile=tls.key_file if tls else None,
                ssl_ca_certs=str(tls.client_ca_file) if tls else None,
                ssl_cert_reqs=ssl.CERT_REQUIRED if tls else ssl.CERT_NONE,
            )
        )

    @property
    def address(self) -> str:
        """ "http://host:port" as it is bound; "" before."""
        if self._socket is None:
            return ""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self._socket.getsockname()[1]}"

    def bind(self) -> None:
        """Take the port. Raises AlreadyRunningError when it is taken, ConfigurationError for files that are no good."""
        try:
            self._server.config.load()
        except (OSError, ssl.SSLError) as error:
            files = (
                f"{self._tls.certificate_file}, {self._tls.key_file}, {self._tls.client_ca_file}" if self._tls else ""
            )
            raise ConfigurationError(
                f"the metrics cannot be served with {files}: {error}; give PEM files that belong together"
            ) from error
        try:
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            bound = socket.create_server((self._host, self._port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise AlreadyRunningError(
                f"cannot listen on {self._host}:{self._port} for metrics: {error.strerror or error}; stop what holds the "
                "port, or set another under [metrics]"
            ) from error
        bound.setblocking(False)
        self._socket = bound

    async def run(self) -> None:
        """Serve until cancelled; only after `bind`."""
        if self._socket is None:
            raise RuntimeError("bind comes before run")
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            for serving in self._server.servers if self._server.started else ():
                serving.close()
            self._socket.close()
