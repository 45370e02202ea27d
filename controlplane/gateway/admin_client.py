"""Asks a running Envoy about itself, over its admin socket (a Unix-domain socket, never a port).

Called by the supervisor only. Every call is short; errors mean "it does not answer" and come back as None.
"""

import asyncio
import http.client
import json
import socket
from pathlib import Path
from typing import Any

from controlplane.gateway.listener_config import LISTENER_NAME, STAT_PREFIX

_SECONDS_MAX = 5.0


class _PipeConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("envoy", timeout=_SECONDS_MAX)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_SECONDS_MAX)
        self.sock.connect(str(self._path))


class EnvoyAdmin:
    def __init__(self, path: Path) -> None:
        self._path = path

    async def server_info(self) -> dict[str, Any] | None:
        """Version, state and command line of the Envoy behind the socket."""
        return await self._json("/server_info")

    async def ready(self) -> bool:
        """Configured, with the clients' listener open."""
        answer = await self._call("GET", "/ready")
        if answer is None or answer[0] != 200:
            return False
        listeners = await self._call("GET", "/listeners")
        return listeners is not None and f"{LISTENER_NAME}::".encode() in listeners[1]

    async def live(self) -> bool:
        """Configured; the clients' listener may have failed."""
        answer = await self._call("GET", "/ready")
        return answer is not None and answer[0] == 200

    async def active_requests(self) -> int | None:
        """Clients' requests that have not ended, held ones included."""
        name = f"http.{STAT_PREFIX}.downstream_rq_active"
        stats = await self._json(f"/stats?format=json&filter=^{name}$")
        for entry in (stats or {}).get("stats", ()):
            if entry.get("name") == name:
                return int(entry["value"])
        return None

    async def drain(self) -> None:
        """Take no new connection; end the open ones after their current request."""
        await self._call("POST", "/healthcheck/fail")
        await self._call("POST", "/drain_listeners")

    async def quit(self) -> None:
        await self._call("POST", "/quitquitquit")

    async def _json(self, path: str) -> dict[str, Any] | None:
        answer = await self._call("GET", path)
        if answer is None or answer[0] != 200:
            return None
        try:
            parsed = json.loads(answer[1])
        except ValueError:
            return None
        return parsed if isinstance(parsed, dict) else None

    async def _call(self, method: str, path: str) -> tuple[int, bytes] | None:
        return await asyncio.to_thread(self._call_blocking, method, path)

    def _call_blocking(self, method: str, path: str) -> tuple[int, bytes] | None:
        connection = _PipeConnection(self._path)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
