"""Finds a port for an engine. Called by `EngineRunner` right before a start; it binds for a moment and lets go."""

import socket
from collections.abc import Collection

from node_agent.engines.engine import EngineAccess
from node_agent.errors import LaunchError


def free_port(access: EngineAccess, *, taken: Collection[int], preferred: int | None) -> int:
    """`taken`: by engines that have not bound theirs yet. `preferred`: where the engine was before, if still free."""
    candidates = [port for port in range(access.port_first, access.port_last + 1) if port not in taken]
    if preferred in candidates:
        candidates.remove(preferred)
        candidates.insert(0, preferred)
    for port in candidates:
        if _is_free(access.bind_host, port):
            return port
    raise LaunchError(
        f"every port from {access.port_first} to {access.port_last} on {access.bind_host} is taken: "
        "free one, or give the agent a wider range",
        retryable=False,
    )


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As vLLM binds: connections of an engine that just ended do not count, one that listens does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
