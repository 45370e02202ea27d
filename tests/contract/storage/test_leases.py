"""Leases, tenants, policies with versions, schedules."""

from dataclasses import replace

import pytest

from controlplane.errors import NotFoundError
from controlplane.fleet.leases import Lease
from controlplane.fleet.stored_policies import PolicyVersion, Schedule
from controlplane.storage.database import Database
from tests.contract.storage.facts import T0, at

LEASE = Lease(
    "l1",
    "gcp",
    "NVIDIA H100",
    8,
    starts_at=T0,
    ends_at=at(60),
    created_at=T0,
    created_by="operator:ann",
    region="us-east1",
    nodes=("gcp-1", "gcp-2"),
    price_per_device_hour=2.49,
    currency="USD",
    note="for the \N{SNOWMAN} team",
)
BARE = Lease("l2", "aws", "A100", 1, starts_at=T0, ends_at=at(30), created_at=T0, created_by="operator:bob")
POLICY = PolicyVersion("night", 0, "admission", {"classes": {"bulk": 0.5}}, T0, "operator:ann", comment="first")


async def test_the_lease_that_ends_first_comes_first(database: Database) -> None:
    for lease in (LEASE, BARE):
        await database.run(lambda uow, lease=lease: uow.leases.put(lease))  # type: ignore[misc]
    assert await database.run(lambda uow: uow.leases.list()) == [BARE, LEASE]
    assert await database.run(lambda uow: uow.leases.list(ending_after=at(30))) == [LEASE]
    assert await database.run(lambda uow: uow.leases.get("l1")) == LEASE
    assert await database.run(lambda uow: uow.leases.get("l3")) is None
    longer = replace(LEASE, ends_at=at(90))
    await database.run(lambda uow: uow.leases.put(longer))
    assert await database.run(lambda uow: uow.leases.get("l1")) == longer


async def test_a_tenant_is_noted_once(database: Database) -> None:
    await database.run(lambda uow: uow.tenants.add_new("acme", T0, "operator:ann"))
    await database.run(lambda uow: uow.tenants.add_new("acme", at(5), "operator:bob"))
    await database.run(lambda uow: uow.tenants.add_new("a", at(5), "operator:bob"))
    assert await database.run(lambda uow: uow.tenants.names()) == ["a", "acme"]


async def test_one_version_of_a_policy_is_in_force(database: Database) -> None:
    first = await database.run(lambda uow: uow.policies.add(POLICY))
    second = await database.run(lambda uow: uow.policies.add(replace(POLICY, document={"classes": {}}, version=77)))
    assert (first.version, second.version) == (1, 2)
    assert await database.run(lambda uow: uow.policies.in_force("admission")) == []
    await database.run(lambda uow: uow.policies.apply("night", 1, at(1)))
    await database.run(lambda uow: uow.policies.apply("night", 2, at(2)))
    (in_force,) = await database.run(lambda uow: uow.policies.in_force("admission"))
    assert (in_force.version, in_force.document, in_force.applied_at) == (2, {"classes": {}}, at(2))
    assert await database.run(lambda uow: uow.policies.in_force("routing")) == []
    versions = await database.run(lambda uow: uow.policies.versions("night"))
    assert [(each.version, each.withdrawn_at) for each in versions] == [(2, None), (1, at(2))]
    await database.run(lambda uow: uow.policies.apply("night", 1, at(3)))  # rolled back
    assert [each.version for each in await database.run(lambda uow: uow.policies.in_force("admission"))] == [1]


async def test_a_version_that_is_not_there_leaves_the_one_in_force(database: Database) -> None:
    await database.run(lambda uow: uow.policies.add(POLICY))
    await database.run(lambda uow: uow.policies.apply("night", 1, at(1)))
    with pytest.raises(NotFoundError, match="no version 9"):
        await database.run(lambda uow: uow.policies.apply("night", 9, at(2)))
    assert [each.version for each in await database.run(lambda uow: uow.policies.in_force("admission"))] == [1]


async def test_schedules_are_replaced_and_removed(database: Database) -> None:
    nightly = Schedule("s1", "0 3 * * *", "drain", "llama@gcp-1", T0, "operator:ann", {"deadline_seconds": 60})
    await database.run(lambda uow: uow.schedules.put(nightly))
    later = replace(nightly, cron="0 4 * * *", enabled=False, ends_at=at(9))
    await database.run(lambda uow: uow.schedules.put(later))
    assert await database.run(lambda uow: uow.schedules.all()) == [later]
    assert await database.run(lambda uow: uow.schedules.remove("s1"))
    assert not await database.run(lambda uow: uow.schedules.remove("s1"))
