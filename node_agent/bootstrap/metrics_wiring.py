"""The metrics' part of the composition root: where each figure comes from, and the server. Part of `bootstrap`."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from node_agent import __version__
from node_agent.clock import Clock
from node_agent.exposition.metrics_server import MetricsServer, MetricsTls
from node_agent.exposition.page import NodeFigures, page
from node_agent.hardware.monitor import DeviceMonitor
from node_agent.host.inventory import DeviceInventory
from node_agent.link.session_runner import SessionRunner
from node_agent.session.facts import NodeEvent
from node_agent.session.values import Severity
from node_agent.settings import AgentSettings
from node_agent.spool.record_spool import FILE_NAME
from node_agent.supervisor.supervisor import Supervisor

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class MetricsSources:
    supervisor: Supervisor
    session: SessionRunner
    inventory: DeviceInventory
    monitor: DeviceMonitor


def metrics_server(
    settings: AgentSettings, sources: MetricsSources, clock: Clock, raise_event: Callable[[NodeEvent], None]
) -> MetricsServer | None:
    """None: the settings want none. A port that is taken is an event if somebody set it, and a line in the log if not."""
    wanted = settings.metrics
    if not wanted.enabled:
        return None

    def trouble(message: str) -> None:
        if not {"host", "port", "tls_certificate_file"} & wanted.model_fields_set:
            _log.warning("metrics_not_served", message=message, do="set another port under [metrics]")
            return
        action = "free the port or mend the files named under [metrics]; it is tried again by itself"
        raise_event(NodeEvent("metrics_not_served", message, Severity.WARNING, clock.now(), action=action))

    tls = None
    if wanted.tls_certificate_file and wanted.tls_key_file and wanted.client_ca_file:
        tls = MetricsTls(wanted.tls_certificate_file, wanted.tls_key_file, wanted.client_ca_file)
    return MetricsServer(
        lambda accept: page(_figures(settings, sources), accept), wanted.host, wanted.port, tls=tls, on_trouble=trouble
    )


def _figures(settings: AgentSettings, sources: MetricsSources) -> NodeFigures:
    return NodeFigures(
        version=__version__,
        node=settings.node.name,
        connected=sources.session.connected,
        spool_bytes=_spool_bytes(settings),
        engines=sources.supervisor.statuses(),
        devices=sources.inventory.devices,
        health=sources.monitor.health(),
        ledgers=sources.monitor.ledgers(),
    )


def _spool_bytes(settings: AgentSettings) -> int | None:
    try:
        return (settings.state_dir / FILE_NAME).stat().st_size
    except OSError:
        return None
