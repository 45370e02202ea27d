"""What runs this node's engines, and what hears of them from inside. Called by `wiring`. Starts nothing."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from node_agent.clock import Clock
from node_agent.engines import plugin_files
from node_agent.engines.engine import EngineAccess, EngineTls
from node_agent.engines.vllm import VllmSettings, vllm_engine_factory
from node_agent.errors import AgentError
from node_agent.inside import sockets
from node_agent.inside.following import Followings
from node_agent.inside.insides import EngineInsides
from node_agent.link.identity import IdentityStore
from node_agent.session.facts import NodeEvent
from node_agent.settings import AgentSettings
from node_agent.spool.record_spool import RecordSpool
from node_agent.supervisor.policy import SupervisorPolicy
from node_agent.supervisor.supervisor import Supervisor


@dataclass(frozen=True)
class EngineParts:
    supervisor: Supervisor
    followings: Followings
    problem: str  # why engines run without plug-ins though they are wanted; empty: nothing is wrong


def assemble_engines(
    settings: AgentSettings,
    store: IdentityStore,
    spool: RecordSpool,
    clock: Clock,
    raise_event: Callable[[NodeEvent], None],
) -> EngineParts:
    plugins, socket_dir, problem = _inside(settings)
    followings = Followings(clock=clock, on_event=raise_event)
    insides = EngineInsides(
        socket_dir, clock=clock, on_event=raise_event, keep=spool.keep_requests, follow=followings.follow
    )
    access = _engine_access(settings, store)
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
        insides=insides if plugins else None,
    )
    return EngineParts(supervisor, followings, problem)


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


def _engine_access(settings: AgentSettings, store: IdentityStore) -> EngineAccess:
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
