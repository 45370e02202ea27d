"""One run of the agent, from its lock to its exit code. Called by `stoker-agent run`.

It owns the order of things: engines of an earlier run are found before the control plane hears of this node, and they
are drained before the session ends. A part that crashes ends the agent, never an engine: the next start finds them
again.
"""

import asyncio
import faulthandler
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from node_agent import __version__
from node_agent.bootstrap import Agent, assemble
from node_agent.cli import exit_codes
from node_agent.cli.telling import Telling
from node_agent.clock import SystemClock
from node_agent.host.instance_lock import InstanceLock
from node_agent.host.service_manager import ServiceManager
from node_agent.link.identity import IdentityStore
from node_agent.settings import AgentSettings, BadSettingsError
from node_agent.tasks import TaskScope

_log = structlog.get_logger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass
class Stop:
    """Why and how soon the agent is to end.

    SIGTERM and SIGINT: the first drains, the second stops at once, the third just kills. SIGUSR1 leaves the engines to the
    next agent; so does SIGHUP, which asks to be started again.
    """

    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    hurried: asyncio.Event = field(default_factory=asyncio.Event)
    crashed: bool = False
    leaves_engines: bool = False
    replaced: bool = False

    @property
    def exit_code(self) -> int:
        if self.crashed:
            return exit_codes.FAILED
        return exit_codes.REPLACED if self.replaced else exit_codes.OK

    def leave(self, *, replaced: bool) -> None:
        """Does nothing once a drain has begun. The SIGTERM that a service manager sends after it changes nothing."""
        if not self.wanted.is_set():
            self.leaves_engines, self.replaced = True, replaced
            self.wanted.set()

    def signalled(self) -> None:
        if self.leaves_engines:
            return
        if not self.wanted.is_set():
            self.wanted.set()
            return
        self.hurried.set()
        for number in _SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)

    def crash(self, _task: str, _error: BaseException) -> None:
        self.crashed = True
        self.wanted.set()


async def run_agent(settings: AgentSettings, load_again: Callable[[], AgentSettings]) -> int:
    """The exit code. Raises AgentError when it cannot begin. `load_again` reads the settings that a new start would have."""
    # A watchdog ends a hung agent with SIGABRT: the log is then to hold where it hung.
    faulthandler.enable()
    service = ServiceManager.taken_from(os.environ)
    store = IdentityStore(settings.state_dir)
    store.load()
    with InstanceLock(settings.state_dir):
        telling = Telling(settings.state_dir, service)
        agent = assemble(settings, store, telling.connection)
        stop = Stop()
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, stop.signalled)
        loop.add_signal_handler(signal.SIGUSR1, lambda: stop.leave(replaced=False))
        loop.add_signal_handler(signal.SIGHUP, lambda: _replace(service, load_again, stop))
        await serve(agent, settings, service, telling, stop)
    _log.info("agent_stopped", crashed=stop.crashed)
    return stop.exit_code


def _replace(service: ServiceManager, load_again: Callable[[], AgentSettings], stop: Stop) -> None:
    """A new agent would begin with the settings as they are now: one that could not begin must not replace this one."""
    service.reloading(SystemClock().monotonic())
    try:
        load_again()
    except BadSettingsError as error:
        _log.error("settings_refused", problems=error.problems, do="mend them; this agent goes on with the old ones")
        service.ready()
        return
    stop.leave(replaced=True)


async def serve(agent: Agent, settings: AgentSettings, service: ServiceManager, telling: Telling, stop: Stop) -> None:
    """Until `stop` is wanted, and then until the engines have ended or are left to the next agent."""
    async with TaskScope("agent", on_crash=stop.crash) as scope:
        found = await agent.supervisor.readopt()
        _log.info("agent_started", node=settings.node.name, version=__version__, engines_found=len(found))
        scope.spawn(agent.supervisor.run(), name="supervisor")
        scope.spawn(agent.session.run(), name="session")
        scope.spawn(agent.renewal.run(), name="renewal")
        scope.spawn(agent.inventory.run(), name="inventory")
        scope.spawn(agent.monitor.run(), name="devices")
        scope.spawn(agent.sampler.run(), name="sampler")
        if agent.metrics is not None:
            scope.spawn(agent.metrics.run(), name="metrics")
        scope.spawn(telling.run(agent), name="telling")
        scope.spawn(service.keep_alive(), name="watchdog")
        service.ready()
        await stop.wanted.wait()
        service.stopping()
        agent.session.refuse_starts()
        await _stop_engines(agent, settings, stop)
    # Last: what engines said with their last breath is kept too.
    await agent.spool.close()


async def _stop_engines(agent: Agent, settings: AgentSettings, stop: Stop) -> None:
    keep = settings.engines.keep_on_stop or stop.crashed or stop.leaves_engines
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
