"""Renews this node's certificate at two thirds of its life, for as long as the agent runs.

Run by the composition root beside the session; the session uses the new certificate at its next dial, engines at their
next start. A renewal that fails is tried again well before the certificate ends, and said aloud. Never raises.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from node_agent.clock import Clock
from node_agent.link.enrolment import renew
from node_agent.link.identity import IdentityStore, NodeIdentity
from node_agent.link.problems import LinkError, NotJoinedError
from node_agent.session.facts import NodeEvent
from node_agent.session.values import Severity

_log = structlog.get_logger(__name__)

_AT_RATIO = 2 / 3
_SPREAD_RATIO = 0.05  # of the lifetime, to either side: nodes that joined together do not renew together
_RETRY_RATIO = 0.05  # of the lifetime
_LOOK_SECONDS_MAX = 300.0  # the wall clock may jump, and machines sleep: look at it again this often
_LOOK_SECONDS_MIN = 0.05


def renewal_at(identity: NodeIdentity, draw: float) -> datetime:
    """When to renew; `draw` is uniform in [0, 1)."""
    lifetime = identity.not_after - identity.not_before
    return identity.not_before + lifetime * (_AT_RATIO + _SPREAD_RATIO * (2 * draw - 1))


class Renewal:
    def __init__(
        self,
        *,
        address: str,
        node_name: str,
        advertised_hosts: Sequence[str],
        store: IdentityStore,
        clock: Clock,
        draw: Callable[[], float],
        on_event: Callable[[NodeEvent], None],
    ) -> None:
        self._address = address
        self._node_name = node_name
        self._advertised_hosts = advertised_hosts
        self._store = store
        self._clock = clock
        self._draw = draw
        self._on_event = on_event

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                identity = self._store.load()
            except NotJoinedError as error:
                _log.error("identity_unreadable", error=str(error))
                await asyncio.sleep(_LOOK_SECONDS_MAX)
                continue
            await self._until(renewal_at(identity, self._draw()))
            while not await self._renewed():
                lifetime = (identity.not_after - identity.not_before).total_seconds()
                await asyncio.sleep(max(lifetime * _RETRY_RATIO * (0.5 + self._draw()), _LOOK_SECONDS_MIN))

    async def _until(self, moment: datetime) -> None:
        while (left := (moment - self._clock.now()).total_seconds()) > 0:  # noqa: ASYNC110 - it waits for a time
            await asyncio.sleep(min(max(left, _LOOK_SECONDS_MIN), _LOOK_SECONDS_MAX))

    async def _renewed(self) -> bool:
        try:
            identity = await renew(
                address=self._address,
                node_name=self._node_name,
                advertised_hosts=self._advertised_hosts,
                store=self._store,
                clock=self._clock,
            )
        except (LinkError, OSError) as error:
            self._tell("certificate_not_renewed", f"the certificate was not renewed: {error}", Severity.WARNING)
            return False
        text = f"the certificate was renewed; it is valid until {identity.not_after:%Y-%m-%d %H:%M} UTC"
        self._tell("certificate_renewed", text, Severity.INFO)
        return True

    def _tell(self, kind: str, message: str, severity: Severity) -> None:
        self._on_event(NodeEvent(kind, message, severity, self._clock.now()))
