"""A restart: a new generation, with the same arguments or others, and never of what is not to run."""

import pytest

from controlplane.errors import ConflictError, InvalidInputError, NotFoundError
from controlplane.fleet.desired import Adapter, Deployment, DesiredState
from controlplane.services.restart_engine import RestartEngine, RestartOrder
from tests.support.fleet import LLAMA, enrolled, placed
from tests.support.plane import ANN, Plane

ENGINE, OTHER = "llama@gcp-1", "llama@aws-1"
ARGS = ("--max-model-len", "9")


@pytest.fixture
def restart(fleet: Plane) -> RestartEngine:
    return RestartEngine(fleet.desired, fleet.store, fleet.events, fleet.clock)


async def test_without_arguments_only_the_generation_changes(fleet: Plane, restart: RestartEngine) -> None:
    await fleet.enrol(placements=(placed(ENGINE, generation=4),))
    answer = await restart(RestartOrder(ENGINE, reason="stuck"), ANN, dry_run=False)
    after = fleet.wanted().placements[ENGINE]
    assert (after.generation, after.deployment) == (5, LLAMA)
    assert any("gcp-1 is not connected" in step for step in answer.steps)
    [entry] = await fleet.audit()
    assert (entry.action, entry.detail) == ("restart", "generation 5: stuck")
    assert fleet.kinds()[-1] == "placement_restarted"
    assert (await fleet.database.run(lambda uow: uow.placements.all()))[0].generation == 5


async def test_arguments_of_its_own_deployment_are_changed_in_place(fleet: Plane, restart: RestartEngine) -> None:
    await fleet.enrol(placements=(placed(ENGINE),))
    await restart(RestartOrder(ENGINE, ARGS), ANN, dry_run=False)
    assert fleet.wanted().placements[ENGINE].deployment == Deployment("llama", "llama", "/models/llama", ARGS)
    await restart(RestartOrder(ENGINE, ()), ANN, dry_run=False)
    assert fleet.wanted().deployments == {"llama": LLAMA}


async def test_another_placement_keeps_the_arguments_that_it_has(fleet: Plane, restart: RestartEngine) -> None:
    await fleet.enrol(placements=(placed(ENGINE), placed(OTHER)))
    answer = await restart(RestartOrder(ENGINE, ARGS), ANN, dry_run=False)
    wanted = fleet.wanted()
    assert wanted.placements[ENGINE].deployment == Deployment("llama-2", "llama", "/models/llama", ARGS)
    assert (wanted.placements[OTHER].deployment, wanted.placements[OTHER].generation) == (LLAMA, 1)
    assert "becomes deployment llama-2" in answer.steps[0]


async def test_a_deployment_that_is_so_already_is_used(fleet: Plane, restart: RestartEngine) -> None:
    third = "llama@gcp-1.2"
    await fleet.enrol(placements=(placed(ENGINE), placed(OTHER), placed(third)))
    for name in (ENGINE, OTHER):
        await restart(RestartOrder(name, ARGS), ANN, dry_run=False)
    assert {name: each.deployment.name for name, each in fleet.wanted().placements.items()} == {
        ENGINE: "llama-2",
        OTHER: "llama-2",
        third: "llama",
    }


async def test_a_rehearsal_says_the_same_and_changes_nothing(fleet: Plane, restart: RestartEngine) -> None:
    await fleet.enrol(placements=(placed(ENGINE),))
    would = await restart(RestartOrder(ENGINE, ARGS), ANN, dry_run=True)
    assert fleet.wanted().placements[ENGINE] == placed(ENGINE)
    assert await fleet.audit() == []
    done = await restart(RestartOrder(ENGINE, ARGS), ANN, dry_run=False)
    assert [
        step.replace("would have", "has").replace("would drain and start", "drains and starts") for step in would.steps
    ] == list(done.steps)


async def test_what_is_not_restarted(fleet: Plane, restart: RestartEngine) -> None:
    served = placed(
        "c@gcp-1",
        deployment=Deployment("c", "c", "/c", ("--enable-lora",)),
        adapters=(Adapter("law", "/lora", 1),),
    )
    await fleet.enrol(
        enrolled("gcp-1"),
        placements=(
            placed("a@gcp-1", desired=DesiredState.REMOVED),
            placed("b@gcp-1", desired=DesiredState.DRAINED),
            served,
        ),
    )
    for order, error, words in (
        (RestartOrder("nobody@gcp-1"), NotFoundError, "stoker placements lists them"),
        (RestartOrder("a@gcp-1"), ConflictError, "place the model again"),
        (RestartOrder("b@gcp-1"), ConflictError, "stoker resume b@gcp-1"),
        (RestartOrder("c@gcp-1", ()), ConflictError, "law: keep --enable-lora"),
        (RestartOrder("c@gcp-1", ("--x\n",)), InvalidInputError, "control characters"),
        (RestartOrder("c@gcp-1", reason="x" * 501), InvalidInputError, "reason"),
    ):
        for dry_run in (True, False):
            with pytest.raises(error, match=words):
                await restart(order, ANN, dry_run=dry_run)
    assert await fleet.audit() == []
    await restart(RestartOrder("c@gcp-1"), ANN, dry_run=False)
    assert fleet.wanted().placements["c@gcp-1"].adapters == served.adapters, "they come along"
