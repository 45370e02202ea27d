"""Forgetting old history: what goes, what must stay so that what follows is still told right, and days on PostgreSQL."""

from sqlalchemy import text

from controlplane.jobs import forget_old_history, keep_partitions
from controlplane.jobs.forget_old_history import Keep
from controlplane.storage.database import Database
from controlplane.storage.repositories.retention import MINUTES, SAMPLES
from controlplane.storage.repositories.rollups import Resolution
from controlplane.storage.unit_of_work import UnitOfWork
from tests.contract.storage.facts import T0, at, event, sample

HOUR, DAY = 3600.0, 86_400.0
KEEP = Keep(samples_hours=48, minutes_days=30, hours_days=730, requests_hours=48, events_days=1095)


async def _roll(database: Database, seconds: float) -> None:
    def roll(uow: UnitOfWork) -> None:
        while uow.rollups.step(at(seconds)) is not None:
            pass

    await database.run(roll)


async def _count(database: Database, table: str) -> int:
    return await database.run(
        lambda uow: uow.samples._connection.scalar(text(f"SELECT COUNT(*) FROM {table}")) or 0  # noqa: S608
    )


async def test_a_process_whose_old_samples_are_forgotten_goes_on_counting_from_where_it_was(database: Database) -> None:
    old = [sample(seconds, prompt_tokens_total=total) for seconds, total in [(0, 10), (70, 30), (3700, 100)]]
    await database.run(lambda uow: uow.samples.append_many(old))
    await _roll(database, 30 * DAY)
    await forget_old_history.run(database, KEEP, at(30 * DAY))
    assert await _count(database, "engine_samples") == 0
    await database.run(lambda uow: uow.samples.append_many([sample(30 * DAY, prompt_tokens_total=140)]))
    await _roll(database, 30 * DAY + 2 * HOUR)
    assert await database.run(lambda uow: uow.samples.token_totals()) == {"meta/llama": (140, None)}
    told = await database.run(lambda uow: uow.rollups.history(at(0), at(31 * DAY), {}, DAY, 100, Resolution.HOURS))
    assert [row.prompt_tokens for row in told] == [100, 40]
    # Asked of samples, what it told first since then was counted at an unknown time.
    [fresh] = await database.run(lambda uow: uow.samples.history(at(30 * DAY - 10), at(31 * DAY), bucket_seconds=60))
    assert fresh.prompt_tokens == 0


async def test_samples_that_are_in_no_minute_are_not_forgotten(database: Database) -> None:
    await database.run(lambda uow: uow.samples.append_many([sample(seconds) for seconds in (0, 4000, 90_000)]))
    await forget_old_history.run(database, KEEP, at(30 * DAY))
    assert await _count(database, "engine_samples") == 3
    await _roll(database, 8000)
    await forget_old_history.run(database, KEEP, at(30 * DAY))
    # As far as it is rolled up, less the hour from which counters go on.
    assert await _count(database, "engine_samples") == 2


async def test_what_comes_too_late_is_counted_and_changes_no_minute(database: Database) -> None:
    await database.run(lambda uow: uow.samples.append_many([sample(0, prompt_tokens_total=10)]))
    await _roll(database, 10 * HOUR)
    await database.run(lambda uow: uow.retention.forget(SAMPLES[0], at(5 * HOUR), 100))
    late = [("llama@gcp-1", at(0)), ("llama@gcp-1", at(6 * HOUR))]
    assert await database.run(lambda uow: uow.rollups.mark_samples(late)) == 1
    assert await database.run(lambda uow: uow.rollups.mark_requests(late)) == 0  # no requests were forgotten
    await database.run(lambda uow: uow.samples.append_many([sample(1, prompt_tokens_total=5)]))
    await _roll(database, 10 * HOUR)
    [row] = await database.run(lambda uow: uow.rollups.history(at(0), at(60), {}, 60, 9, Resolution.MINUTES))
    assert (row.samples_count, row.prompt_tokens) == (1, 10)


async def test_minutes_stay_until_their_hour_is_computed(database: Database) -> None:
    await database.run(lambda uow: uow.samples.append_many([sample(0), sample(1.5 * HOUR)]))
    await _roll(database, 1.7 * HOUR)
    engine_minutes = MINUTES[0]
    await database.run(lambda uow: uow.retention.forget(engine_minutes, at(40 * DAY), 100))
    known = await database.run(lambda uow: uow.rollups.positions())
    assert known["rolled_engine_minutes"].done_until == at(HOUR)
    left = await database.run(lambda uow: uow.rollups.history(at(HOUR), at(DAY), {}, 60, 9, Resolution.MINUTES))
    assert len(left) == 1


async def test_the_coarser_tells_what_the_finer_has_forgotten(database: Database) -> None:
    await database.run(lambda uow: uow.samples.append_many([sample(0), sample(30 * HOUR)]))
    await _roll(database, 40 * HOUR)

    def resolutions(uow: UnitOfWork) -> list[Resolution]:
        return [uow.rollups.resolution(at(0), bucket) for bucket in (10, 60, 3600)]

    assert await database.run(resolutions) == [Resolution.SAMPLES, Resolution.MINUTES, Resolution.HOURS]
    await database.run(lambda uow: uow.retention.forget(SAMPLES[0], at(20 * HOUR), 100))
    assert await database.run(resolutions) == [Resolution.MINUTES, Resolution.MINUTES, Resolution.HOURS]
    await database.run(lambda uow: uow.retention.forget(MINUTES[0], at(20 * HOUR), 100))
    assert await database.run(resolutions) == [Resolution.HOURS] * 3


async def test_the_newest_event_stays_for_its_number(database: Database) -> None:
    await database.run(lambda uow: uow.events.append([event(seconds) for seconds in (0, 10, 20)]))
    assert await database.run(lambda uow: uow.events.remove_before(at(15))) == 2
    assert await database.run(lambda uow: uow.events.remove_before(at(3600))) == 0
    assert await database.run(lambda uow: uow.events.last_id()) == 3


async def test_days_are_made_ahead_and_take_what_waited_for_them(database: Database) -> None:
    await database.run(lambda uow: uow.samples.append_many([sample(0), sample(1), sample(-3 * DAY)]))
    told = await keep_partitions.run(database, T0)
    if database.kind == "sqlite":
        assert told is None
        return
    assert told is not None
    assert "moved 3 rows" in told
    parts = "SELECT tableoid::regclass::text, COUNT(*) FROM engine_samples GROUP BY 1 ORDER BY 1"
    found = await database.run(lambda uow: uow.samples._connection.execute(text(parts)).all())
    assert [tuple(row) for row in found] == [
        ("stoker_partitions.engine_samples_2026_11_19", 1),
        ("stoker_partitions.engine_samples_2026_11_22", 2),
    ]
    assert await keep_partitions.run(database, T0) is None
    await database.run(lambda uow: uow.samples.append_many([sample(7 * DAY), sample(60 * DAY)]))
    default = "SELECT COUNT(*) FROM stoker_partitions.engine_samples_default"
    assert await database.run(lambda uow: uow.samples._connection.scalar(text(default))) == 1

    # Days past their time are dropped whole.
    await _roll(database, 3 * DAY)
    await database.run(lambda uow: uow.retention.forget(SAMPLES[0], at(1.5 * DAY), 100))
    left = await database.run(lambda uow: uow.samples._connection.execute(text(parts)).all())
    assert [row[0] for row in left] == [
        "stoker_partitions.engine_samples_2026_11_29",
        "stoker_partitions.engine_samples_default",
    ]
