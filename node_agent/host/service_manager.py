"""Tells systemd how the agent is (Type=notify), and that its event loop still turns (WatchdogSec).

Made by `cli.running`. Without systemd it does nothing. Never raises, never blocks.
"""

import asyncio
import os
import socket
from collections.abc import Mapping, MutableMapping
from typing import Self

import structlog

_log = structlog.get_logger(__name__)

# What systemd means for this process alone. An engine that had them could be taken for the agent, or take itself for a service.
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_STATUS_CHARACTERS_MAX = 500
_PINGS_PER_PERIOD = 3  # one may be late, one may be lost


class ServiceManager:
    def __init__(self, environ: Mapping[str, str], *, pid: int | None = None) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ is a socket in Linux' abstract namespace, whose names begin with a NUL.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.ping_seconds = _ping_seconds(environ, os.getpid() if pid is None else pid) if address else None

    @classmethod
    def taken_from(cls, environ: MutableMapping[str, str]) -> Self:
        """Reads the variables and takes them away, so that no child of this process has them."""
        made = cls(environ)
        for name in VARIABLES:
            environ.pop(name, None)
        return made

    def ready(self) -> None:
        self._tell("READY=1")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def reloading(self, monotonic_seconds: float) -> None:
        """systemd wants to know since when, by the monotonic clock. `ready` says that it is over."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic_seconds * 1e6)}")

    def status(self, text: str) -> None:
        self._tell("STATUS=" + " ".join(text.split())[:_STATUS_CHARACTERS_MAX])

    def alive(self) -> None:
        self._tell("WATCHDOG=1")

    async def keep_alive(self) -> None:
        """Until cancelled. A coroutine of the loop that it vouches for: when the loop hangs, so does this."""
        while self.ping_seconds is not None:
            self.alive()
            await asyncio.sleep(self.ping_seconds)

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.sendto(message.encode(), self._address)
        except OSError as error:
            _log.debug("service_manager_not_told", error=str(error))


def _ping_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """None: nobody waits for pings of this process."""
    told, meant = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not told.isdecimal() or int(told) == 0 or (meant and meant != str(pid)):
        return None
    return int(told) / 1e6 / _PINGS_PER_PERIOD
