"""From what the fleet publishes to what the gateway is told. Called by `bootstrap` for every change of the fleet.

An engine whose agent advertises something that the data plane cannot use is left out and told in the log; it never takes the
others down with it.
"""

from dataclasses import replace

import structlog

from controlplane.errors import InvalidInputError
from controlplane.fleet.endpoints import EngineEndpoint, PublishedFleet
from controlplane.gateway.facts import GatewayEngine, GatewayModels

log = structlog.get_logger(__name__)


def gateway_models(fleet: PublishedFleet) -> GatewayModels:
    """The models and engines of `fleet`, as far as the gateway can use them."""
    engines = []
    for published in fleet.engines:
        try:
            engines.append(_engine(published))
        except InvalidInputError as error:
            log.error("engine_not_reachable", engine_id=published.engine_id, error=str(error))
    return replace(GatewayModels.of(tuple(engines), fleet.models), revoked_key_ids=fleet.revoked_key_ids)


def _engine(published: EngineEndpoint) -> GatewayEngine:
    host, _, port = published.endpoint.rpartition(":")
    if not port.isdecimal():
        raise InvalidInputError(f"its agent tells no host:port but {published.endpoint!a}")
    return GatewayEngine(published.engine_id, published.model, host.strip("[]"), int(port), published.node)
