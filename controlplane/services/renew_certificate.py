"""Give a node that we know its next certificate.

Called by `rpc.agent_service` for a caller whose certificate TLS has verified. Never renews for a node that was
forgotten, or whose place another machine has taken: their certificates end by themselves.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from controlplane.clock import Clock
from controlplane.errors import IdentityRefusedError
from controlplane.fleet.desired import Desired, EnrolledNode
from controlplane.fleet.history import AuditEntry
from controlplane.identity.authority import Authority, NodeCredentials
from controlplane.identity.certificates import requested_key
from controlplane.identity.hosts import checked_node_hosts
from controlplane.identity.peer import NodePeer
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork, load_desired


class RenewCertificate:
    def __init__(
        self,
        database: Database,
        authority: Authority,
        clock: Clock,
        lifetime_seconds: Callable[[], float],
        on_desired: Callable[[Desired], None],
    ) -> None:
        """`lifetime_seconds` of a node's certificate; `on_desired` is told all desired state after the change."""
        self._database = database
        self._authority = authority
        self._clock = clock
        self._lifetime_seconds = lifetime_seconds
        self._on_desired = on_desired

    async def __call__(
        self, caller: NodePeer, certificate_request_pem: bytes, advertised_hosts: tuple[str, ...], peer: str
    ) -> NodeCredentials:
        """No hosts: as before. Raises InvalidInputError or IdentityRefusedError."""
        requested_key(certificate_request_pem)
        hosts = checked_node_hosts(advertised_hosts)
        now = self._clock.now()

        def renew(uow: UnitOfWork) -> tuple[NodeCredentials, Desired]:
            node = require_current(caller, uow.nodes.get(caller.name))
            node = replace(node, advertised_hosts=hosts or node.advertised_hosts)
            credentials = self._authority.node_credentials(
                certificate_request_pem,
                name=node.name,
                identity_serial=node.identity_serial,
                hosts=node.advertised_hosts,
                now=now,
                lifetime=timedelta(seconds=self._lifetime_seconds()),
            )
            uow.nodes.put(replace(node, certificate_not_after=credentials.not_after))
            hosts_told = ", ".join(node.advertised_hosts) or "no host"
            detail = f"until {credentials.not_after:%Y-%m-%d %H:%M:%S} UTC, for {hosts_told}"
            uow.audit.append(
                AuditEntry(now, f"agent:{node.name}", "renew_certificate", node.name, detail, "renewed", peer)
            )
            return credentials, load_desired(uow)

        credentials, _ = await self._database.run(renew, then=lambda done: self._on_desired(done[1]))
        return credentials


def require_current(caller: NodePeer, node: EnrolledNode | None) -> EnrolledNode:
    """The node that calls, if it is still one of ours. Raises IdentityRefusedError."""
    if node is None:
        raise IdentityRefusedError(
            f"node {caller.name} is not part of the fleet any more: join again with a token made by "
            "`stoker-controlplane token create`"
        )
    if node.identity_serial != caller.identity_serial:
        raise IdentityRefusedError(
            f"another machine has taken the place of node {caller.name}: stop this agent, or join again under "
            "another name"
        )
    return node
