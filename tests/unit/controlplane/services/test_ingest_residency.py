"""What agents tell of resident prefixes: believed of their own engines, asked for again when it does not add up."""

from dataclasses import replace

import pytest

from controlplane.fleet.desired import Desired
from controlplane.fleet.events import DesiredChanged, ReportReceived, SessionOpened
from controlplane.fleet.inside import ResidencyHeld, ResidencySummary
from controlplane.fleet.observed import EngineReport, NodeFacts
from controlplane.runtime.agent_sessions import AgentSession, AgentSessions, ResidencyWanted
from controlplane.runtime.fleet_store import FleetStore
from controlplane.runtime.prefix_index import PrefixIndex, ResidencyUpdate
from controlplane.services.ingest_residency import BEHIND_SECONDS_MAX, WANTED_SECONDS_MIN, IngestResidency
from tests.support.clock import SettableClock
from tests.support.fleet import THRESHOLDS, enrolled, placed, reported

ENGINE = "llama@gcp-1"


class Around:
    def __init__(self) -> None:
        self.clock = SettableClock()
        self.store = FleetStore(self.clock, THRESHOLDS)
        self.index = PrefixIndex()
        self.ingest = IngestResidency(self.index, self.store, self.clock)
        self.store.subscribe(self.ingest.on_change)
        nodes = {name: enrolled(name) for name in ("gcp-1", "aws-1")}
        self.store.apply_now(DesiredChanged(Desired(nodes=nodes, placements={ENGINE: placed(ENGINE)})))
        sessions = AgentSessions()
        self.session, self.stranger = sessions.open("gcp-1"), sessions.open("aws-1")

    def tell(
        self, *hashes: int, version: int = 1, whole: bool = True, base: int = 0, by: AgentSession | None = None
    ) -> None:
        checksum = sum(hashes) % 2**64
        update = ResidencyUpdate(ENGINE, "i1", base, version, whole, hashes, (), checksum, len(hashes))
        self.ingest.told(by or self.session, update)

    def report(self, *engines: EngineReport) -> None:
        self.ingest.reported(self.session, engines)
        self.store.apply_now(ReportReceived("gcp-1", engines, self.clock.now()))

    def wanted(self) -> list[str]:
        """Engines asked for since the last call."""
        found = []
        while not self.session.queue.empty():
            item = self.session.queue.get_nowait()
            assert isinstance(item, ResidencyWanted)
            found.append(item.engine_id)
        return found


@pytest.fixture
def around() -> Around:
    return Around()


def engine(*hashes: int, version: int = 1, instance: str = "i1") -> EngineReport:
    summary = ResidencySummary(version, len(hashes), 0, sum(hashes), complete=True)
    return reported(ENGINE, instance_id=instance, residency=summary)


def test_what_is_told_is_held_and_agrees_with_the_report(around: Around) -> None:
    around.tell(1, 2)
    around.report(engine(1, 2))
    assert around.index.held(ENGINE) == ResidencyHeld(2, True)
    assert around.wanted() == []


def test_a_drift_is_asked_about_at_once_and_then_not_more_than_now_and_then(around: Around) -> None:
    around.tell(1, 2)
    around.report(engine(1, 3))
    assert around.wanted() == [ENGINE]
    around.report(engine(1, 3))
    around.tell(9, version=9, whole=False, base=8)
    assert around.wanted() == []
    around.clock.advance(WANTED_SECONDS_MIN)
    around.report(engine(1, 3))
    assert around.wanted() == [ENGINE]
    around.tell(1, 3)
    assert around.index.held(ENGINE) == ResidencyHeld(2, True)


def test_an_update_that_does_not_follow_is_asked_about(around: Around) -> None:
    around.tell(1, version=4, whole=False, base=3)
    assert around.wanted() == [ENGINE]


def test_an_update_that_never_comes_is_asked_about_after_a_while(around: Around) -> None:
    around.tell(1, 2)
    around.report(engine(1, 2, 3, version=2))
    around.clock.advance(BEHIND_SECONDS_MAX / 2)
    around.report(engine(1, 2, 3, version=2))
    assert (around.wanted(), around.index.held(ENGINE)) == ([], ResidencyHeld(2, True))
    around.clock.advance(BEHIND_SECONDS_MAX / 2)
    around.report(engine(1, 2, 3, version=2))
    assert (around.wanted(), around.index.held(ENGINE)) == ([ENGINE], ResidencyHeld(2, False))


def test_an_agent_cannot_speak_for_another_nodes_engine(around: Around) -> None:
    around.tell(1, 2)
    around.tell(7, by=around.stranger)
    assert around.index.holds(ENGINE, 1)
    assert not around.index.holds(ENGINE, 7)
    around.ingest.reported(around.stranger, (engine(7),))
    assert around.index.held(ENGINE) == ResidencyHeld(2, True)


@pytest.mark.parametrize(
    "engines", [(), (engine(1, instance="i2"),), (replace(engine(1), residency=None),)], ids=["gone", "new", "silent"]
)
def test_what_is_held_ends_with_the_process_and_the_engine(around: Around, engines: tuple[EngineReport, ...]) -> None:
    around.tell(1, 2)
    around.report(*engines)
    assert around.index.held(ENGINE) is None


def test_what_is_held_ends_with_the_node_that_is_lost_but_not_with_one_that_is_silent_for_a_moment(
    around: Around,
) -> None:
    around.store.apply_now(SessionOpened("gcp-1", NodeFacts(), (engine(1),), around.clock.now()))
    around.tell(1)
    around.clock.advance(THRESHOLDS.stale_seconds + 1)
    around.store.apply_now()
    assert around.index.held(ENGINE) is not None
    around.clock.advance(THRESHOLDS.lost_seconds)
    around.store.apply_now()
    assert around.index.held(ENGINE) is None
