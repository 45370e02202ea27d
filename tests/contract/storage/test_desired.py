"""Desired state comes back as it was put, and the database refuses what cannot be."""

from dataclasses import replace

import pytest

from controlplane.errors import ConflictError
from controlplane.fleet.desired import Deployment, DesiredState
from controlplane.fleet.observed import NodeLocation
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork, load_desired
from tests.contract.storage.facts import LLAMA, T0, at, node, placement


async def test_all_desired_state_comes_back_as_it_was_put(database: Database) -> None:
    ann = node("gcp-1", advertised_hosts=("10.0.0.1", "gcp-1.example"), certificate_not_after=at(3600))
    bob = node("aws-1", location=NodeLocation("aws", "us-east-1"), cordoned=True, cordon_reason="new <b>disk</b>")
    placed = placement(device_ids=("cpu:0", "cpu:1"), drain_seconds_max=12.5, desired=DesiredState.DRAINED)

    def put(uow: UnitOfWork) -> None:
        for each in (ann, bob):
            uow.nodes.put(each)
        uow.placements.put(placed)

    await database.run(put)
    desired = await database.run(load_desired)
    assert desired.nodes == {"aws-1": bob, "gcp-1": ann}
    assert desired.deployments == {"llama": LLAMA}
    assert desired.placements == {"llama@gcp-1": placed}
    assert await database.run(lambda uow: (uow.nodes.get("gcp-1"), uow.nodes.get("x"))) == (ann, None)
    assert await database.run(lambda uow: (uow.placements.get(placed.placement_id), uow.placements.get("x"))) == (
        placed,
        None,
    )


async def test_put_replaces(database: Database) -> None:
    def change(uow: UnitOfWork) -> None:
        uow.nodes.put(node())
        uow.nodes.put(node(identity_serial="s2"))
        uow.placements.put(placement())
        uow.placements.put(placement(generation=2))
        uow.deployments.put(replace(LLAMA, engine_args=()))

    await database.run(change)
    desired = await database.run(load_desired)
    assert desired.nodes["gcp-1"].identity_serial == "s2"
    assert desired.placements["llama@gcp-1"].generation == 2
    assert desired.placements["llama@gcp-1"].deployment.engine_args == ()


async def test_a_cordon_is_set_and_lifted(database: Database) -> None:
    await database.run(lambda uow: uow.nodes.put(node()))
    assert await database.run(lambda uow: uow.nodes.set_cordon("gcp-1", True, "memory errors"))
    cordoned = await database.run(lambda uow: uow.nodes.get("gcp-1"))
    assert cordoned is not None
    assert (cordoned.cordoned, cordoned.cordon_reason) == (True, "memory errors")
    assert await database.run(lambda uow: uow.nodes.set_cordon("gcp-1", False, "no more"))
    assert await database.run(lambda uow: uow.nodes.get("gcp-1")) == node()
    assert not await database.run(lambda uow: uow.nodes.set_cordon("unknown", True, ""))


async def test_a_node_with_placements_is_not_removed(database: Database) -> None:
    def place(uow: UnitOfWork) -> None:
        uow.nodes.put(node())
        uow.placements.put(placement())

    await database.run(place)
    with pytest.raises(ConflictError, match="remove llama@gcp-1 first"):
        await database.run(lambda uow: uow.nodes.remove("gcp-1"))
    assert await database.run(lambda uow: (uow.placements.remove("llama@gcp-1"), uow.nodes.remove("gcp-1"))) == (
        True,
        True,
    )
    assert await database.run(lambda uow: (uow.placements.remove("llama@gcp-1"), uow.nodes.remove("gcp-1"))) == (
        False,
        False,
    )


async def test_only_unused_deployments_are_removed(database: Database) -> None:
    other = Deployment("mistral", "mistral", "/models/mistral")

    def fill(uow: UnitOfWork) -> None:
        uow.nodes.put(node())
        uow.placements.put(placement())
        uow.deployments.put(other)

    await database.run(fill)
    assert await database.run(lambda uow: uow.deployments.all()) == [LLAMA, other]
    assert await database.run(lambda uow: uow.deployments.remove_unused()) == ["mistral"]
    assert await database.run(lambda uow: (uow.deployments.get("llama"), uow.deployments.get("mistral"))) == (
        LLAMA,
        None,
    )


async def test_a_placement_cannot_contradict_its_deployment_or_stand_on_an_unknown_node(database: Database) -> None:
    await database.run(lambda uow: uow.nodes.put(node()))
    await database.run(lambda uow: uow.deployments.put(LLAMA))
    with pytest.raises(ConflictError, match="deployment llama exists with another"):
        await database.run(lambda uow: uow.placements.put(placement(deployment=replace(LLAMA, source="/elsewhere"))))
    with pytest.raises(ConflictError, match="node azure-1 is not enrolled"):
        await database.run(lambda uow: uow.placements.put(placement(node="azure-1")))
    assert (await database.run(load_desired)).placements == {}


async def test_an_impossible_value_is_refused_by_the_database(database: Database) -> None:
    await database.run(lambda uow: uow.nodes.put(node()))
    with pytest.raises(ConflictError, match="generation_not_negative"):
        await database.run(lambda uow: uow.placements.put(placement(generation=-1)))


async def test_times_come_back_in_utc_to_the_microsecond(database: Database) -> None:
    odd = T0.replace(microsecond=123457)
    await database.run(lambda uow: uow.nodes.put(node(enrolled_at=odd)))
    back = await database.run(lambda uow: uow.nodes.get("gcp-1"))
    assert back is not None
    assert back.enrolled_at.isoformat() == "2026-11-22T14:00:00.123457+00:00"
