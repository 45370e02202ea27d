"""Who is calling, read from the names in a certificate that TLS has already verified.

Called by `rpc` for every call, with the strings that gRPC's auth context gives. Pure. Never trusts a name by itself:
the caller still asks storage whether the node is enrolled with that serial, and the table of roles what a role may do.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.errors import InvalidInputError
from controlplane.fleet import ids
from controlplane.fleet.access import Role

SCHEME = "stoker://"
CONTROL_PLANE_URI = "stoker://controlplane"
GATEWAY_URI = "stoker://gateway"

_NODE = re.compile(r"stoker://node/([a-z0-9.-]{1,63})\?id=([0-9a-f]{32})")
_OPERATOR = re.compile(r"stoker://operator/([a-z0-9.-]{1,63})\?role=([a-z]{1,16})")


@dataclass(frozen=True, slots=True)
class NodePeer:
    name: str
    identity_serial: str  # of the enrolment that the certificate belongs to


@dataclass(frozen=True, slots=True)
class OperatorPeer:
    name: str
    role: Role


def node_uri(name: str, identity_serial: str) -> str:
    return f"stoker://node/{name}?id={identity_serial}"


def operator_uri(name: str, role: Role) -> str:
    return f"stoker://operator/{name}?role={role.value}"


def peer_of(names: Iterable[str]) -> NodePeer | OperatorPeer | None:
    """The one identity among a certificate's alternative names. None: not one of ours, or more than one."""
    ours = [name for name in names if name.startswith(SCHEME)]
    if len(ours) != 1:
        return None
    try:
        if (node := _NODE.fullmatch(ours[0])) is not None:
            return NodePeer(ids.node_name(node[1]), node[2])
        if (operator := _OPERATOR.fullmatch(ours[0])) is not None:
            return OperatorPeer(ids.node_name(operator[1]), Role(operator[2]))
    except (InvalidInputError, ValueError):
        return None
    return None
