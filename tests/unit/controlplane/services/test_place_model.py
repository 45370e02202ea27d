"""Placing a model: what it writes, what it refuses, and that a rehearsal writes nothing."""

import asyncio

import pytest

from controlplane.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from controlplane.fleet.desired import DesiredState
from controlplane.fleet.events import ReportReceived
from controlplane.fleet.observed import Device
from controlplane.services.free_text import ARGUMENT_CHARACTERS_MAX, ARGUMENTS_MAX
from controlplane.services.place_model import PlaceOrder
from controlplane.services.stop_placement import Target
from tests.support.clock import START
from tests.support.plane import ANN, Plane

ORDER = PlaceOrder("org/llama", "gcp-1", "/models/llama", ("--max-model-len", "4096"))


async def test_it_is_in_force_in_sql_in_the_audit_and_in_the_log_when_it_returns(fleet: Plane) -> None:
    answer = await fleet.place(ORDER, ANN, dry_run=False)
    assert answer.placement_ids == ("org-llama@gcp-1",)
    assert answer.changed
    [placement] = fleet.wanted().placements.values()
    assert (placement.placement_id, placement.node, placement.generation) == ("org-llama@gcp-1", "gcp-1", 1)
    assert (placement.desired, placement.created_by, placement.created_at) == (DesiredState.RUNNING, "ann", START)
    assert (placement.deployment.model, placement.deployment.source) == ("org/llama", "/models/llama")
    assert await fleet.database.run(lambda uow: uow.placements.all()) == [placement]
    [entry] = await fleet.audit()
    assert (entry.actor, entry.action, entry.target, entry.peer) == (
        "operator:ann",
        "place",
        "org-llama@gcp-1",
        ANN.peer,
    )
    assert fleet.kinds() == ["placement_created"]


async def test_a_rehearsal_says_the_same_and_changes_nothing(fleet: Plane) -> None:
    version = fleet.store.snapshot.version
    would = await fleet.place(ORDER, ANN, dry_run=True)
    assert fleet.store.snapshot.version == version
    assert await fleet.audit() == []
    assert fleet.kinds() == []
    assert await fleet.database.run(lambda uow: (uow.placements.all(), uow.deployments.all())) == ([], [])
    done = await fleet.place(ORDER, ANN, dry_run=False)
    assert would.placement_ids == done.placement_ids
    assert would.steps[0] == done.steps[0].replace("starts", "would start")


async def test_again_on_the_same_node_it_is_another_placement(fleet: Plane) -> None:
    for _ in range(3):
        await fleet.place(ORDER, ANN, dry_run=False)
    assert set(fleet.wanted().placements) == {"org-llama@gcp-1", "org-llama@gcp-1.2", "org-llama@gcp-1.3"}
    assert len(fleet.wanted().deployments) == 1


async def test_a_model_that_was_placed_needs_no_source(fleet: Plane) -> None:
    await fleet.place(ORDER, ANN, dry_run=False)
    await fleet.place(PlaceOrder("org/llama", "aws-1"), ANN, dry_run=False)
    assert fleet.wanted().placements["org-llama@aws-1"].deployment.source == "/models/llama"


async def test_names_that_look_alike_get_ids_of_their_own(fleet: Plane) -> None:
    await fleet.place(PlaceOrder("org/llama", "gcp-1", "/a"), ANN, dry_run=False)
    await fleet.place(PlaceOrder("org-llama", "gcp-1", "/b"), ANN, dry_run=False)
    found = {p.placement_id: p.deployment.model for p in fleet.wanted().placements.values()}
    assert found == {"org-llama@gcp-1": "org/llama", "org-llama@gcp-1.2": "org-llama"}


@pytest.mark.parametrize(
    ("order", "error", "words"),
    [
        (PlaceOrder("llama", "nobody", "/m"), NotFoundError, "aws-1, gcp-1"),
        (PlaceOrder("llama", "no\x1bbody", "/m"), NotFoundError, "\\x1b"),
        (PlaceOrder("llama", "gcp-1"), InvalidInputError, "--source"),
        (PlaceOrder("[red]x", "gcp-1", "/m"), InvalidInputError, "model name"),
        (PlaceOrder("", "gcp-1", "/m"), InvalidInputError, "model name"),
        (PlaceOrder("llama", "gcp-1", "/m\n"), InvalidInputError, "control characters"),
        (PlaceOrder("llama", "gcp-1", "/m", ("--a\0",)), InvalidInputError, "control characters"),
        (PlaceOrder("llama", "gcp-1", "/m", ("x",) * (ARGUMENTS_MAX + 1)), InvalidInputError, "at most"),
        (PlaceOrder("llama", "gcp-1", "/" * (ARGUMENT_CHARACTERS_MAX + 1)), InvalidInputError, "at most"),
        (PlaceOrder("llama", "gcp-1", "/m", deployment="a b"), InvalidInputError, "not valid"),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
async def test_what_cannot_be_placed(
    fleet: Plane, order: PlaceOrder, error: type[Exception], words: str, *, dry_run: bool
) -> None:
    with pytest.raises(error) as refused:
        await fleet.place(order, ANN, dry_run=dry_run)
    assert words in str(refused.value)
    assert str(refused.value).isprintable()
    assert not fleet.wanted().placements
    assert await fleet.audit() == []


async def test_a_deployment_cannot_mean_two_things(fleet: Plane) -> None:
    await fleet.place(ORDER, ANN, dry_run=False)
    for other in (
        PlaceOrder("org/llama", "aws-1", "/elsewhere"),
        PlaceOrder("org/llama", "aws-1", engine_args=("--dtype", "half")),
        PlaceOrder("other", "aws-1", deployment="org/llama"),
    ):
        with pytest.raises(ConflictError, match="--deployment"):
            await fleet.place(other, ANN, dry_run=False)
    await fleet.place(PlaceOrder("org/llama", "aws-1", "/elsewhere", deployment="llama-b"), ANN, dry_run=False)
    assert set(fleet.wanted().deployments) == {"org/llama", "llama-b"}


async def test_a_cordoned_node_takes_nothing(fleet: Plane) -> None:
    await fleet.stop.drain(Target(node="gcp-1", reason="a fan is loud"), ANN, dry_run=False)
    with pytest.raises(ConflictError, match="a fan is loud"):
        await fleet.place(ORDER, ANN, dry_run=False)


async def test_devices_that_the_node_does_not_have(fleet: Plane) -> None:
    order = PlaceOrder("llama", "gcp-1", "/m", device_ids=("cuda:7",))
    assert (await fleet.place(order, ANN, dry_run=True)).changed, "unknown is not absent"
    fleet.store.apply_now(ReportReceived("gcp-1", (), START, devices=(Device("cuda:0", "H100", "cuda"),)))
    with pytest.raises(NotFoundError, match="it has cuda:0"):
        await fleet.place(order, ANN, dry_run=False)


async def test_with_the_database_away_nothing_changes_in_memory(fleet: Plane) -> None:
    version = fleet.store.snapshot.version
    await fleet.database.close()
    with pytest.raises(UnavailableError):
        await fleet.place(ORDER, ANN, dry_run=False)
    assert fleet.store.snapshot.version == version
    assert fleet.kinds() == []


async def test_two_at_once_do_not_take_the_same_name(fleet: Plane) -> None:
    answers = await asyncio.gather(*(fleet.place(ORDER, ANN, dry_run=False) for _ in range(5)))
    assert len({answer.placement_ids for answer in answers}) == 5
    assert len(fleet.wanted().placements) == 5
