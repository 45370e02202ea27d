"""What the machine must offer before Envoy starts: a free port and enough open files.

Called by the supervisor. Changes nothing.
"""

import errno
import resource
import socket

from controlplane.errors import AlreadyRunningError, ConfigurationError
from controlplane.gateway.facts import GatewaySettings

SOCKETS_PER_REQUEST = 3  # the client's, the one to the decision service, the one to the engine
SPARE_FILES = 500


def check_port_free(host: str, port: int) -> None:
    """Raises AlreadyRunningError when somebody listens there, ConfigurationError when we can never listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AlreadyRunningError(
                    f"port {port} on {host} is already taken by another program; stop it or set gateway.port"
                ) from error
            raise ConfigurationError(
                f"the gateway cannot listen on {host}:{port}: {error.strerror}; set gateway.host and gateway.port"
            ) from error


def accepts(host: str, port: int) -> bool:
    """Whether somebody takes connections there; "any address" is tried on the loopback."""
    where = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    try:
        socket.create_connection((where, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def open_files_warning(settings: GatewaySettings) -> str:
    """ "" when the limit of open files suffices for the requests that may be held, else what to do."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.held_requests_max * SOCKETS_PER_REQUEST + SPARE_FILES
    if hard == resource.RLIM_INFINITY or hard >= needed:
        return ""
    return (
        f"{settings.held_requests_max} held requests need {needed} open files, the limit is {hard}: about "
        f"{max(0, hard - SPARE_FILES) // SOCKETS_PER_REQUEST} can be held. Raise it (LimitNOFILE= in the systemd unit, "
        "ulimit -Hn in a shell)"
    )
