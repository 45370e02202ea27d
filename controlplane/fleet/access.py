"""Who may do what: roles, API keys, join tokens. Facts only; the cryptography is in `controlplane.identity`."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class Role(Enum):
    """An operator's role; each includes those before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, needed: "Role") -> bool:
        order = [Role.VIEWER, Role.OPERATOR, Role.ADMIN]
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class OperatorIdentity:
    name: str
    role: Role
    peer: str = ""  # the address that the call came from


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A tenant's API key, without the key: that is a signed token which lies nowhere."""

    key_id: str
    tenant: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A one-time right to enrol a node. Only a hash of the secret is kept."""

    token_id: str
    secret_hash: bytes
    created_at: datetime
    created_by: str
    expires_at: datetime
    node_name: str = ""  # "": any
    replace: bool = False
    simulator: bool = False  # the node may also speak for simulated ones
    used_at: datetime | None = None
    used_by_node: str = ""
