"""Keys, join tokens, operators, leadership and the engines last known."""

import asyncio
from dataclasses import replace

from controlplane.fleet.access import ApiKey, JoinToken, Role
from controlplane.fleet.history import AuditEntry
from controlplane.fleet.observed import EngineState
from controlplane.fleet.summaries import EngineSummary
from controlplane.storage.database import Database
from controlplane.storage.repositories.leadership import Leader
from controlplane.storage.unit_of_work import UnitOfWork
from tests.contract.storage.facts import T0, at

KEY = ApiKey("k1", "acme", T0, "operator:ann", expires_at=at(60), note="for the \N{SNOWMAN} team")
TOKEN = JoinToken("t1", b"\x00\xff hash", T0, "operator:ann", expires_at=at(60), node_name="gcp-1", replace=True)
SUMMARY = EngineSummary(
    engine_id="llama@gcp-1",
    node="gcp-1",
    model="llama",
    generation=3,
    instance_id="i1",
    state=EngineState.READY,
    endpoint="10.0.0.1:8001",
    last_report_at=T0,
    served_paths=("/v1/completions", "/v1/chat/completions"),
    context_tokens_max=4096,
    dtype="bfloat16",
)


async def test_keys_are_listed_and_revoked_once(database: Database) -> None:
    other = ApiKey("k2", "umbrella", at(1), "operator:ann")

    def fill(uow: UnitOfWork) -> None:
        uow.keys.put(KEY)
        uow.keys.put(other)

    await database.run(fill)
    assert await database.run(lambda uow: uow.keys.list()) == [KEY, other]
    assert await database.run(lambda uow: uow.keys.list("umbrella")) == [other]
    assert await database.run(lambda uow: uow.keys.revoke("k1", at(5)))
    assert not await database.run(lambda uow: uow.keys.revoke("k1", at(6)))
    assert not await database.run(lambda uow: uow.keys.revoke("unknown", at(6)))
    assert await database.run(lambda uow: uow.keys.get("k1")) == replace(KEY, revoked_at=at(5))
    assert await database.run(lambda uow: uow.keys.get("unknown")) is None
    assert await database.run(lambda uow: uow.keys.revoked_ids()) == {"k1"}
    assert await database.run(lambda uow: uow.keys.revoked_ids(not_expired_at=at(59))) == {"k1"}
    assert await database.run(lambda uow: uow.keys.revoked_ids(not_expired_at=at(60))) == frozenset()


async def test_a_join_token_is_used_by_one_caller_only(database_url: str) -> None:
    databases = [Database.open(database_url) for _ in range(4)]
    try:
        await databases[0].run(lambda uow: uow.tokens.put(TOKEN))

        async def use(number: int) -> bool:
            return await databases[number].run(lambda uow: uow.tokens.mark_used("t1", at(1), f"node-{number}"))

        won = await asyncio.gather(*(use(number) for number in range(4)))
        assert sum(won) == 1
        used = await databases[0].run(lambda uow: uow.tokens.get("t1"))
        assert used == replace(TOKEN, used_at=at(1), used_by_node=f"node-{won.index(True)}")
    finally:
        for database in databases:
            await database.close()


async def test_an_expired_or_unknown_token_cannot_be_used(database: Database) -> None:
    await database.run(lambda uow: uow.tokens.put(TOKEN))
    assert not await database.run(lambda uow: uow.tokens.mark_used("t1", at(60), "gcp-1"))
    assert not await database.run(lambda uow: uow.tokens.mark_used("unknown", at(1), "gcp-1"))
    assert await database.run(lambda uow: uow.tokens.get("t1")) == TOKEN
    assert await database.run(lambda uow: uow.tokens.purge_expired(at(60))) == 0
    assert await database.run(lambda uow: uow.tokens.purge_expired(at(61))) == 1
    assert await database.run(lambda uow: uow.tokens.get("t1")) is None


async def test_an_operators_new_certificate_takes_the_place_of_the_old(database: Database) -> None:
    def fill(uow: UnitOfWork) -> None:
        uow.operators.put("bob", Role.VIEWER, "b1", at(60), "operator:ann", T0)
        uow.operators.put("ann", Role.ADMIN, "a1", at(60), "init", T0)

    await database.run(fill)
    assert await database.run(lambda uow: uow.operators.revoke("ann", at(1)))
    assert not await database.run(lambda uow: uow.operators.revoke("ann", at(2)))
    revoked = await database.run(lambda uow: uow.operators.get("ann"))
    assert revoked is not None
    assert (revoked.role, revoked.serial, revoked.revoked_at) == (Role.ADMIN, "a1", at(1))
    renewed = await database.run(
        lambda uow: uow.operators.put("ann", Role.OPERATOR, "a2", at(90), "operator:bob", at(3))
    )
    assert await database.run(lambda uow: uow.operators.get("ann")) == renewed
    assert renewed.revoked_at is None
    assert [each.name for each in await database.run(lambda uow: uow.operators.list())] == ["ann", "bob"]


async def test_every_leader_gets_a_higher_epoch(database: Database) -> None:
    assert await database.run(lambda uow: uow.leadership.current()) is None
    assert await database.run(lambda uow: uow.leadership.acquire("a", T0)) == 1
    assert await database.run(lambda uow: uow.leadership.acquire("a", at(1))) == 2
    assert await database.run(lambda uow: uow.leadership.acquire("b", at(2))) == 3
    assert await database.run(lambda uow: uow.leadership.current()) == Leader(3, "b", at(2))


async def test_engines_are_remembered_as_last_told(database: Database) -> None:
    moved = replace(
        SUMMARY, generation=4, endpoint="10.0.0.1:8002", context_tokens_max=None, kv_capacity_tokens=1 << 40
    )
    other = replace(SUMMARY, engine_id="a@aws-1", served_paths=())
    await database.run(lambda uow: uow.engine_summaries.put_many([SUMMARY, other, moved]))
    assert await database.run(lambda uow: uow.engine_summaries.all()) == [other, moved]
    await database.run(lambda uow: uow.engine_summaries.put_many([SUMMARY]))
    await database.run(lambda uow: uow.engine_summaries.put_many([]))
    await database.run(lambda uow: uow.engine_summaries.remove(["a@aws-1", "unknown"]))
    assert await database.run(lambda uow: uow.engine_summaries.all()) == [SUMMARY]


async def test_the_audit_keeps_the_order_of_writing(database: Database) -> None:
    entries = [
        AuditEntry(
            at(n), "operator:ann" if n % 2 else "operator:bob", "drain", f"node-{n}", "by hand", "done", "10.0.0.9"
        )
        for n in (5, 3, 4, 1)
    ]
    for entry in entries:
        await database.run(lambda uow, entry=entry: uow.audit.append(entry))  # type: ignore[misc]
    assert await database.run(lambda uow: uow.audit.list()) == entries
    assert await database.run(lambda uow: uow.audit.list(limit=2)) == entries[2:]
    assert await database.run(lambda uow: uow.audit.list(since=at(4))) == [entries[0], entries[2]]
    assert await database.run(lambda uow: uow.audit.list(actor="operator:bob")) == [entries[2]]
