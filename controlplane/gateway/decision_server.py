"""Serves the decision application on its Unix-domain socket, inside the daemon's own event loop.

Called by `bootstrap`, which runs `run()` as a task. Installs no signal handlers and configures no logging: both are the
daemon's.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from controlplane.errors import AlreadyRunningError
from controlplane.gateway.decision_app import DecisionApp

_BACKLOG = 4096
_KEEP_ALIVE_SECONDS = 3600  # Envoy closes idle connections long before, so we never close one that it is about to use


class _QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class DecisionServer:
    """One listening socket and the application behind it."""

    def __init__(self, app: DecisionApp, path: Path) -> None:
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            loop="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=2,
        )
        self._server = _QuietServer(config)
        self._path = path

    @property
    def started(self) -> bool:
        return self._server.started

    async def run(self) -> None:
        """Serve until `stop()` or cancellation. Raises AlreadyRunningError when another daemon answers on the socket."""
        listening = bind_private(self._path)
        try:
            await self._server.serve(sockets=[listening])
        finally:
            self._cut_connections()
            listening.close()
            self._path.unlink(missing_ok=True)

    def _cut_connections(self) -> None:
        """Show Envoy at once that nobody will answer, so that it lets the held requests pass."""
        if not self._server.started:
            return
        for serving in self._server.servers:
            serving.close()
        for connection in list(self._server.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()

    def stop(self) -> None:
        """Let `run()` end after the calls in flight (at most two seconds)."""
        self._server.should_exit = True


def bind_private(path: Path) -> socket.socket:
    """Bind a Unix-domain socket that only our user can open; what a dead daemon left behind is removed."""
    if _answers(path):
        raise AlreadyRunningError(
            f"another control plane already answers on {path}; stop it, or choose another run_dir"
        )
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    previous = os.umask(0o177)
    try:
        bound.bind(str(path))
    except BaseException:
        bound.close()
        raise
    finally:
        os.umask(previous)
    bound.setblocking(False)
    return bound


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
