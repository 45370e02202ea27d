"""Transactions: all or nothing, one after another, never on the event loop's thread, and errors in our own words."""

import asyncio
import threading

import pytest

from controlplane.errors import (
    ConfigurationError,
    ConflictError,
    DatabaseAwayError,
    NotFoundError,
    StokerError,
    UnavailableError,
)
from controlplane.storage import migrate
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork, load_desired
from tests.contract.storage.facts import event, node, placement


async def test_what_fails_leaves_nothing_behind(database: Database) -> None:
    def half(uow: UnitOfWork) -> None:
        uow.nodes.put(node())
        raise NotFoundError("the other half")

    with pytest.raises(NotFoundError, match="the other half"):
        await database.run(half)
    assert await database.run(lambda uow: uow.nodes.all()) == []


async def test_a_bug_is_not_dressed_up_as_bad_luck(database: Database) -> None:
    def bug(uow: UnitOfWork) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.run(bug)


async def test_work_is_done_in_order_on_one_other_thread(database: Database) -> None:
    threads: list[int] = []

    def note(uow: UnitOfWork) -> int:
        threads.append(threading.get_ident())
        return uow.events.append([event()])[0].event_id

    assert await asyncio.gather(*(database.run(note) for _ in range(20))) == list(range(1, 21))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


async def test_the_loop_goes_on_while_the_database_works(database: Database) -> None:
    looped = threading.Event()

    def wait(uow: UnitOfWork) -> bool:
        return looped.wait(30)

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(database.run(wait))
        await asyncio.sleep(0)
        looped.set()
    assert waiting.result()


async def test_too_much_waiting_work_is_refused_at_once(database: Database) -> None:
    held = threading.Event()
    waiting = [asyncio.create_task(database.run(lambda uow: held.wait(30))) for _ in range(256)]  # noqa: TID251
    await asyncio.sleep(0)
    try:
        with pytest.raises(UnavailableError, match="busy"):
            await database.run(load_desired)
    finally:
        held.set()
    await asyncio.gather(*waiting)
    await database.run(load_desired)


async def test_what_somebody_waits_for_goes_before_history(database: Database) -> None:
    held, done = threading.Event(), list[str]()
    async with asyncio.TaskGroup() as group:
        group.create_task(database.run(lambda uow: held.wait(30)))
        await asyncio.sleep(0)
        group.create_task(database.run_background(lambda uow: done.append("history")))
        await asyncio.sleep(0)
        group.create_task(database.run(lambda uow: done.append("a change")))
        await asyncio.sleep(0)
        held.set()
    assert done == ["a change", "history"]


async def test_nobody_waits_for_ever_and_what_was_given_up_is_not_done(database: Database) -> None:
    begun, held, in_force = threading.Event(), threading.Event(), list[str]()

    def slow(uow: UnitOfWork) -> str:
        begun.set()
        held.wait(30)
        uow.nodes.put(node())
        return "slow"

    with pytest.raises(UnavailableError, match="nothing was changed"):
        await database.run(slow, then=in_force.append, seconds_max=0.01)
    with pytest.raises(UnavailableError, match="nothing was changed"):
        await database.run(lambda uow: uow.nodes.put(node("aws-1")), seconds_max=0.01)
    held.set()
    assert await database.run(lambda uow: uow.nodes.all()) == []
    assert begun.is_set(), "the first had begun, and was rolled back"
    assert in_force == []


async def test_what_one_who_left_asked_for_is_put_into_force(database: Database) -> None:
    begun, held, in_force = threading.Event(), threading.Event(), list[str]()

    def slow(uow: UnitOfWork) -> str:
        begun.set()
        held.wait(30)
        uow.nodes.put(node())
        return "slow"

    asked = asyncio.ensure_future(database.run(slow, then=in_force.append))  # noqa: TID251 - to be cancelled
    assert await asyncio.to_thread(begun.wait, 30)
    asked.cancel()
    held.set()
    assert [each.name for each in await database.run(lambda uow: uow.nodes.all())] == ["gcp-1"]
    assert in_force == ["slow"]


async def test_what_was_not_committed_is_not_put_into_force(database: Database) -> None:
    def fail(uow: UnitOfWork) -> None:
        raise NotFoundError("no")

    in_force = list[None]()
    with pytest.raises(NotFoundError):
        await database.run(fail, then=in_force.append)
    await database.run(load_desired)
    assert in_force == []


