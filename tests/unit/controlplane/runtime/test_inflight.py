"""Requests in flight, against a model that keeps everything in plain dictionaries."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controlplane.runtime import inflight as module
from controlplane.runtime.inflight import ENTRIES_MAX, FORGET_SECONDS, Inflight

REQUESTS = st.sampled_from([f"r{index}" for index in range(8)])
ENGINES = ("e1", "e2", "e3")


class InflightMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.inflight = Inflight()
        self.now = 0.0
        self.open: dict[str, tuple[str, float, bool]] = {}  # request → engine, sent at, reported
        self.forgotten = 0

    @rule(request=REQUESTS, engine=st.sampled_from(ENGINES))
    def send(self, request: str, engine: str) -> None:
        old = [name for name, (_, at, _) in self.open.items() if self.now - at >= FORGET_SECONDS]
        for name in old:
            del self.open[name]
        self.forgotten += len(old)
        self.open.pop(request, None)
        self.open[request] = (engine, self.now, False)
        self.inflight.sent(request, engine, self.now)

    @rule(request=REQUESTS, engine=st.none() | st.sampled_from(ENGINES), seconds=st.none() | st.floats(0, 100))
    def end(self, request: str, engine: str | None, seconds: float | None) -> None:
        self.open.pop(request, None)
        self.inflight.ended(request, engine, seconds)

    @rule(engine=st.sampled_from(ENGINES))
    def report(self, engine: str) -> None:
        self.open = {name: (where, at, told or where == engine) for name, (where, at, told) in self.open.items()}
        self.inflight.reported(engine)

    @rule(engine=st.sampled_from(ENGINES))
    def forget(self, engine: str) -> None:
        self.inflight.forget_engine(engine)
        assert self.inflight.request_seconds_mean(engine) is None

    @rule(seconds=st.sampled_from([0.5, 60.0, FORGET_SECONDS]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def counts_are_those_of_the_model(self) -> None:
        for engine in ENGINES:
            there = [told for where, _, told in self.open.values() if where == engine]
            assert self.inflight.count(engine) == len(there)
            assert self.inflight.unreported(engine) == there.count(False)
            mean = self.inflight.request_seconds_mean(engine)
            assert mean is None or 0 <= mean <= 100
        assert self.inflight.total() == len(self.open)
        assert self.inflight.forgotten_total == self.forgotten


TestInflightMachine = InflightMachine.TestCase
TestInflightMachine.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_it_is_bounded_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENTRIES_MAX", 100)
    inflight = Inflight()
    for index in range(250):
        inflight.sent(f"r{index}", "e1", float(index) / 1000)
    assert (inflight.total(), inflight.count("e1"), inflight.forgotten_total) == (100, 100, 150)
    inflight.ended("r0", "e1", 1.0)
    assert inflight.count("e1") == 100
    inflight.ended("r249", "e1", 1.0)
    assert inflight.count("e1") == 99
    assert ENTRIES_MAX >= 10_000


def test_a_request_may_end_elsewhere_than_it_was_sent() -> None:
    inflight = Inflight()
    inflight.sent("r1", "e1", 0.0)
    inflight.ended("r1", "e2", 4.0)
    assert (inflight.count("e1"), inflight.count("e2")) == (0, 0)
    assert (inflight.request_seconds_mean("e1"), inflight.request_seconds_mean("e2")) == (None, 4.0)


def test_the_mean_follows_what_ends() -> None:
    inflight = Inflight()
    for seconds in (1.0, 2.0):
        inflight.ended("r", "e1", seconds)
    assert inflight.request_seconds_mean("e1") == pytest.approx(1.2)
