"""What is said of an engine's inside: who speaks, who is silent, and what it comes to."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.inside.insides import SILENT_SECONDS, EngineInsides, InsideHandle
from node_agent.inside.plugin_codec import Hello, Steps
from node_agent.inside.sockets import InsideSockets
from node_agent.session.facts import NodeEvent
from node_agent.session.inside import EngineInside, InsideState
from tests.fakes.supervised import FakeClock


class Heard:
    """A handle that nobody is connected to, and the events that it raised."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.events: list[NodeEvent] = []
        self.handle = InsideHandle("e1", "i1", InsideSockets(Path("/nowhere")), self.clock, self.events.append)

    @property
    def inside(self) -> EngineInside:
        told = self.handle.facts().inside
        assert told is not None
        return told


@pytest.fixture
def heard() -> Heard:
    return Heard()


def test_a_plugin_that_is_never_heard_is_told_once(heard: Heard) -> None:
    heard.handle.expect_voice()
    assert heard.events == []
    for _ in range(3):
        heard.clock.seconds += SILENT_SECONDS + 1
        heard.handle.expect_voice()
    assert [event.kind for event in heard.events] == ["plugin_silent"]
    assert heard.inside.state is InsideState.SILENT
    assert heard.inside.steps is None


def test_a_plugin_that_falls_silent_keeps_its_last_totals(heard: Heard) -> None:
    heard.handle.on_greeting(Hello(1, "1.0", "aa"))
    heard.handle.on_steps("aa", Steps(steps=5))
    assert heard.inside.state is InsideState.ACTIVE
    heard.clock.seconds += SILENT_SECONDS + 1
    inside = heard.inside
    assert (inside.state, inside.steps is not None and inside.steps.steps) == (InsideState.SILENT, 5)


def test_what_is_degraded_is_told_once_and_shown(heard: Heard) -> None:
    for _ in range(2):
        heard.handle.on_greeting(Hello(1, "1.0", "aa", problems=["the engine client is not as expected"]))
    assert [event.kind for event in heard.events] == ["plugin_degraded"]
    assert (heard.inside.state, heard.inside.note) == (InsideState.DEGRADED, "the engine client is not as expected")


def test_servers_of_one_engine_are_added_up(heard: Heard) -> None:
    for source, count in (("aa", 3), ("bb", 4)):
        heard.handle.on_greeting(Hello(1, "1.0", source, shape={"layers": 2, "kv_bytes_per_token": 0.5, "new": 1}))
        heard.handle.on_steps(source, Steps(steps=count, dropped=1))
    facts = heard.handle.facts()
    assert (facts.shape is not None and facts.shape.layers, facts.shape and facts.shape.kv_bytes_per_token) == (2, 0.5)
    assert heard.inside.steps is not None
    assert (heard.inside.steps.steps, heard.inside.records_dropped) == (7, 2)


def test_totals_of_a_stranger_are_not_counted(heard: Heard) -> None:
    heard.handle.on_steps("cc", Steps(steps=9))
    assert heard.inside.steps is None


@pytest.fixture
def short_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="s-", dir="/tmp") as folder:
        yield Path(folder)


async def keep_nothing(key: str, records: object) -> int:
    raise AssertionError(f"{key} has nothing to keep: {records}")


async def test_sockets_go_with_the_process_and_stay_for_the_next_agent(short_dir: Path) -> None:
    events: list[NodeEvent] = []
    insides = EngineInsides(short_dir, clock=FakeClock(), on_event=events.append, keep=keep_nothing)
    first = insides.open("e1", "i1")
    assert first is not None
    await first.close(gone=False)
    again = insides.open("e1", "i1", folder=str(first.sockets.folder))
    assert again is not None
    assert again.sockets.plugin.is_socket()
    await again.close(gone=True)
    assert not again.sockets.folder.exists()
    assert events == []


async def test_sockets_of_a_process_that_died_unwatched_are_cleared_away_and_nothing_else(short_dir: Path) -> None:
    insides = EngineInsides(short_dir, clock=FakeClock(), on_event=lambda _: None, keep=keep_nothing)
    left = insides.open("e1", "i1")
    assert left is not None
    await left.close(gone=False)
    insides.forget(str(left.sockets.folder))
    insides.forget(str(short_dir))
    assert not left.sockets.folder.exists()
    assert insides.open("e1", "i2") is not None, "the folder around it is still there"


async def test_an_engine_runs_without_when_nothing_can_listen(short_dir: Path) -> None:
    events: list[NodeEvent] = []
    insides = EngineInsides(short_dir / "gone", clock=FakeClock(), on_event=events.append, keep=keep_nothing)
    assert insides.open("e1", "i1") is None
    assert [event.kind for event in events] == ["plugin_silent"]
