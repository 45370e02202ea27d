"""One run of the agent, from its lock to its exit code. Called by `stoker-agent run`.

It owns the order of things: engines of an earlier run are found before the control plane hears of this node, and they
are drained before the session ends. A part that crashes ends the agent, never an engine: the next start finds them
again.
"""

import asyncio
import os
import signal
from dataclasses import dataclass, field

import structlog

from node_agent import __version__
from node_agent.bootstrap import Agent, assemble
from node_agent.host.instance_lock import InstanceLock
from node_agent.host.service_manager import ServiceManager
from node_agent.link.identity import IdentityStore
from node_agent.settings import AgentSettings
from node_agent.tasks import TaskScope

_log = structlog.get_logger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass
class Stop:
    """Why and how soon the agent is to end. The first signal drains, the second stops at once, the third just kills."""

    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    hurried: asyncio.Event = field(default_factory=asyncio.Event)
    crashed: bool = False

    def signalled(self) -> None:
        if not self.wanted.is_set():
            self.wanted.set()
            return
        self.hurried.set()
        for number in _SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)

    def crash(self, _task: str, _error: BaseException) -> None:
        self.crashed = True
        self.wanted.set()


async def run_agent(settings: AgentSettings) -> int:
    """0 when it was asked to end, 1 when a part of it crashed. Raises AgentError when it cannot begin."""
    service = ServiceManager(os.environ)
    store = IdentityStore(settings.state_dir)
    store.load()
    with InstanceLock(settings.state_dir):
        agent = assemble(settings, store, service)
        stop = Stop()
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, stop.signalled)
        await serve(agent, settings, service, stop)
    _log.info("agent_stopped", crashed=stop.crashed)
    return 1 if stop.crashed else 0


async def serve(agent: Agent, settings: AgentSettings, service: ServiceManager, stop: Stop) -> None:
    """Until `stop` is wanted, and then until the engines have ended or are left to the next agent."""
    async with TaskScope("agent", on_crash=stop.crash) as scope:
        found = await agent.supervisor.readopt()
        _log.info("agent_started", node=settings.node.name, version=__version__, engines_found=len(found))
        scope.spawn(agent.supervisor.run(), name="supervisor")
        scope.spawn(agent.session.run(), name="session")
        scope.spawn(agent.renewal.run(), name="renewal")
        scope.spawn(agent.inventory.run(), name="inventory")
        service.ready()
        await stop.wanted.wait()
        service.stopping()
        agent.session.refuse_starts()
        await _stop_engines(agent, settings, stop)


async def _stop_engines(agent: Agent, settings: AgentSettings, stop: Stop) -> None:
    keep = settings.engines.keep_on_stop or stop.crashed
    drain_seconds_max = settings.engines.drain_seconds_max
    _log.info("agent_stopping", engines="kept running" if keep else f"drained for at most {drain_seconds_max:.0f} s")

    async def stopped(drain_seconds: float) -> None:
        await agent.supervisor.shutdown(drain_seconds_max=drain_seconds, keep_engines=keep)

    async def hurried() -> None:
        await stop.hurried.wait()

    async with TaskScope("shutdown") as scope:
        gently = scope.spawn(stopped(drain_seconds_max), name="drain")
        await asyncio.wait((gently, scope.spawn(hurried(), name="hurry")), return_when=asyncio.FIRST_COMPLETED)
        if gently.done():
            return
        _log.warning("drain_cut_short", do="send the signal again to leave engines as they are")
        gently.cancel()
        await asyncio.wait((gently,))
        await stopped(0.0)
