"""Adapters as desired state: what a placement is to serve, and what is refused before any node is asked."""

import pytest

from controlplane.errors import ConflictError, InvalidInputError, NotFoundError
from controlplane.fleet.desired import Adapter, Deployment, DesiredState
from controlplane.fleet.node_commands import COMMANDS_CAPABILITY
from controlplane.services.change_adapters import ADAPTERS_MAX, AdapterOrder, ChangeAdapters, takes_adapters
from tests.support.fleet import placed, reported
from tests.support.plane import ANN, Plane

ENGINE = "llama@gcp-1"
LORA = Deployment("llama", "llama", "/models/llama", ("--enable-lora",))
LAW = AdapterOrder(ENGINE, "law", "/lora/law")


@pytest.fixture
def adapters(fleet: Plane) -> ChangeAdapters:
    return ChangeAdapters(fleet.desired, fleet.store, fleet.events, fleet.clock)


def wanted(fleet: Plane) -> tuple[Adapter, ...]:
    return fleet.wanted().placements[ENGINE].adapters


async def test_it_stays_wanted_until_it_is_unloaded(fleet: Plane, adapters: ChangeAdapters) -> None:
    await fleet.enrol(placements=(placed(ENGINE, deployment=LORA),))
    await adapters.load(LAW, ANN, dry_run=False)
    assert wanted(fleet) == (Adapter("law", "/lora/law", 1),)
    assert fleet.wanted().placements[ENGINE].generation == 1, "the engine is not started again for it"
    await adapters.unload(AdapterOrder(ENGINE, "law"), ANN, dry_run=False)
    assert wanted(fleet) == (Adapter("law", "/lora/law", 2, wanted=False),)
    assert not (await adapters.unload(AdapterOrder(ENGINE, "law"), ANN, dry_run=False)).changed
    assert fleet.kinds()[-2:] == ["adapter_wanted", "adapter_unwanted"]
    audit = await fleet.audit()
    assert sorted((entry.action, entry.outcome) for entry in audit) == [
        ("load_adapter", "changed"),
        ("unload_adapter", "changed"),
        ("unload_adapter", "no change"),
    ]


async def test_what_is_served_is_not_loaded_again_but_what_was_lost_is(fleet: Plane, adapters: ChangeAdapters) -> None:
    await fleet.enrol(placements=(placed(ENGINE, deployment=LORA),))
    await adapters.load(LAW, ANN, dry_run=False)
    assert (await adapters.load(LAW, ANN, dry_run=False)).changed, "the engine does not serve it: tried once more"
    assert wanted(fleet) == (Adapter("law", "/lora/law", 2),)
    fleet.connect("gcp-1", reported(ENGINE, adapters=("law",)), capabilities=(COMMANDS_CAPABILITY,))
    assert not (await adapters.load(LAW, ANN, dry_run=False)).changed


async def test_a_rehearsal_changes_nothing(fleet: Plane, adapters: ChangeAdapters) -> None:
    await fleet.enrol(placements=(placed(ENGINE, deployment=LORA),))
    answer = await adapters.load(LAW, ANN, dry_run=True)
    assert "gcp-1 would load law from /lora/law" in answer.steps[0]
    assert wanted(fleet) == ()
    assert await fleet.audit() == []


async def test_what_is_refused(fleet: Plane, adapters: ChangeAdapters) -> None:
    await fleet.enrol(
        placements=(
            placed(ENGINE, deployment=LORA),
            placed("plain@gcp-1", deployment=Deployment("plain", "plain", "/plain")),
            placed("gone@gcp-1", deployment=LORA, desired=DesiredState.REMOVED),
        )
    )
    await adapters.load(LAW, ANN, dry_run=False)
    for order, error, words in (
        (AdapterOrder("nobody@gcp-1", "law", "/x"), NotFoundError, "stoker placements lists them"),
        (AdapterOrder("gone@gcp-1", "law", "/x"), ConflictError, "being removed"),
        (AdapterOrder("plain@gcp-1", "law", "/x"), ConflictError, "runs without --enable-lora"),
        (AdapterOrder(ENGINE, "llama", "/x"), ConflictError, "name of the model itself"),
        (AdapterOrder(ENGINE, "law", "/elsewhere"), ConflictError, "unload it first"),
        (AdapterOrder(ENGINE, "law", "relative"), InvalidInputError, "absolute path"),
        (AdapterOrder(ENGINE, "[red]", "/x"), InvalidInputError, "model name"),
    ):
        with pytest.raises(error, match=words):
            await adapters.load(order, ANN, dry_run=False)
    with pytest.raises(NotFoundError, match="has no adapter"):
        await adapters.unload(AdapterOrder(ENGINE, "med"), ANN, dry_run=False)
    assert wanted(fleet) == (Adapter("law", "/lora/law", 1),)


async def test_an_agent_that_is_too_old(fleet: Plane, adapters: ChangeAdapters) -> None:
    await fleet.enrol(placements=(placed(ENGINE, deployment=LORA),))
    fleet.connect("gcp-1", capabilities=("commands.v1",))
    with pytest.raises(ConflictError, match="upgrade stoker-agent"):
        await adapters.load(LAW, ANN, dry_run=False)


async def test_there_is_room_for_so_many_and_what_was_unloaded_makes_way(
    fleet: Plane, adapters: ChangeAdapters
) -> None:
    full = tuple(Adapter(f"a{number}", "/a", number + 1) for number in range(ADAPTERS_MAX))
    await fleet.enrol(placements=(placed(ENGINE, deployment=LORA, adapters=full),))
    with pytest.raises(ConflictError, match="unload one first"):
        await adapters.load(LAW, ANN, dry_run=False)
    await adapters.unload(AdapterOrder(ENGINE, "a0"), ANN, dry_run=False)
    await adapters.load(LAW, ANN, dry_run=False)
    assert len(wanted(fleet)) == ADAPTERS_MAX
    assert wanted(fleet)[-1] == Adapter("law", "/lora/law", ADAPTERS_MAX + 2)


@pytest.mark.parametrize(
    ("arguments", "takes"),
    [
        ((), False),
        (("--enable-lora",), True),
        (("--enable_lora",), True),
        (("--enable-lora", "--no-enable-lora"), False),
        (("--no-enable-lora", "--enable-lora", "--seed", "1"), True),
        (("--enable-lora-bias",), False),
    ],
)
def test_the_last_word_counts(arguments: tuple[str, ...], takes: bool) -> None:
    assert takes_adapters(arguments) is takes
