"""What the gateway goes on with when the daemon is dead: an engine leaves only for reasons that hold without us."""

from dataclasses import replace

import pytest

from controlplane.fleet.desired import DesiredState
from controlplane.fleet.endpoints import EngineEndpoint, PublishedFleet
from controlplane.fleet.events import DesiredChanged, SessionClosed, SummariesRestored
from controlplane.fleet.observed import EngineState
from controlplane.fleet.summaries import EngineSummary
from controlplane.runtime.fleet_store import FleetStore
from controlplane.services.publish_endpoints import PublishEndpoints
from tests.support.clock import SettableClock
from tests.support.fleet import THRESHOLDS, at, desired, enrolled, opened, placed, report, reported

NODES = [enrolled("gcp-1"), enrolled("aws-1"), enrolled("azure-1")]
PLACED = [placed("llama@gcp-1"), placed("llama@aws-1"), placed("llama@azure-1")]


class Files:
    """What was written for the gateway, in order; a full disk when told."""

    def __init__(self) -> None:
        self.written: list[PublishedFleet] = []
        self.full = False

    def write(self, fleet: PublishedFleet) -> bool:
        if not self.full:
            self.written.append(fleet)
        return not self.full

    def engines(self) -> list[str]:
        return [engine.engine_id for engine in self.written[-1].engines]


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def store(files: Files, clock: SettableClock) -> FleetStore:
    made = FleetStore(clock, THRESHOLDS)
    made.subscribe(PublishEndpoints(files.write, frozenset).on_change)
    made.apply_now(
        DesiredChanged(desired(NODES, PLACED)), *(opened(n.name, 0, reported(f"llama@{n.name}")) for n in NODES)
    )
    return made


def heard(store: FleetStore, clock: SettableClock, seconds: float, *nodes: str) -> None:
    """These nodes report; the others are silent."""
    clock.set(at(seconds))
    store.apply_now(*(report(node, seconds, reported(f"llama@{node}")) for node in nodes))


def test_models_and_engines(store: FleetStore, files: Files) -> None:
    [fleet] = files.written
    assert fleet.models == ("llama",)
    assert fleet.engines[0] == EngineEndpoint("llama@aws-1", "llama", "10.0.0.1:8000", "aws-1")
    assert files.engines() == ["llama@aws-1", "llama@azure-1", "llama@gcp-1"]


def test_reports_that_change_nothing_for_the_gateway_write_nothing(
    store: FleetStore, files: Files, clock: SettableClock
) -> None:
    for second in range(1, 30):
        heard(store, clock, second, "gcp-1", "aws-1", "azure-1")
    store.apply_now(SessionClosed("gcp-1", at(30)))
    assert len(files.written) == 1


def test_a_lost_node_leaves_and_comes_back(store: FleetStore, files: Files, clock: SettableClock) -> None:
    for second in range(10, 61, 10):
        heard(store, clock, second, "aws-1", "azure-1")
    assert "llama@gcp-1" in files.engines(), "stale is not lost"
    heard(store, clock, 61, "aws-1", "azure-1")
    assert files.engines() == ["llama@aws-1", "llama@azure-1"]
    heard(store, clock, 62, "gcp-1", "aws-1", "azure-1")
    assert len(files.engines()) == 3


def test_when_most_are_lost_at_once_nothing_is_removed(store: FleetStore, files: Files, clock: SettableClock) -> None:
    clock.advance(100)
    store.apply_now()
    assert store.snapshot.suspect
    assert all(node.lost for node in store.snapshot.nodes.values())
    assert len(files.written) == 1


@pytest.mark.parametrize("state", [DesiredState.DRAINED, DesiredState.REMOVED])
def test_what_is_taken_out_of_service_leaves_at_once(store: FleetStore, files: Files, state: DesiredState) -> None:
    store.apply_now(DesiredChanged(desired(NODES, [replace(PLACED[0], desired=state), *PLACED[1:]])))
    assert files.engines() == ["llama@aws-1", "llama@azure-1"]


def test_a_model_stays_known_while_its_only_placement_is_drained(store: FleetStore, files: Files) -> None:
    store.apply_now(DesiredChanged(desired(NODES, [replace(PLACED[0], desired=DesiredState.DRAINED)])))
    assert files.written[-1] == PublishedFleet(("llama",), ())
    store.apply_now(DesiredChanged(desired(NODES, [replace(PLACED[0], desired=DesiredState.REMOVED)])))
    assert files.written[-1] == PublishedFleet((), ())


@pytest.mark.parametrize(
    "engine",
    [
        *(reported("llama@gcp-1", state=state) for state in EngineState if state is not EngineState.READY),
        reported("llama@gcp-1", endpoint=""),
        reported("llama@gcp-1", model="other"),
        reported("llama@gcp-1", model="\x1b no model name"),
        reported("stray@gcp-1"),
    ],
)
def test_what_does_not_belong_is_not_published(store: FleetStore, files: Files, engine: object) -> None:
    store.apply_now(replace(report("gcp-1", 1), engines=(engine,)))  # type: ignore[arg-type]  # a report of it alone
    assert files.engines() == ["llama@aws-1", "llama@azure-1"]


def test_a_write_that_failed_is_tried_again(store: FleetStore, files: Files, clock: SettableClock) -> None:
    files.full = True
    store.apply_now(DesiredChanged(desired(NODES, PLACED[1:])))
    assert len(files.written) == 1
    heard(store, clock, 1, "gcp-1", "aws-1")
    files.full = False
    heard(store, clock, 2, "gcp-1", "aws-1")
    assert files.engines() == ["llama@aws-1", "llama@azure-1"]
    heard(store, clock, 3, "gcp-1", "aws-1")
    assert len(files.written) == 2


def test_a_daemon_that_starts_publishes_what_it_remembers(files: Files) -> None:
    made = FleetStore(SettableClock(), THRESHOLDS)
    made.subscribe(PublishEndpoints(files.write, frozenset).on_change)
    summary = EngineSummary("llama@gcp-1", "gcp-1", "llama", 1, "i1", EngineState.READY, "10.0.0.1:8000", at(-60))
    made.apply_now(DesiredChanged(desired(NODES, PLACED)), SummariesRestored((summary,)))
    assert files.engines() == ["llama@gcp-1"]
