"""What holds for every history of the session: duplicates, reorderings, losses and returns, in any order."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.session.commands import (
    Action,
    Command,
    CommandStatus,
    Outcome,
    StartAction,
    StopAction,
    UnknownAction,
    Welcome,
)
from node_agent.session.facts import EngineSpec
from node_agent.session.machine import SessionPolicy, SessionState, advance
from node_agent.session.protocol import (
    CommandFinished,
    CommandReceived,
    Event,
    LinkDown,
    LinkFailure,
    LinkUp,
    OutcomeAcknowledged,
    Reconnect,
    RunStart,
    RunStop,
    SaveEpoch,
    Send,
    TickElapsed,
    WelcomeReceived,
)

POLICY = SessionPolicy("0.1.0", "boot")
WELCOME = Welcome(1, "0.1.0", leader_epoch=1, report_interval_seconds=1.0, lease_seconds=60.0)
FINAL = (CommandStatus.SUCCEEDED, CommandStatus.FAILED, CommandStatus.REFUSED)

_engine_ids = st.sampled_from(["a@n", "b@n", "c@n"])
_draws = st.floats(0.0, 1.0, exclude_max=True)


@st.composite
def _commands(draw: st.DrawFn) -> Command:
    engine_id, generation = draw(_engine_ids), draw(st.integers(0, 4))
    spec = EngineSpec(engine_id, generation, "tiny", "/models/tiny")
    stop = StopAction(draw(st.floats(0, 10)), forget=draw(st.booleans()))
    action: Action = draw(st.one_of(st.just(StartAction(spec)), st.just(stop), st.just(UnknownAction())))
    return Command(f"c{draw(st.integers(0, 14))}", draw(st.integers(0, 3)), generation, engine_id, action)


@dataclass
class World:
    """A link that can break and a control plane that keeps commands until it has their outcome."""

    state: SessionState = field(default_factory=SessionState)
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    commands: dict[str, Command] = field(default_factory=dict)  # as first sent: an id never changes its meaning
    runs: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    wire: list[Outcome] = field(default_factory=list)  # sent over this link, not yet arrived
    acknowledgements: list[str] = field(default_factory=list)  # on their way back
    newest_begun: dict[str, int] = field(default_factory=dict)  # engine id -> generation, until it is forgotten
    arrived: dict[str, list[CommandStatus]] = field(default_factory=dict)
    epochs_saved: list[int] = field(default_factory=list)
    up: bool = False

    def feed(self, event: Event) -> None:
        self.now += timedelta(milliseconds=100)
        self.state, effects = advance(self.state, event, self.now, POLICY)
        for effect in effects:
            match effect:
                case RunStart(command_id) | RunStop(command_id):
                    command = self.commands[command_id]
                    engine_id = command.engine_id
                    assert command.generation >= self.newest_begun.get(engine_id, 0), "an older generation ran"
                    self.newest_begun[engine_id] = command.generation
                    busy = [self.commands[other].engine_id for other in self.unfinished]
                    assert engine_id not in busy, "one engine does one thing at a time"
                    self.runs.append(command_id)
                    self.unfinished.append(command_id)
                case Send(Outcome() as outcome):
                    assert self.up, "nothing is sent without a link"
                    self.wire.append(outcome)
                case SaveEpoch(epoch):
                    self.epochs_saved.append(epoch)
                case Reconnect(after_seconds):
                    assert 0 <= after_seconds <= POLICY.backoff.slow_seconds
                case _:
                    pass

    def dial(self) -> None:
        if not self.up:
            self.up = True
            self.feed(LinkUp((), ()))
            self.feed(WelcomeReceived(WELCOME, 0.5))

    def cut(self, draw: float) -> None:
        if self.up:
            self.up = False
            self.wire.clear()  # whatever was under way is lost, both ways
            self.acknowledgements.clear()
            self.feed(LinkDown(LinkFailure.LOST, "gone", draw))

    def send(self, command: Command) -> None:
        if not self.up:
            return
        epoch_seen = self.state.epoch_seen
        is_new = command.command_id not in self.commands
        self.feed(CommandReceived(self.commands.setdefault(command.command_id, command)))
        if is_new and command.leader_epoch < epoch_seen:
            assert self.wire[-1].status is CommandStatus.REFUSED, "an older leader was obeyed"

    def deliver(self, acknowledges_acceptance: bool) -> None:
        if not self.wire:
            return
        outcome = self.wire.pop(0)
        self.arrived.setdefault(outcome.command_id, []).append(outcome.status)
        if acknowledges_acceptance or outcome.status in FINAL:
            self.acknowledgements.append(outcome.command_id)

    def hear(self) -> None:
        if self.acknowledgements:
            self.feed(OutcomeAcknowledged(self.acknowledgements.pop(0)))

    def finish(self, index: int, succeeded: bool) -> None:
        if self.unfinished:
            command_id = self.unfinished.pop(index % len(self.unfinished))
            command = self.commands[command_id]
            if succeeded and isinstance(command.action, StopAction) and command.action.forget:
                self.newest_begun.pop(command.engine_id, None)
            self.feed(CommandFinished(command_id, succeeded=succeeded, message=""))


_steps = st.one_of(
    st.tuples(st.just("send"), _commands()),
    st.tuples(st.just("dial")),
    st.tuples(st.just("cut"), _draws),
    st.tuples(st.just("deliver")),
    st.tuples(st.just("hear")),
    st.tuples(st.just("finish"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("tick")),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(_steps, max_size=120), st.booleans())
def test_every_command_runs_at_most_once_and_its_outcome_arrives(
    steps: list[tuple[object, ...]], acknowledges_acceptance: bool
) -> None:
    world = World()
    world.dial()
    for step in steps:
        match step:
            case ("send", Command() as command):
                world.send(command)
            case ("dial",):
                world.dial()
            case ("cut", float(draw)):
                world.cut(draw)
            case ("deliver",):
                world.deliver(acknowledges_acceptance)
            case ("hear",):
                world.hear()
            case ("finish", int(index), bool(succeeded)):
                world.finish(index, succeeded)
            case _:
                world.feed(TickElapsed((), ()))
    _settle(world, acknowledges_acceptance)

    assert len(world.runs) == len(set(world.runs)), "a command ran twice"
    assert world.epochs_saved == sorted(set(world.epochs_saved)), "an epoch only grows"
    for command_id in world.commands:
        finals = {status for status in world.arrived.get(command_id, []) if status in FINAL}
        assert len(finals) == 1, f"{command_id} has no outcome, or two that differ: {finals}"
        assert (command_id in world.runs) == (finals != {CommandStatus.REFUSED})
    assert all(entry.settled for entry in world.state.ledger.entries.values()), "an outcome is owed for ever"


def _settle(world: World, acknowledges_acceptance: bool) -> None:
    """Everything ends, the link comes back and holds, and the control plane acknowledges."""
    while world.unfinished:
        world.finish(0, succeeded=True)
    world.cut(0.5)
    world.dial()
    while world.wire or world.acknowledgements:
        world.deliver(acknowledges_acceptance)
        world.hear()
    world.now += timedelta(seconds=60)
    world.feed(TickElapsed((), ()))


@given(st.integers(1, 10_000), _draws)
def test_the_wait_is_never_longer_than_the_cap(failures: int, draw: float) -> None:
    assert 0 <= POLICY.backoff.delay_seconds(failures, draw) <= POLICY.backoff.cap_seconds
