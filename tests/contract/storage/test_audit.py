"""The audit on both databases: chained as it is appended, by whoever appends, and refused to be changed."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from sqlalchemy import text

from controlplane.errors import ConflictError
from controlplane.fleet.audit_chain import NO_HASH, Link, Seal, breaks, entry_hash
from controlplane.fleet.history import AuditEntry
from controlplane.storage import engines, migrate
from controlplane.storage.database import Database
from controlplane.storage.database_url import parse_url
from controlplane.storage.unit_of_work import UnitOfWork
from tests.contract.storage.facts import at, event

ENTRIES_EACH = 40
APPENDER = f"""
import asyncio, sys
from controlplane.fleet.history import AuditEntry
from controlplane.storage.database import Database
from tests.contract.storage.facts import at

async def main() -> None:
    database = Database.open(sys.argv[1])
    for number in range({ENTRIES_EACH}):
        entry = AuditEntry(at(number), f"operator:{{sys.argv[2]}}", "drain", str(number), "", "")
        await database.run(lambda uow: uow.audit.append(entry))
    await database.close()

asyncio.run(main())
"""


def entry(number: int, **changes: str) -> AuditEntry:
    texts = {"actor": "operator:ann", "action": "drain", "target": f"n-{number}", "detail": "", "outcome": "done"}
    return AuditEntry(at(number), **{**texts, **changes})


async def test_each_entry_follows_the_one_before(database: Database) -> None:
    written = [entry(1), entry(2, plan="one\ntwo"), entry(0, detail="nul \x00 and \ud800 lone", peer="ipv4:10.0.0.9:1")]
    for each in written:
        await database.run(lambda uow, each=each: uow.audit.append(each))  # type: ignore[misc]
    kept = await database.run(lambda uow: uow.audit.after(0, 10))
    assert [each.audit_id for each in kept] == [1, 2, 3]
    assert breaks(Link(), kept) == []
    assert kept[1].entry == written[1]
    assert await database.run(lambda uow: uow.audit.head()) == Link(3, kept[2].hash)
    assert await database.run(lambda uow: uow.audit.get(2)) == kept[1]
    assert await database.run(lambda uow: uow.audit.get(4)) is None
    assert await database.run(lambda uow: uow.audit.after(2, 10)) == kept[2:]


async def test_the_hash_is_the_same_on_every_database(database: Database) -> None:
    written = entry(1, detail="\N{SNOWMAN} \U0001f600", plan="a\r\nb")
    await database.run(lambda uow: uow.audit.append(written))
    assert await database.run(lambda uow: uow.audit.head()) == Link(1, entry_hash(NO_HASH, 1, written))


async def test_what_is_rolled_back_leaves_no_gap(database: Database) -> None:
    def fail(uow: UnitOfWork) -> None:
        uow.audit.append(entry(1))
        raise ConflictError("no")

    with pytest.raises(ConflictError):
        await database.run(fail)
    await database.run(lambda uow: uow.audit.append(entry(2)))
    kept = await database.run(lambda uow: uow.audit.after(0, 10))
    assert [each.audit_id for each in kept] == [1]
    assert breaks(Link(), kept) == []


async def test_what_is_written_twice_is_there_once(database: Database) -> None:
    """The answer of a commit can be lost."""
    await database.run(lambda uow: uow.audit.append_new([entry(1), entry(2, detail="\x00")]))
    await database.run(lambda uow: uow.audit.append_new([entry(2, detail="\x00"), entry(3)]))
    await database.run(lambda uow: uow.audit.append_new([]))
    kept = await database.run(lambda uow: uow.audit.after(0, 10))
    assert [each.entry.target for each in kept] == ["n-1", "n-2", "n-3"]
    assert breaks(Link(), kept) == []


async def test_pages_by_actor_action_time_and_number(database: Database) -> None:
    written = [entry(1), entry(2, action="place"), entry(3, actor="agent:gcp-1"), entry(4)]
    await database.run(lambda uow: uow.audit.append_new(written))

    async def targets(**wanted: object) -> tuple[list[str], bool]:
        page = await database.read(lambda uow: uow.audit.page(**wanted))  # type: ignore[arg-type]
        return [each.entry.target for each in page.entries], page.truncated

    assert await targets() == (["n-1", "n-2", "n-3", "n-4"], False)
    assert await targets(limit=2) == (["n-3", "n-4"], True)
    assert await targets(action="place") == (["n-2"], False)
    assert await targets(actor="agent:gcp-1") == (["n-3"], False)
    assert await targets(since=at(3)) == (["n-3", "n-4"], False)
    assert await targets(audit_id=2) == (["n-2"], False)
    assert await targets(actor="operator:ann", action="drain", limit=1) == (["n-4"], True)


def test_two_processes_append_to_one_chain(database_url: str) -> None:
    def append(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", APPENDER, database_url, name], capture_output=True, text=True, check=False
        )

    with ThreadPoolExecutor() as both:
        done = list(both.map(append, ("ann", "bob")))
    assert [each.returncode for each in done] == [0, 0], done

    async def read() -> None:
        database = Database.open(database_url)
        kept = await database.run(lambda uow: uow.audit.after(0, 1000))
        await database.close()
        assert breaks(Link(), kept) == []
        assert [each.audit_id for each in kept] == list(range(1, 2 * ENTRIES_EACH + 1))
        for name in ("ann", "bob"):
            own = [each.entry.target for each in kept if each.entry.actor == f"operator:{name}"]
            assert own == [str(number) for number in range(ENTRIES_EACH)]

    asyncio.run(read())


REFUSED = (
    "UPDATE audit_entries SET actor = 'operator:bob'",
    "DELETE FROM audit_entries",
    "UPDATE audit_seals SET audit_id = 7",
    "DELETE FROM audit_seals",
    "UPDATE fleet_events SET message = 'nothing happened'",
)
REFUSED_BY_ONE = {
    "sqlite": (
        "INSERT OR REPLACE INTO audit_entries SELECT * FROM audit_entries",
        "INSERT OR REPLACE INTO audit_seals SELECT * FROM audit_seals",
    ),
    "postgresql": ("TRUNCATE audit_entries", "TRUNCATE audit_seals"),
}


async def test_the_database_itself_refuses_to_change_what_happened(database: Database, database_url: str) -> None:
    def fill(uow: UnitOfWork) -> None:
        uow.audit.append(entry(1))
        uow.audit_seals.append(Seal(1, 1, "f" * 64, at(2), b"signed", "1a"))
        uow.events.append([event(1), event(2)])

    await database.run(fill)
    engine = engines.create(parse_url(database_url))
    try:
        for statement in (*REFUSED, *REFUSED_BY_ONE[database.kind]):
            with pytest.raises(Exception, match="append-only"), engine.begin() as connection:
                connection.execute(text(statement))
    finally:
        engine.dispose()
    assert [each.entry for each in await database.run(lambda uow: uow.audit.after(0, 10))] == [entry(1)]
    assert await database.run(lambda uow: uow.audit_seals.newest()) == Seal(1, 1, "f" * 64, at(2), b"signed", "1a")
    assert await database.run(lambda uow: uow.events.remove_before(at(2))) == 1  # which retention needs


async def test_seals_in_the_order_of_their_numbers(database: Database) -> None:
    seals = [Seal(number, number * 10, "f" * 64, at(number), bytes([number]), "1a") for number in (1, 2, 3)]

    def fill(uow: UnitOfWork) -> None:
        for seal in seals:
            uow.audit_seals.append(seal)

    assert await database.run(lambda uow: uow.audit_seals.newest()) is None
    await database.run(fill)
    assert await database.run(lambda uow: uow.audit_seals.newest()) == seals[2]
    assert await database.run(lambda uow: uow.audit_seals.after(1, 10)) == seals[1:]
    assert await database.run(lambda uow: uow.audit_seals.after(0, 10, until_audit_id=20)) == seals[:2]
    with pytest.raises(ConflictError):
        await database.run(lambda uow: uow.audit_seals.append(seals[0]))


def _to(url: str, revision: str, go: Callable[..., None]) -> None:
    with migrate._connected(parse_url(url)) as connection:
        go(migrate._config(connection), revision)


OLD = "INSERT INTO audit_entries (at, actor, action, target, detail, outcome, peer) VALUES (:at, :who, 'drain', 'ü', '', '', '')"


async def test_entries_of_before_are_chained_by_the_migration_and_kept_on_the_way_back(empty_url: str) -> None:
    def insert_old(count: int) -> None:
        engine = engines.create(parse_url(empty_url))
        with engine.begin() as connection:
            for number in range(count):
                when = f"2026-11-20 10:00:0{number}.000001"
                connection.execute(text(OLD), {"at": when, "who": f"operator:{number}"})
        engine.dispose()

    _to(empty_url, "2026_11_23_adapters", command.upgrade)
    insert_old(3)
    engine = engines.create(parse_url(empty_url))
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_entries WHERE actor = 'operator:1'"))  # their numbers have gaps
    engine.dispose()
    for _ in range(2):  # down and up again
        migrate.upgrade(empty_url)
        database = Database.open(empty_url)
        kept = await database.run(lambda uow: uow.audit.after(0, 10))
        assert [each.entry.actor for each in kept][:2] == ["operator:0", "operator:2"]
        assert breaks(Link(), kept) == []
        await database.run(lambda uow: uow.audit.append(entry(9, plan="said")))
        assert breaks(Link(), await database.run(lambda uow: uow.audit.after(0, 10))) == []
        await database.close()
        _to(empty_url, "2026_11_23_adapters", command.downgrade)
        insert_old(1)  # as the release of before does it: the database gives the number
    engine = engines.create(parse_url(empty_url))
    with engine.begin() as connection:
        actors = connection.scalars(text("SELECT actor FROM audit_entries ORDER BY audit_id")).all()
    engine.dispose()
    assert actors == ["operator:0", "operator:2", "operator:ann", "operator:0", "operator:ann", "operator:0"]
