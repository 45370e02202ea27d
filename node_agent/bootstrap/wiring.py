"""Makes the agent's parts and ties them together. Called by `stoker-agent run`, which gives them their life.

It starts nothing and waits for nothing (see `cli.running`).
"""

import platform
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from node_agent import __version__
from node_agent.bootstrap.engine_wiring import assemble_engines
from node_agent.bootstrap.metrics_wiring import MetricsSources, metrics_server
from node_agent.clock import SystemClock
from node_agent.exposition.metrics_server import MetricsServer
from node_agent.hardware.monitor import DeviceMonitor, NodeEngines
from node_agent.hardware.probing import NodeProbe
from node_agent.host.inventory import DeviceInventory
from node_agent.link.epoch_file import EpochFile
from node_agent.link.identity import IdentityStore
from node_agent.link.owed_file import OwedFile
from node_agent.link.record_pump import RecordPump
from node_agent.link.renewal import Renewal
from node_agent.link.residency_pump import ResidencyPump
from node_agent.link.session_runner import SessionRunner
from node_agent.probes.devices import probe_devices
from node_agent.probes.roofline import with_ceilings
from node_agent.session.backoff import BackoffPolicy
from node_agent.session.facts import NodeEvent
from node_agent.session.machine import SessionPolicy
from node_agent.session.values import Severity
from node_agent.settings import AgentSettings
from node_agent.spool.record_spool import RecordSpool
from node_agent.spool.record_store import Limits
from node_agent.spool.sampler import SpoolSampler
from node_agent.supervisor.process import session_members
from node_agent.supervisor.supervisor import Supervisor

_draw = random.SystemRandom().random


@dataclass(frozen=True)
class Agent:
    supervisor: Supervisor
    session: SessionRunner
    renewal: Renewal
    inventory: DeviceInventory
    monitor: DeviceMonitor
    spool: RecordSpool
    sampler: SpoolSampler
    metrics: MetricsServer | None


def assemble(settings: AgentSettings, store: IdentityStore, on_connection: Callable[[str], None]) -> Agent:
    clock = SystemClock()

    def raise_event(event: NodeEvent) -> None:
        session.raise_event(event)

    limits = Limits(settings.spool.hours_max * 3600, settings.spool.bytes_max)
    spool = RecordSpool(settings.state_dir, limits, clock, raise_event)
    engines = assemble_engines(settings, store, spool, clock, raise_event)
    supervisor = engines.supervisor
    monitor = DeviceMonitor(
        engines=NodeEngines(supervisor.statuses, session_members, supervisor.model_source),
        clock=clock,
        on_event=raise_event,
        interval_seconds=settings.hardware.reading_interval_seconds,
    )
    inventory = DeviceInventory(
        probe=lambda: probe_devices(settings.engines.python),
        with_ceilings=lambda device: with_ceilings(device, settings.state_dir),
        clock=clock,
        on_event=raise_event,
        seen=monitor.devices,
    )
    probe = NodeProbe(
        engine_python=settings.engines.python,
        state_dir=settings.state_dir,
        clock=clock,
        running_engines=lambda: [status.engine_id for status in supervisor.statuses() if status.pid],
        on_measured=inventory.refresh,
        seconds_max=settings.hardware.probe_seconds_max,
    )
    link = settings.link
    session = SessionRunner(
        address=settings.server.address,
        policy=SessionPolicy(
            agent_version=__version__,
            boot_id=uuid.uuid4().hex,
            os=platform.platform(),
            backoff=BackoffPolicy(link.backoff_base_seconds, link.backoff_cap_seconds, link.backoff_slow_seconds),
        ),
        store=store,
        epochs=EpochFile(settings.state_dir),
        owed=OwedFile(settings.state_dir),
        engines=supervisor,
        devices=lambda: inventory.devices,
        clock=clock,
        draw=_draw,
        on_status=on_connection,
        health=monitor.health,
        memory=monitor.ledgers,
        probe=probe.measure,
        records=RecordPump(spool),
        residency=ResidencyPump(engines.followings.residencies),
    )
    if engines.problem:
        raise_event(NodeEvent("plugins_off", engines.problem, Severity.WARNING, clock.now()))
    renewal = Renewal(
        address=settings.server.address,
        node_name=settings.node.name,
        advertised_hosts=settings.node.advertise_hosts,
        store=store,
        clock=clock,
        draw=_draw,
        on_event=raise_event,
    )
    sampler = SpoolSampler(spool, connected=lambda: session.connected, statuses=supervisor.statuses, clock=clock)
    sources = MetricsSources(supervisor, session, inventory, monitor)
    metrics = metrics_server(settings, sources, clock, raise_event)
    return Agent(supervisor, session, renewal, inventory, monitor, spool, sampler, metrics)
