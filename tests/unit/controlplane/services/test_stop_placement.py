"""Drain, remove and resume, of a placement and of a node."""

import pytest

from controlplane.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from controlplane.fleet.desired import DesiredState
from controlplane.fleet.observed import EngineGauges
from controlplane.services.place_model import PlaceOrder
from controlplane.services.stop_placement import Target
from tests.support.fleet import placed, reported
from tests.support.plane import ANN, DRAIN_SECONDS_MAX, Plane

LLAMA = Target(placement_id="llama@gcp-1")
BOTH = (placed("llama@gcp-1"), placed("llama@gcp-1.2"))


@pytest.fixture
async def serving(fleet: Plane) -> Plane:
    """Two placements on gcp-1, one on aws-1; gcp-1 is connected and runs its own."""
    await fleet.enrol(placements=(*BOTH, placed("llama@aws-1")))
    fleet.connect("gcp-1", reported("llama@gcp-1"), reported("llama@gcp-1.2"))
    return fleet


def states(plane: Plane) -> dict[str, tuple[str, int]]:
    return {key: (found.desired.value, found.generation) for key, found in plane.wanted().placements.items()}


async def test_a_drain_is_in_force_when_it_returns_and_resume_undoes_it(serving: Plane) -> None:
    answer = await serving.stop.drain(Target("llama@gcp-1", drain_seconds_max=30.0, reason="tests"), ANN, dry_run=False)
    assert (answer.placement_ids, answer.changed) == (("llama@gcp-1",), True)
    assert "at most 30 s (1 run there)" in answer.steps[0]
    assert states(serving)["llama@gcp-1"] == ("drained", 2)
    assert serving.wanted().placements["llama@gcp-1"].drain_seconds_max == 30.0
    answer = await serving.stop.resume(LLAMA, ANN, dry_run=False)
    assert states(serving)["llama@gcp-1"] == ("running", 3)
    assert serving.wanted().placements["llama@gcp-1"].drain_seconds_max is None
    assert [(entry.action, entry.target, entry.outcome) for entry in await serving.audit()] == [
        ("drain", "llama@gcp-1", "1 changed"),
        ("resume", "llama@gcp-1", "1 changed"),
    ]
    assert [kind for kind in serving.kinds() if kind.startswith("placement")] == [
        "placement_drained",
        "placement_resumed",
    ]
    drained = next(event for event in serving.events.recent() if event.kind == "placement_drained")
    assert (drained.actor, drained.message) == ("operator:ann", "drain of llama@gcp-1 asked for: tests")


@pytest.mark.parametrize("action", ["drain", "remove", "resume"])
@pytest.mark.parametrize("target", [LLAMA, Target(node="gcp-1")])
async def test_a_rehearsal_changes_nothing(serving: Plane, action: str, target: Target) -> None:
    version, before, kinds = serving.store.snapshot.version, states(serving), serving.kinds()
    answer = await getattr(serving.stop, action)(target, ANN, dry_run=True)
    assert answer.steps
    assert serving.store.snapshot.version == version
    assert (states(serving), serving.kinds()) == (before, kinds)
    assert await serving.audit() == []


async def test_what_is_so_already_is_said_to_be(serving: Plane) -> None:
    answer = await serving.stop.resume(LLAMA, ANN, dry_run=False)
    assert (answer.changed, answer.placement_ids) == (False, ())
    assert "nothing to do" in answer.steps[0]
    assert states(serving)["llama@gcp-1"] == ("running", 1)


async def test_draining_a_node_cordons_it_and_resume_lifts_that(serving: Plane) -> None:
    answer = await serving.stop.drain(Target(node="gcp-1"), ANN, dry_run=False)
    assert answer.steps[0] == "gcp-1 takes no new placements"
    assert set(answer.placement_ids) == {"llama@gcp-1", "llama@gcp-1.2"}
    node = serving.wanted().nodes["gcp-1"]
    assert (node.cordoned, node.cordon_reason) == (True, "drained by ann")
    assert states(serving)["llama@aws-1"] == ("running", 1)
    with pytest.raises(ConflictError, match="cordoned"):
        await serving.place(PlaceOrder("llama", "gcp-1"), ANN, dry_run=False)
    await serving.stop.resume(Target(node="gcp-1"), ANN, dry_run=False)
    node = serving.wanted().nodes["gcp-1"]
    assert (node.cordoned, node.cordon_reason) == (False, "")
    assert states(serving) == {
        "llama@gcp-1": ("running", 3),
        "llama@gcp-1.2": ("running", 3),
        "llama@aws-1": ("running", 1),
    }


