"""Drives the session machine: link and supervisor in, effects out, for as long as the agent runs.

Made by the composition root. All transitions happen in the event loop, one at a time. It never stops an engine by
itself: without a control plane everything goes on as it was, and nothing that the control plane sends can end `run`.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

import structlog

from node_agent.clock import Clock
from node_agent.link.command_work import CommandWork, EngineRunner, Probe, cannot_probe
from node_agent.link.epoch_file import EpochFile
from node_agent.link.identity import IdentityStore
from node_agent.link.owed_file import OwedFile
from node_agent.link.record_pump import RecordPump
from node_agent.link.residency_pump import ResidencyPump
from node_agent.link.session_link import Heard, LinkEnd, SessionLink
from node_agent.session.commands import LogWanted, OwedCommand, Report, Welcome
from node_agent.session.facts import Device, NodeEvent
from node_agent.session.hardware import DeviceHealth, MemoryLedger
from node_agent.session.inside import ResidencyWanted
from node_agent.session.machine import SessionPolicy, SessionState, advance
from node_agent.session.protocol import (
    Effect,
    Emit,
    Event,
    EventRaised,
    LinkDown,
    LinkFailure,
    LinkUp,
    Reconnect,
    Resumed,
    Run,
    SaveEpoch,
    SaveOwed,
    Send,
    TickElapsed,
    WelcomeReceived,
)
from node_agent.session.records import RecordsReceived
from node_agent.session.values import Severity
from node_agent.tasks import TaskScope

_log = structlog.get_logger(__name__)
_LEVELS = {Severity.INFO: logging.INFO, Severity.WARNING: logging.WARNING, Severity.ERROR: logging.ERROR}


class SessionRunner:
    """`devices`, `health` and `memory` give what is known of the hardware now; `draw` a random number in [0, 1)."""

    def __init__(
        self,
        *,
        address: str,
        policy: SessionPolicy,
        store: IdentityStore,
        epochs: EpochFile,
        owed: OwedFile,
        engines: EngineRunner,
        devices: Callable[[], tuple[Device, ...]],
        clock: Clock,
        draw: Callable[[], float],
        on_status: Callable[[str], None] = lambda _: None,
        health: Callable[[], tuple[DeviceHealth, ...]] = tuple,
        memory: Callable[[], tuple[MemoryLedger, ...]] = tuple,
        probe: Probe = cannot_probe,
        records: RecordPump | None = None,
        residency: ResidencyPump | None = None,
    ) -> None:
        self._address = address
        self._policy = policy
        self._store = store
        self._epochs = epochs
        self._owed = owed
        self._work = CommandWork(engines, probe)
        self._engines = engines
        self._devices = devices
        self._health = health
        self._memory = memory
        self._clock = clock
        self._draw = draw
        self._on_status = on_status
        self._records = records
        self._residency = residency
        self._state = SessionState(epoch_seen=epochs.load(), report_interval_seconds=policy.report_interval_seconds)
        self._link: SessionLink | None = None
        self._clock_told: tuple[datetime, datetime] | None = None
        self._retry_after_seconds = 0.0
        self._owed_not_saved = False
        self._scope = TaskScope("session")

    @property
    def connected(self) -> bool:
        return self._state.established

    @property
    def clocks(self) -> tuple[datetime, datetime] | None:
        """Ours and the control plane's at its last welcome; None: it never told."""
        return self._clock_told

    def raise_event(self, event: NodeEvent) -> None:
        """Something on the node that an operator should know; kept for later while there is no link."""
        self._apply(EventRaised(event))

    def refuse_starts(self) -> None:
        """The agent is going down: nothing new is started, what runs is told as it ends."""
        self._work.refuse_starts()

    async def run(self) -> None:
        """Until cancelled."""
        async with self._scope:
            self._resume()
            self._scope.spawn(self._report(), name="reports")
            if self._records is not None:
                self._scope.spawn(self._records.run(), name="records")
            if self._residency is not None:
                self._scope.spawn(self._residency.run(), name="residency")
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
                if self._records is not None:
                    self._records.closed()
                if self._residency is not None:
                    self._residency.closed()
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
                tick = TickElapsed(self._engines.statuses(), self._devices(), self._health(), self._memory())
            except Exception:  # noqa: BLE001 - a missed report is better than none ever again
                _log.exception("status_unreadable")
                continue
            self._apply(tick)

    def _opened(self) -> None:
        self._apply(LinkUp(self._engines.statuses(), self._devices()))

    def _resume(self) -> None:
        """Goes on with what an earlier run of the agent still owed."""
        try:
            owed = self._owed.load()
        except ValueError as error:
            owed = ()
            self.raise_event(NodeEvent("commands_unreadable", str(error), Severity.ERROR, self._clock.now()))
        self._apply(Resumed(owed, self._engines.statuses()))

    def _heard(self, heard: Heard) -> None:
        if isinstance(heard, LogWanted):
            self._scope.spawn(self._read_log(heard), name=f"log of {heard.engine_id[:80]}")
            return
        if isinstance(heard, RecordsReceived):
            if self._records is not None:
                self._records.received(heard)
            return
        if isinstance(heard, ResidencyWanted):
            if self._residency is not None:
                self._residency.wanted(heard.engine_id)
            return
        if not isinstance(heard, Welcome):
            self._apply(heard)
            return
        if heard.now is not None:
            self._clock_told = (self._clock.now(), heard.now)
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
                    if isinstance(message, Report) and message.sequence == 1:
                        self._first_report_said(self._link)
            case Reconnect(after_seconds):
                self._retry_after_seconds = after_seconds
                if self._link is not None:
                    self._link.close("closed by this agent")
            case SaveEpoch(epoch):
                self._save(epoch)
            case SaveOwed(owed):
                self._save_owed(owed)
            case Emit(event):
                extra = {"engine_id": event.engine_id} if event.engine_id else {}
                _log.log(_LEVELS[event.severity], event.kind, message=event.message, **extra)
            case _:
                self._scope.spawn(self._perform(effect), name=f"command {effect.command_id}")

    def _first_report_said(self, link: SessionLink) -> None:
        if self._records is not None:
            self._records.opened(link.say)
        if self._residency is not None:
            self._residency.opened(link.say, lambda: link.keeps_up)

    def _save(self, epoch: int) -> None:
        try:
            self._epochs.save(epoch)
        except OSError as error:
            # Obeyed all the same: a full disk must not make a node that nobody can command any more.
            _log.error("epoch_not_saved", epoch=epoch, error=str(error), do="free space in the state directory")

    def _save_owed(self, owed: tuple[OwedCommand, ...]) -> None:
        try:
            self._owed.save(owed)
        except OSError as error:
            # Carried out all the same, and said once: a full disk must not take the node out of everybody's hands.
            if not self._owed_not_saved:
                self._owed_not_saved = True
                text = f"commands cannot be kept over a restart of the agent: {error.strerror}"
                action = "free space in the state directory"
                self.raise_event(
                    NodeEvent("commands_not_saved", text, Severity.ERROR, self._clock.now(), action=action)
                )
        else:
            self._owed_not_saved = False

    async def _perform(self, run: Run) -> None:
        self._apply(await self._work.carry_out(run))

    async def _read_log(self, wanted: LogWanted) -> None:
        lines = await self._work.read_log(wanted)
        if self._link is not None:
            self._link.say(lines)
