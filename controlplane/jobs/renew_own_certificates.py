"""Keep the daemon's own certificates alive: the server's and the gateway's. Woken by `jobs.scheduler` once an hour."""

from collections.abc import Callable
from datetime import datetime

import structlog

from controlplane.identity.authority import Authority

log = structlog.get_logger(__name__)


async def run(
    authority: Authority, hosts: tuple[str, ...], on_gateway_renewed: Callable[[], None], now: datetime
) -> None:
    """Issue anew what has used up most of its life. The gRPC servers notice by themselves; the gateway is told."""
    server = authority.server_credentials(hosts, now)
    gateway = authority.gateway_credentials(now)
    if server.renewed:
        log.info("server_certificate_renewed", not_after=server.not_after.isoformat())
    if gateway.renewed:
        log.info("gateway_certificate_renewed", not_after=gateway.not_after.isoformat())
        on_gateway_renewed()
