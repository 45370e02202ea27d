"""The agent's composition root: the only module that knows every concrete class. Called by `stoker-agent run`.

It makes the parts and ties them together; it starts nothing and waits for nothing (see `cli.running`).
"""

import os
import platform
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from node_agent import __version__
from node_agent.clock import SystemClock
from node_agent.engines import plugin_files
from node_agent.engines.engine import EngineAccess, EngineTls
from node_agent.engines.vllm import VllmSettings, vllm_engine_factory
from node_agent.errors import AgentError
from node_agent.hardware.monitor import DeviceMonitor, NodeEngines
from node_agent.hardware.probing import NodeProbe
from node_agent.host.inventory import DeviceInventory
from node_agent.inside import sockets
from node_agent.inside.following import Followings
from node_agent.inside.insides import EngineInsides
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
from node_agent.supervisor.policy import SupervisorPolicy
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


def assemble(settings: AgentSettings, store: IdentityStore, on_connection: Callable[[str], None]) -> Agent:
    clock = SystemClock()

    def raise_event(event: NodeEvent) -> None:
        session.raise_event(event)

    limits = Limits(settings.spool.hours_max * 3600, settings.spool.bytes_max)
    spool = RecordSpool(settings.state_dir, limits, clock, raise_event)
    plugins, socket_dir, problem = _inside(settings)
    followings = Followings(clock=clock, on_event=raise_event)
    access = engine_access(settings, store)
    vllm = VllmSettings(
        engine_python=settings.engines.python,
        base_environment=dict(os.environ),
        default_device_ids=settings.engines.default_device_ids,
        cpu_cores=settings.engines.cpu_cores,
        plugins=plugins,
    )
    supervisor = Supervisor(
        engine_factory=vllm_engine_factory(access, vllm),
        access=access,
        state_dir=settings.state_dir,
        clock=clock,
        on_event=raise_event,
        policy=SupervisorPolicy(
            start_seconds_max=settings.engines.start_seconds_max, drain_seconds_max=settings.engines.drain_seconds_max
        ),
        insides=None
        if plugins is None
        else EngineInsides(
            socket_dir, clock=clock, on_event=raise_event, keep=spool.keep_requests, follow=followings.follow
        ),
    )
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
        residency=ResidencyPump(followings.residencies),
    )
    if problem:
        raise_event(NodeEvent("plugins_off", problem, Severity.WARNING, clock.now()))
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
    return Agent(supervisor, session, renewal, inventory, monitor, spool, sampler)


def _inside(settings: AgentSettings) -> tuple[Path | None, Path, str]:
    """The plug-ins' folder (None: engines run without), that of the sockets, and why there are none though wanted."""
    socket_dir = settings.engines.socket_dir or sockets.default_socket_dir(settings.state_dir)
    if settings.engines.plugins == "off":
        return None, socket_dir, ""
    try:
        sockets.make_socket_dir(socket_dir)
        return plugin_files.install(settings.state_dir), socket_dir, ""
    except (AgentError, OSError) as error:
        return None, socket_dir, f"engines run without Stoker's plug-ins, and tell less of themselves: {error}"


def engine_access(settings: AgentSettings, store: IdentityStore) -> EngineAccess:
    """The node's certificate is its engines' too; key and certificate share a file, so both are replaced at once."""
    return EngineAccess(
        bind_host=settings.engines.bind_host,
        advertise_host=settings.node.advertise_hosts[0],
        port_first=settings.engines.port_first,
        port_last=settings.engines.port_last,
        tls=EngineTls(
            cert_path=store.engine_path,
            key_path=store.engine_path,
            client_ca_path=store.engine_clients_path,
            client_cert_path=store.scraper_path,
            client_key_path=store.scraper_path,
            ca_path=store.ca_path,
        ),
    )
