"""The agent's composition root: the only module that knows every concrete class. Called by `stoker-agent run`.

It makes the parts and ties them together; it starts nothing and waits for nothing (see `cli.running`).
"""

import os
import platform
import random
import uuid
from dataclasses import dataclass

from node_agent import __version__
from node_agent.clock import SystemClock
from node_agent.engines.engine import EngineAccess, EngineTls
from node_agent.engines.vllm import VllmSettings, vllm_engine_factory
from node_agent.host.inventory import DeviceInventory
from node_agent.host.service_manager import ServiceManager
from node_agent.link.epoch_file import EpochFile
from node_agent.link.identity import IdentityStore
from node_agent.link.renewal import Renewal
from node_agent.link.session_runner import SessionRunner
from node_agent.probes.devices import probe_devices
from node_agent.probes.roofline import with_ceilings
from node_agent.session.backoff import BackoffPolicy
from node_agent.session.facts import NodeEvent
from node_agent.session.machine import SessionPolicy
from node_agent.settings import AgentSettings
from node_agent.supervisor.policy import SupervisorPolicy
from node_agent.supervisor.supervisor import Supervisor

_draw = random.SystemRandom().random


@dataclass(frozen=True)
class Agent:
    supervisor: Supervisor
    session: SessionRunner
    renewal: Renewal
    inventory: DeviceInventory


def assemble(settings: AgentSettings, store: IdentityStore, service: ServiceManager) -> Agent:
    clock = SystemClock()

    def raise_event(event: NodeEvent) -> None:
        session.raise_event(event)

    access = engine_access(settings, store)
    vllm = VllmSettings(
        engine_python=settings.engines.python,
        base_environment=dict(os.environ),
        default_device_ids=settings.engines.default_device_ids,
        cpu_cores=settings.engines.cpu_cores,
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
    )
    inventory = DeviceInventory(
        probe=lambda: probe_devices(settings.engines.python),
        with_ceilings=lambda device: with_ceilings(device, settings.state_dir),
        clock=clock,
        on_event=raise_event,
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
        engines=supervisor,
        devices=lambda: inventory.devices,
        clock=clock,
        draw=_draw,
        on_status=service.status,
    )
    renewal = Renewal(
        address=settings.server.address,
        node_name=settings.node.name,
        advertised_hosts=settings.node.advertise_hosts,
        store=store,
        clock=clock,
        draw=_draw,
        on_event=raise_event,
    )
    return Agent(supervisor, session, renewal, inventory)


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
