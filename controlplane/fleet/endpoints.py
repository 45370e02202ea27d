"""What the gateway must know to serve without us: models, and where their engines are."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineEndpoint:
    engine_id: str
    model: str
    endpoint: str  # "host:port"
    node: str


@dataclass(frozen=True, slots=True)
class PublishedFleet:
    """All models (also those without an engine at the moment), and all engines that may take requests."""

    models: tuple[str, ...] = ()
    engines: tuple[EngineEndpoint, ...] = ()
    revoked_key_ids: tuple[str, ...] = ()  # well-signed, and yet to be refused
