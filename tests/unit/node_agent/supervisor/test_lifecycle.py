"""The life of an engine, by example and by properties over random stories."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.session.facts import EngineSpec, EngineState
from node_agent.supervisor.life import (
    Answering,
    Died,
    Event,
    Kill,
    Life,
    LoadSeen,
    Spawn,
    StageSeen,
    Start,
    Stop,
    Stuck,
    Terminate,
    Tick,
)
from node_agent.supervisor.lifecycle import adopted, backoff_seconds, born, step
from node_agent.supervisor.policy import SupervisorPolicy

POLICY = SupervisorPolicy()


def spec(generation: int = 1) -> EngineSpec:
    return EngineSpec(engine_id="e", generation=generation, model="m", source="s")


@dataclass
class Story:
    """Tells events to a life and remembers what it asked for."""

    policy: SupervisorPolicy = POLICY
    now: float = 0.0
    asked: list[object] = field(default_factory=list)
    life: Life = field(init=False)

    def __post_init__(self) -> None:
        self.life, effects = born(spec(), self.now, self.policy)
        self.asked.extend(effects)

    def tell(self, *events: Event) -> "Story":
        for event in events:
            self.life, effects = step(self.life, event, self.now, self.policy)
            self.asked.extend(effects)
        return self

    def wait(self, seconds: float) -> "Story":
        self.now += seconds
        return self.tell(Tick())

    def state(self) -> EngineState:
        return self.life.state


def ready() -> Story:
    story = Story().tell(StageSeen("loading weights"), Answering())
    story.asked.clear()
    return story


def death(reason: str = "boom", *, retryable: bool = True, draw: float = 1.0) -> Died:
    return Died(reason=reason, retryable=retryable, draw=draw)


def test_a_start_asks_for_one_process_and_names_its_stages() -> None:
    story = Story()
    assert story.asked == [Spawn(spec())]
    assert story.life.stage == "launching"
    assert story.tell(StageSeen("loading weights")).life.stage == "loading weights"
    assert story.tell(Answering()).state() is EngineState.READY
    assert story.life.stage == ""


def test_a_start_that_takes_too_long_is_killed_and_tried_again() -> None:
    story = Story().tell(StageSeen("loading weights")).wait(POLICY.start_seconds_max)
    assert story.asked[1:] == [Kill()]
    assert "1800 s" in story.life.reason
    assert "loading weights" in story.life.reason
    story.tell(death("killed by SIGKILL"))
    assert story.state() is EngineState.BACKING_OFF
    assert "did not answer" in story.life.reason


def test_a_drain_waits_for_quiet_seen_twice_and_for_requests_in_the_air() -> None:
    story = ready().tell(Stop(60))
    assert story.state() is EngineState.DRAINING
    story.tell(LoadSeen(2, 0)).wait(1).tell(LoadSeen(0, 0))
    assert story.state() is EngineState.DRAINING
    story.wait(0.5).tell(LoadSeen(0, 0))
    assert story.state() is EngineState.DRAINING, "the grace is not over"
    story.wait(1).tell(LoadSeen(0, 1))
    story.wait(1).tell(LoadSeen(0, 0))
    assert story.state() is EngineState.DRAINING, "quiet once only since the last request"
    story.wait(1).tell(LoadSeen(0, 0))
    assert story.state() is EngineState.STOPPING
    assert story.asked == [Terminate()]
    assert story.tell(death()).state() is EngineState.STOPPED


def test_unknown_load_is_not_quiet_so_the_deadline_decides() -> None:
    story = ready().tell(Stop(5))
    for _ in range(4):
        story.wait(1).tell(LoadSeen(None, 0))
    assert story.state() is EngineState.DRAINING
    assert story.wait(1).state() is EngineState.STOPPING
    assert "still had requests" in story.life.reason


def test_a_process_that_ignores_sigterm_is_killed_again_and_again() -> None:
    story = ready().tell(Stop(0)).wait(0)
    assert story.asked == [Terminate()]
    story.wait(POLICY.stop_seconds_max).wait(POLICY.kill_seconds)
    assert story.asked == [Terminate(), Kill(), Kill()]


def test_a_second_stop_hurries_the_first_and_never_slows_it() -> None:
    story = ready().tell(Stop(60), Stop(1000))
    assert story.life.deadline == 60
    assert story.tell(Stop(1)).life.deadline == 1


def test_a_newer_generation_waits_for_the_old_process_to_be_gone() -> None:
    story = ready().tell(Start(spec(2)))
    assert story.state() is EngineState.DRAINING
    assert story.asked == []
    story.wait(POLICY.drain_seconds_max)
    assert story.asked == [Terminate()]
    story.tell(death())
    assert story.asked == [Terminate(), Spawn(spec(2))]
    assert story.state() is EngineState.STARTING
    assert story.life.spec.generation == 2


def test_a_newer_generation_of_a_starting_engine_does_not_drain() -> None:
    story = Story().tell(Start(spec(2)))
    assert story.asked[1:] == [Terminate()]
    assert story.tell(death()).asked[2:] == [Spawn(spec(2))]


@pytest.mark.parametrize("generation", [0, 1])
def test_the_same_or_an_older_generation_changes_nothing(generation: int) -> None:
    story = ready()
    before = story.life
    assert story.tell(Start(spec(generation))).life == before
    assert story.asked == []


def test_a_stopped_engine_starts_again_with_its_own_generation_but_a_failed_one_does_not() -> None:
    stopped = ready().tell(Stop(0)).wait(0).tell(death())
    assert stopped.tell(Start(spec(1))).state() is EngineState.STARTING
    failed = Story().tell(death(retryable=False))
    assert failed.tell(Start(spec(1))).state() is EngineState.FAILED
    assert failed.tell(Start(spec(2))).state() is EngineState.STARTING


def test_a_crash_backs_off_and_comes_back() -> None:
    story = ready().tell(death("killed by SIGSEGV"))
    assert story.state() is EngineState.BACKING_OFF
    assert story.life.reason == "killed by SIGSEGV"
    assert story.life.retry_at == POLICY.backoff_seconds_first
    assert story.wait(POLICY.backoff_seconds_first).state() is EngineState.STARTING
    assert story.asked == [Spawn(spec())]
    assert story.life.restart_count == 1


def test_backing_off_grows_is_bounded_and_jitters() -> None:
    waits = [backoff_seconds(count, 1.0, POLICY) for count in range(1, 100)]
    assert waits[:4] == [2, 4, 8, 16]
    assert max(waits) == POLICY.backoff_seconds_max
    assert backoff_seconds(3, 0.0, POLICY) == 4


def test_dying_at_once_three_times_is_hopeless() -> None:
    story = Story()
    for _ in range(POLICY.early_deaths_max - 1):
        assert story.tell(death("ValueError: no")).state() is EngineState.BACKING_OFF
        story.wait(POLICY.backoff_seconds_max)
    assert story.tell(death("ValueError: no")).state() is EngineState.FAILED
    assert story.life.reason == "died 3 times as soon as it was started; ValueError: no"


def test_many_deaths_in_the_window_are_hopeless_but_old_ones_do_not_count() -> None:
    story = ready()
    for count in range(1, 3 * POLICY.deaths_max):
        story.tell(death())
        assert story.state() is EngineState.BACKING_OFF, count
        story.wait(POLICY.deaths_window_seconds).tell(StageSeen("x"), Answering())
    for _ in range(POLICY.deaths_max - 2):
        story.tell(death()).wait(POLICY.backoff_seconds_max).tell(StageSeen("x"), Answering())
    # One of the first loop is a window old by now.
    assert story.tell(death()).state() is EngineState.BACKING_OFF
    story.wait(POLICY.backoff_seconds_max).tell(StageSeen("x"))
    assert story.tell(death()).state() is EngineState.FAILED


def test_a_stuck_engine_is_killed_without_asking_and_restarted() -> None:
    story = ready().tell(Stuck("no progress for 60 s while 2 requests were running"))
    assert story.asked == [Kill()]
    assert story.tell(death("killed by SIGKILL")).state() is EngineState.BACKING_OFF
    assert story.life.reason.startswith("no progress for 60 s")


def test_stop_during_anything_leads_to_stopped() -> None:
    backing_off = ready().tell(death(), Stop(10))
    assert backing_off.state() is EngineState.STOPPED
    assert backing_off.wait(1000).state() is EngineState.STOPPED
    doomed = ready().tell(Stuck("x"), Stop(10), death())
    assert doomed.state() is EngineState.STOPPED


def test_adopted_engines_go_on_where_they_were() -> None:
    assert adopted(spec(), EngineState.READY, 3, 0, POLICY).restart_count == 3
    starting = adopted(spec(), EngineState.STARTING, 0, 0, POLICY)
    assert step(starting, Answering(), 1, POLICY)[0].state is EngineState.READY
    for state in (EngineState.DRAINING, EngineState.STOPPING):
        ending = adopted(spec(), state, 0, 0, POLICY)
        assert ending.state is EngineState.DRAINING
        assert step(ending, Tick(), POLICY.drain_seconds_max, POLICY)[1] == (Terminate(),)


EVENTS = st.one_of(
    st.builds(Start, st.integers(0, 6).map(spec)),
    st.builds(Stop, st.floats(0, 100)),
    st.just(StageSeen("loading weights")),
    st.just(Answering()),
    st.builds(LoadSeen, st.sampled_from([None, 0, 3]), st.sampled_from([None, 0, 3])),
    st.just(Stuck("stuck")),
    st.builds(Died, st.just("died"), st.booleans(), st.floats(0, 1)),
    st.just(Tick()),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(EVENTS, st.floats(0, 400)), max_size=60))
def test_whatever_happens(events: list[tuple[Event, float]]) -> None:
    story = Story()
    processes, generation, spawned = 1, 1, 1
    for event, seconds in events:
        if isinstance(event, Died) and processes == 0:
            continue  # nobody can die
        story.now += seconds
        before = len(story.asked)
        story.tell(event)
        if isinstance(event, Died):
            processes -= 1
        for effect in story.asked[before:]:
            if isinstance(effect, Spawn):
                processes += 1
                assert effect.spec.generation >= spawned, "generations only grow"
                spawned = effect.spec.generation
            else:
                assert processes == 1, "signals go to a process that is there"
        assert processes in (0, 1), "never two processes"
        assert story.life.has_process == (processes == 1)
        assert story.life.spec.generation >= generation
        generation = story.life.spec.generation
        at_rest = story.state() in (EngineState.STOPPED, EngineState.BACKING_OFF, EngineState.FAILED)
        assert at_rest == (processes == 0)
    # However it got here, stopping it ends, with nothing but time and its process obeying SIGKILL at last.
    story.tell(Stop(5))
    for _ in range(20):
        story.wait(POLICY.stop_seconds_max)
        if Kill() in story.asked and story.life.has_process:
            story.tell(death())
    assert story.state() is EngineState.STOPPED
    assert replace(story.life).next_spec is None
