"""Telling systemd how we do, when it asks (Type=notify). Part of `bootstrap`; does nothing outside a service."""

import os
import socket


def notify(*lines: str) -> None:
    """Send lines such as READY=1 to the service manager. Never fails: not being heard must not stop us."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto("\n".join(lines).encode(), address)
    except OSError:
        return
