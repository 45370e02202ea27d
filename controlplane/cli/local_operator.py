"""Who works on this machine, for the audit. Called by the offline commands."""

import getpass
import os
import socket

from controlplane.fleet.access import OperatorIdentity, Role


def local_operator() -> OperatorIdentity:
    """With an @ in the name, so that nobody takes it for an operator's."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, in a container
        user = f"uid-{os.getuid()}"
    return OperatorIdentity(f"{user}@{socket.gethostname()}", Role.ADMIN, "offline")
