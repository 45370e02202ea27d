"""Which hosts a node may have in its certificate.

Called before a node's certificate is issued, with hosts that the node advertises. Pure. Never lets one carry the
control plane's own name: that name is what agents and consoles verify.
"""

from collections.abc import Iterable

from controlplane.errors import InvalidInputError
from controlplane.settings.hosts import checked_hosts

CONTROL_PLANE_NAME = "stoker-controlplane"  # what every client verifies, by whatever address it dials


def checked_node_hosts(hosts: Iterable[str]) -> tuple[str, ...]:
    """As `checked_hosts`, for hosts that a node claims. Raises InvalidInputError."""
    checked = checked_hosts(hosts)
    if CONTROL_PLANE_NAME in checked:
        raise InvalidInputError(
            f"a node cannot advertise {CONTROL_PLANE_NAME}: that is the control plane's name; "
            "advertise the node's own names or addresses"
        )
    return checked
