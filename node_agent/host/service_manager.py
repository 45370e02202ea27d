"""Tells systemd how the agent is (Type=notify). Without systemd it does nothing. Never raises, never blocks."""

import socket
from collections.abc import Mapping

import structlog

_log = structlog.get_logger(__name__)


class ServiceManager:
    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ is a socket in Linux' abstract namespace, whose names begin with a NUL.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def ready(self) -> None:
        self._tell("READY=1")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def status(self, text: str) -> None:
        self._tell("STATUS=" + text.replace("\n", " "))

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.sendto(message.encode(), self._address)
        except OSError as error:
            _log.debug("service_manager_not_told", error=str(error))