async def test_a_node_without_placements_can_be_cordoned(serving: Plane) -> None:
    await serving.stop.remove(Target("llama@aws-1"), ANN, dry_run=False)
    answer = await serving.stop.drain(Target(node="aws-1"), ANN, dry_run=False)
    assert answer.changed
    assert serving.wanted().nodes["aws-1"].cordoned


async def test_what_is_being_removed_cannot_be_brought_back(serving: Plane) -> None:
    await serving.stop.remove(LLAMA, ANN, dry_run=False)
    for action in (serving.stop.resume, serving.stop.drain):
        with pytest.raises(ConflictError, match="being removed"):
            await action(LLAMA, ANN, dry_run=False)
    assert states(serving)["llama@gcp-1"] == ("removed", 2)
    await serving.stop.resume(Target(node="gcp-1"), ANN, dry_run=False)
    assert states(serving)["llama@gcp-1"] == ("removed", 2), "a node's resume leaves it alone"


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (Target(), InvalidInputError),
        (Target("llama@gcp-1", "gcp-1"), InvalidInputError),
        (Target("nobody"), NotFoundError),
        (Target(node="nobody\x1b"), NotFoundError),
        (Target("llama@gcp-1", drain_seconds_max=-1.0), InvalidInputError),
        (Target("llama@gcp-1", drain_seconds_max=float("nan")), InvalidInputError),
        (Target("llama@gcp-1", drain_seconds_max=float("inf")), InvalidInputError),
        (Target("llama@gcp-1", reason="a\x1b[31mb"), InvalidInputError),
        (Target("llama@gcp-1", reason="a" * 501), InvalidInputError),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
async def test_what_cannot_be_done(serving: Plane, target: Target, error: type[Exception], *, dry_run: bool) -> None:
    before = states(serving)
    with pytest.raises(error) as refused:
        await serving.stop.drain(target, ANN, dry_run=dry_run)
    assert str(refused.value).isprintable()
    assert states(serving) == before
    assert await serving.audit() == []


async def test_an_engine_that_nobody_placed_can_be_removed_and_nothing_else(fleet: Plane) -> None:
    session = fleet.connect("gcp-1", reported("stray@gcp-1", generation=7))
    for action in (fleet.stop.drain, fleet.stop.resume):
        with pytest.raises(NotFoundError):
            await action(Target("stray@gcp-1"), ANN, dry_run=False)
    answer = await fleet.stop.remove(Target("stray@gcp-1"), ANN, dry_run=False)
    assert answer.placement_ids == ("stray@gcp-1",)
    assert states(fleet) == {"stray@gcp-1": ("removed", 8)}
    command = session.queue.get_nowait()
    assert getattr(command, "engine_id", None) == "stray@gcp-1"


async def test_a_stray_that_tells_no_model_can_be_removed_too(fleet: Plane) -> None:
    fleet.connect("gcp-1", reported("stray@gcp-1", model=""))
    answer = await fleet.stop.remove(Target("stray@gcp-1"), ANN, dry_run=False)
    assert answer.changed


async def test_how_many_run_there_is_told_only_when_it_is_known(serving: Plane) -> None:
    serving.connect("gcp-1", reported("llama@gcp-1", gauges=EngineGauges()))
    unknown = await serving.stop.drain(LLAMA, ANN, dry_run=True)
    assert "it is not known how many run there" in unknown.steps[0]
    assert f"at most {DRAIN_SECONDS_MAX:.0f} s" in unknown.steps[0]
    nothing = await serving.stop.drain(Target("llama@aws-1"), ANN, dry_run=True)
    assert "nothing known to run there" in nothing.steps[0]


async def test_with_the_database_away_nothing_changes_in_memory(serving: Plane) -> None:
    version, before = serving.store.snapshot.version, states(serving)
    await serving.database.close()
    for target in (LLAMA, Target(node="gcp-1")):
        with pytest.raises(UnavailableError):
            await serving.stop.drain(target, ANN, dry_run=False)
    assert (serving.store.snapshot.version, states(serving)) == (version, before)
    assert "placement_drained" not in serving.kinds()
    assert serving.wanted().placements["llama@gcp-1"].desired is DesiredState.RUNNING
