"""Drives the session machine: link and supervisor in, effects out, for as long as the agent runs.

Made by the composition root. All transitions happen in the event loop, one at a time. It never stops an engine by
itself: without a control plane everything goes on as it was, and nothing that the control plane sends can end `run`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from node_agent.clock import Clock
from node_agent.errors import AgentError
from node_agent.link.epoch_file import EpochFile
from node_agent.link.identity import IdentityStore
from node_agent.link.session_link import Heard, LinkEnd, SessionLink
from node_agent.session.commands import Welcome
from node_agent.session.facts import Device, EngineSpec, EngineStatus, NodeEvent, Severity
from node_agent.session.machine import SessionPolicy, SessionState, advance
from node_agent.session.protocol import (
    CommandFinished,
    Effect,
    Emit,
    Event,
    EventRaised,
    LinkDown,
    LinkFailure,
    LinkUp,
    Reconnect,
    RunStart,
    RunStop,
    SaveEpoch,
    Send,
    TickElapsed,
    WelcomeReceived,
)
from node_agent.tasks import TaskScope

_log = structlog.get_logger(__name__)
_LEVELS = {Severity.INFO: logging.INFO, Severity.WARNING: logging.WARNING, Severity.ERROR: logging.ERROR}


class EngineRunner(Protocol):
    """What the session needs of the supervisor."""

    async def start(self, spec: EngineSpec) -> None: ...

    async def stop(self, engine_id: str, *, drain_seconds_max: float, forget: bool) -> None: ...

    def statuses(self) -> tuple[EngineStatus, ...]: ...


class SessionRunner:
    """`devices` gives what is known of the hardware now; `draw` a random number in [0, 1)."""

    def __init__(
        self,
        *,
        address: str,
        policy: SessionPolicy,
        store: IdentityStore,
        epochs: EpochFile,
        engines: EngineRunner,
        devices: Callable[[], tuple[Device, ...]],
        clock: Clock,
        draw: Callable[[], float],
        on_status: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._address = address
        self._policy = policy
        self._store = store
        self._epochs = epochs
        self._engines = engines
        self._devices = devices
        self._clock = clock
        self._draw = draw
        self._on_status = on_status
        self._state = SessionState(epoch_seen=epochs.load(), report_interval_seconds=policy.report_interval_seconds)
        self._link: SessionLink | None = None
        self._retry_after_seconds = 0.0
        self._stopping = False
        self._scope = TaskScope("session")

    @property
    def connected(self) -> bool:
        return self._state.established

    def raise_event(self, event: NodeEvent) -> None:
        """Something on the node that an operator should know; kept for later while there is no link."""
        self._apply(EventRaised(event))

    def refuse_starts(self) -> None:
        """The agent is going down: nothing new is started, what runs is told as it ends."""
        self._stopping = True

    async def run(self) -> None:
        """Until cancelled."""
        async with self._scope:
            self._scope.spawn(self._report(), name="reports")
            while True:
                self._link = SessionLink(
                    address=self._address,
                    store=self._store,
                    clock=self._clock,
                    on_open=self._opened,
                    on_heard=self._heard,
                )
                ended = await self._ended(self._link)
                self._link = None
                self._apply(LinkDown(ended.failure, ended.message, self._draw()))
                self._on_status(f"not connected: {ended.message}")
                await asyncio.sleep(self._retry_after_seconds)

    async def _ended(self, link: SessionLink) -> LinkEnd:
        try:
            return await link.run()
        except Exception as error:  # noqa: BLE001 - a fault of ours must not leave engines without a session
            _log.exception("link_crashed")
            return LinkEnd(LinkFailure.LOST, f"the agent itself failed ({type(error).__name__}): see its log")

    async def _report(self) -> None:
        due = self._clock.monotonic()
        while True:
            # A fixed beat: late by one report does not make all that follow late. After a long pause it starts anew.
            now = self._clock.monotonic()
            due = max(due + self._state.report_interval_seconds, now)
            await asyncio.sleep(due - now)
            try:
                tick = TickElapsed(self._engines.statuses(), self._devices())
            except Exception:  # noqa: BLE001 - a missed report is better than none ever again
                _log.exception("status_unreadable")
                continue
            self._apply(tick)

    def _opened(self) -> None:
        self._apply(LinkUp(self._engines.statuses(), self._devices()))

    def _heard(self, heard: Heard) -> None:
        if not isinstance(heard, Welcome):
            self._apply(heard)
            return
        self._apply(WelcomeReceived(heard, self._draw()))
        if self.connected:
            self._on_status(f"connected to {self._address}")
            _log.info(
                "connected",
                control_plane=self._address,
                version=heard.control_plane_version,
                leader_epoch=heard.leader_epoch,
                report_interval_seconds=self._state.report_interval_seconds,
            )

    def _apply(self, event: Event) -> None:
        self._state, effects = advance(self._state, event, self._clock.now(), self._policy)
        for effect in effects:
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send(message):
                if self._link is not None:
                    self._link.say(message)
            case RunStart(command_id, spec):
                self._scope.spawn(self._start(command_id, spec), name=f"start {spec.engine_id}")
            case RunStop(command_id, engine_id, drain_seconds_max, forget):
                work = self._stop(command_id, engine_id, drain_seconds_max, forget=forget)
                self._scope.spawn(work, name=f"stop {engine_id}")
            case Reconnect(after_seconds):
                self._retry_after_seconds = after_seconds
                if self._link is not None:
                    self._link.close("closed by this agent")
            case SaveEpoch(epoch):
                self._save(epoch)
            case Emit(event):
                extra = {"engine_id": event.engine_id} if event.engine_id else {}
                _log.log(_LEVELS[event.severity], event.kind, message=event.message, **extra)

    def _save(self, epoch: int) -> None:
        try:
            self._epochs.save(epoch)
        except OSError as error:
            # Obeyed all the same: a full disk must not make a node that nobody can command any more.
            _log.error("epoch_not_saved", epoch=epoch, error=str(error), do="free space in the state directory")

    async def _start(self, command_id: str, spec: EngineSpec) -> None:
        if self._stopping:
            self._apply(CommandFinished(command_id, succeeded=False, message="this agent is stopping"))
            return
        await self._perform(
            command_id,
            self._engines.start(spec),
            f"engine {spec.engine_id} generation {spec.generation} is being started",
        )

    async def _stop(self, command_id: str, engine_id: str, drain_seconds_max: float, *, forget: bool) -> None:
        await self._perform(
            command_id,
            self._engines.stop(engine_id, drain_seconds_max=drain_seconds_max, forget=forget),
            f"engine {engine_id} has stopped",
        )

    async def _perform(self, command_id: str, work: Awaitable[None], done: str) -> None:
        try:
            await work
        except AgentError as error:
            finished = CommandFinished(command_id, succeeded=False, message=str(error))
        except Exception as error:  # noqa: BLE001 - whatever broke, the command has ended and the session goes on
            _log.exception("command_crashed", command_id=command_id)
            text = f"the agent itself failed ({type(error).__name__}): see its log on this node"
            finished = CommandFinished(command_id, succeeded=False, message=text)
        else:
            finished = CommandFinished(command_id, succeeded=True, message=done)
        self._apply(finished)