async def test_readers_see_what_was_committed_and_do_not_wait_for_the_writer(database: Database) -> None:
    await database.run(lambda uow: uow.nodes.put(node()))
    held, begun = threading.Event(), threading.Event()

    def write(uow: UnitOfWork) -> None:
        uow.nodes.put(node("aws-1"))
        begun.set()
        held.wait(30)

    async with asyncio.TaskGroup() as group:
        writing = group.create_task(database.run(write))
        await asyncio.to_thread(begun.wait, 30)
        assert [each.name for each in await database.read(lambda uow: uow.nodes.all())] == ["gcp-1"]
        held.set()
        await writing
        assert len(await database.read(lambda uow: uow.nodes.all())) == 2


async def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(UnavailableError, match="read"):
        await database.read(lambda uow: uow.nodes.put(node()))
    assert await database.run(lambda uow: uow.nodes.all()) == []


async def test_a_question_that_takes_too_long_is_ended_and_the_next_is_answered(database: Database) -> None:
    endless = (
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000000000) "
        "SELECT COUNT(*) FROM numbers"
    )
    asked = [
        database.read(lambda uow: uow.nodes._connection.exec_driver_sql(endless).scalar(), seconds_max=0.2)
        for _ in range(3)
    ]
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        assert isinstance(answer, UnavailableError)
        assert "ask for a shorter time" in str(answer)
    assert await database.read(lambda uow: uow.nodes.all()) == []


async def test_who_listens_hears_of_the_database_and_not_of_callers_mistakes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[StokerError | None] = []
    database.listen(heard.append)

    def refused(uow: UnitOfWork) -> None:
        raise NotFoundError("no such node")

    def away(uow: UnitOfWork) -> None:
        raise DatabaseAwayError("gone")

    for fn in (refused, away):
        with pytest.raises(StokerError):
            await database.run(fn)
    with pytest.raises(DatabaseAwayError):
        await database.read(away)
    await database.run_background(load_desired)
    assert [str(each) if each else None for each in heard] == [None, "gone", None]


async def test_another_databases_changes_are_seen(database_url: str, database: Database) -> None:
    other = Database.open(database_url)
    await database.run(lambda uow: uow.nodes.put(node()))
    assert await other.run(lambda uow: uow.nodes.all()) == [node()]
    await other.run(lambda uow: uow.nodes.remove("gcp-1"))
    assert await database.run(lambda uow: uow.nodes.all()) == []
    await other.close()


async def test_foreign_keys_are_checked_on_both(database: Database) -> None:
    def behind_our_back(uow: UnitOfWork) -> None:
        uow.nodes.put(node())
        uow.placements.put(placement())
        uow.deployments._connection.exec_driver_sql("DELETE FROM nodes")

    with pytest.raises(ConflictError, match="refused"):
        await database.run(behind_our_back)


async def test_a_closed_database_says_so(database_url: str) -> None:
    database = Database.open(database_url)
    await database.run(load_desired)
    await database.close()
    await database.close()
    with pytest.raises(UnavailableError, match="closed"):
        await database.run(load_desired)


async def test_closing_finishes_what_waits(database_url: str) -> None:
    database = Database.open(database_url)
    waiting = [asyncio.create_task(database.run(lambda uow: uow.events.append([event()]))) for _ in range(5)]  # noqa: TID251
    await asyncio.sleep(0)
    await database.close()
    assert [(await each)[0].event_id for each in waiting] == [1, 2, 3, 4, 5]


async def test_it_knows_its_kind(database: Database, database_url: str) -> None:
    assert database.kind == ("sqlite" if database_url.startswith("sqlite") else "postgresql")


async def test_a_server_that_cannot_be_reached_is_away_and_the_password_is_not_told() -> None:
    database = Database.open("postgresql://ann:s3cret@127.0.0.1:1/stoker")
    with pytest.raises(UnavailableError, match="away") as refused:
        await database.run(load_desired)
    seen: BaseException | None = refused.value
    while seen is not None:
        assert "s3cret" not in str(seen)
        seen = seen.__cause__
    await database.close()


@pytest.mark.postgres
async def test_a_user_without_rights_is_told(postgres_url: str) -> None:
    migrate.upgrade(postgres_url)
    owner = Database.open(postgres_url)
    await owner.run(lambda uow: uow.nodes._connection.exec_driver_sql("CREATE ROLE reader LOGIN"))
    reader = Database.open(postgres_url.replace("stoker@", "reader@"))
    with pytest.raises(ConfigurationError, match="may not do this: permission denied for table nodes"):
        await reader.run(load_desired)
    await reader.close()
    await owner.run(lambda uow: uow.nodes._connection.exec_driver_sql("DROP ROLE reader"))
    await owner.close()
