"""Who calls, and whether the role allows it: one table for every method of the operators' service.

Called by the servicers. A method that is not in the table is refused: a new one must be given a role.
"""

from typing import Any

from controlplane.errors import IdentityRefusedError, RoleRefusedError
from controlplane.fleet.access import OperatorIdentity, Role
from controlplane.identity.certificates import serial_of
from controlplane.identity.peer import NodePeer, OperatorPeer, peer_of
from controlplane.services.check_operator import CheckOperator

ROLE_NEEDED = {
    "Watch": Role.VIEWER,
    "GetFleet": Role.VIEWER,
    "ListEvents": Role.VIEWER,
    "GetEngineHistory": Role.VIEWER,
    "GetServer": Role.VIEWER,
    "ReadEngineLog": Role.VIEWER,
    "QuerySql": Role.VIEWER,
    "GetFleetAt": Role.VIEWER,
    "ListJobs": Role.VIEWER,
    "ListAudit": Role.VIEWER,
    "VerifyAudit": Role.VIEWER,
    "ListLeases": Role.VIEWER,
    "Place": Role.OPERATOR,
    "Remove": Role.OPERATOR,
    "Drain": Role.OPERATOR,
    "Resume": Role.OPERATOR,
    "Restart": Role.OPERATOR,
    "LoadAdapter": Role.OPERATOR,
    "UnloadAdapter": Role.OPERATOR,
    "ProbeNode": Role.OPERATOR,
    "SetReportInterval": Role.OPERATOR,
    "PutLease": Role.OPERATOR,
    "EndLease": Role.OPERATOR,
    "ForgetNode": Role.ADMIN,
    "CreateKey": Role.ADMIN,
    "ListKeys": Role.ADMIN,
    "RevokeKey": Role.ADMIN,
    "CreateJoinToken": Role.ADMIN,
    "CreateOperator": Role.ADMIN,
}


def _peer(context: Any) -> NodePeer | OperatorPeer | None:
    names = context.auth_context().get("x509_subject_alternative_name", ())
    return peer_of(name.decode("utf-8", "replace") for name in names)


class OperatorCalls:
    """Names the operator behind a call, for the methods that the role allows."""

    def __init__(self, check: CheckOperator) -> None:
        self._check = check

    async def caller(self, context: Any, method: str) -> OperatorIdentity:
        """The operator who calls `method`. Raises IdentityRefusedError or RoleRefusedError."""
        peer = _peer(context)
        if not isinstance(peer, OperatorPeer):
            raise IdentityRefusedError("this call is for operators: use an operator's credentials")
        pem = context.auth_context().get("x509_pem_cert", (b"",))[0]
        await self._check(peer.name, serial_of(pem))
        needed = ROLE_NEEDED.get(method)
        if needed is None or not peer.role.includes(needed):
            role = needed.value if needed else "nobody"
            raise RoleRefusedError(f"{peer.name} is {peer.role.value}; this needs the role {role}")
        return OperatorIdentity(peer.name, peer.role, str(context.peer()))


def node_calling(context: Any) -> NodePeer:
    """The node whose agent calls; whether it is enrolled is another question. Raises IdentityRefusedError."""
    peer = _peer(context)
    if not isinstance(peer, NodePeer):
        raise IdentityRefusedError("this call is for agents: join the node first")
    return peer
