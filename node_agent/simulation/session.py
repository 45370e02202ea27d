"""One simulated node's session: the very state machine of a real agent, over the shared link.

Run by `running`, which beats the time for all of them. What the machine wants done is done to the simulated node.
"""

import asyncio
import random

import structlog

from node_agent.clock import Clock
from node_agent.errors import AgentError
from node_agent.link.report_encoding import ReportEncoder
from node_agent.link.session_link import Heard
from node_agent.link.shared_link import NodeStream, SharedLink
from node_agent.session.commands import LogLines, LogWanted, Report, Welcome
from node_agent.session.machine import SessionPolicy, SessionState, advance
from node_agent.session.protocol import (
    CommandFinished,
    CommandReceived,
    Effect,
    Emit,
    Event,
    EventRaised,
    LinkDown,
    LinkUp,
    OutcomeAcknowledged,
    Reconnect,
    Run,
    RunProbe,
    RunStart,
    RunStop,
    SaveEpoch,
    SaveOwed,
    Send,
    TickElapsed,
    WelcomeReceived,
)
from node_agent.simulation.node import SimulatedNode
from node_agent.tasks import TaskScope

_log = structlog.get_logger(__name__)

CAPABILITY = "simulated"
_LOOK_AGAIN_SECONDS = 0.5


class NodeSession:
    def __init__(
        self, node: SimulatedNode, link: SharedLink, policy: SessionPolicy, *, clock: Clock, draw: random.Random
    ) -> None:
        self.node = node
        self.reports_count = 0
        self._link = link
        self._policy = policy
        self._clock = clock
        self._draw = draw.random
        self._state = SessionState(report_interval_seconds=policy.report_interval_seconds)
        self._stream: NodeStream | None = None
        self._retry_after_seconds = 0.0
        self._encoder = ReportEncoder()

    @property
    def established(self) -> bool:
        return self._state.established

    @property
    def report_interval_seconds(self) -> float:
        return self._state.report_interval_seconds

    async def run(self, scope: TaskScope, first_after_seconds: float) -> None:
        """Dial, speak, and dial again, until cancelled."""
        await asyncio.sleep(first_after_seconds)
        while True:
            while self.node.away:  # noqa: ASYNC110 - the fault ends with the simulation's time, which tells nobody
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            self._stream = NodeStream(
                self._link, scope=scope, encoder=self._encoder, on_open=self._opened, on_heard=self._heard
            )
            ended = await self._stream.run()
            self._stream = None
            self._apply(LinkDown(ended.failure, ended.message, self._draw()))
            await asyncio.sleep(self._retry_after_seconds)

    def beat(self, at: float) -> None:
        """The simulation has come to this second: the node lives up to it and reports."""
        node = self.node
        for stopped in node.advance(at):
            done = CommandFinished(
                stopped.command_id, succeeded=True, message=f"engine {stopped.engine_id} has stopped"
            )
            self._apply(done)
        if node.away and self._stream is not None:
            self._stream.close("the simulated region is away")
            return
        if node.events:
            events, node.events = node.events, []
            for event in events:
                self._apply(EventRaised(event))
        if not node.silent and self.established:
            self._apply(TickElapsed(node.statuses(), node.kind.devices, memory=node.ledgers()))

    def _opened(self) -> None:
        self._apply(LinkUp(self.node.statuses(), self.node.kind.devices))

    def _heard(self, heard: Heard) -> None:
        match heard:
            case Welcome():
                self._apply(WelcomeReceived(heard, self._draw()))
            case CommandReceived() | OutcomeAcknowledged():
                self._apply(heard)
            case LogWanted(request_id):
                if self._stream is not None:
                    self._stream.say(LogLines(request_id, problem="a simulated engine keeps no log"))
            # Nothing else is meant for simulated engines: they keep no records and tell no residency.

    def _apply(self, event: Event) -> None:
        now = self._clock.now() + self.node.clock_error
        self._state, effects = advance(self._state, event, now, self._policy)
        for effect in effects:
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send(message):
                if self._stream is not None:
                    self.reports_count += isinstance(message, Report)
                    self._stream.say(message)
            case Reconnect(after_seconds):
                self._retry_after_seconds = after_seconds
                if self._stream is not None:
                    self._stream.close("closed by this simulator")
            case Emit(event):
                _log.debug(event.kind, node=self.node.place.name, message=event.message)
            case SaveEpoch() | SaveOwed():
                pass  # a simulator that starts again simulates another fleet, which owes nothing
            case _:
                self._command(effect)

    def _command(self, run: Run) -> None:
        try:
            match run:
                case RunStart(command_id, spec):
                    self.node.start(spec)
                    text = f"simulated engine {spec.engine_id} generation {spec.generation} is being started"
                    self._apply(CommandFinished(command_id, succeeded=True, message=text))
                case RunStop(command_id, engine_id, drain_seconds_max, forget):
                    self.node.stop(command_id, engine_id, drain_seconds_max, forget=forget)
                case RunProbe():
                    self._refuse(run, "a simulated node has no devices that could be measured: probe a real one")
                case _:
                    self._refuse(run, "a simulated engine serves no adapters: load them on a real node")
        except AgentError as error:
            self._refuse(run, str(error))

    def _refuse(self, run: Run, why: str) -> None:
        self._apply(CommandFinished(run.command_id, succeeded=False, message=why))
