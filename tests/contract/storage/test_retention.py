"""Forgetting old history: what goes, and what must stay so that what follows is still told right."""

from controlplane.storage.database import Database
from tests.contract.storage.facts import at, event, sample


async def test_a_process_that_goes_on_keeps_its_newest_old_sample(database: Database) -> None:
    samples = [
        sample(seconds, prompt_tokens_total=total) for seconds, total in [(0, 10), (10, 30), (20, 60), (30, 100)]
    ]
    await database.run(lambda uow: uow.samples.append_many(samples))
    assert await database.run(lambda uow: uow.samples.remove_before(at(25))) == 2
    counted = await database.run(lambda uow: uow.samples.history(at(25), at(60), bucket_seconds=60))
    assert [row.prompt_tokens for row in counted] == [40]


async def test_a_process_that_ended_goes_whole(database: Database) -> None:
    ended = [sample(seconds, instance_id="ended") for seconds in (0, 10)]
    await database.run(lambda uow: uow.samples.append_many([*ended, sample(30, instance_id="new")]))
    assert await database.run(lambda uow: uow.samples.remove_before(at(25))) == 2
    left = await database.run(lambda uow: uow.samples.history(at(-60), at(3600), bucket_seconds=1))
    assert [row.bucket_at for row in left] == [at(30)]


async def test_nothing_old_means_nothing_goes(database: Database) -> None:
    await database.run(lambda uow: uow.samples.append_many([sample(0)]))
    assert await database.run(lambda uow: uow.samples.remove_before(at(0))) == 0


async def test_the_newest_event_stays_for_its_number(database: Database) -> None:
    await database.run(lambda uow: uow.events.append([event(seconds) for seconds in (0, 10, 20)]))
    assert await database.run(lambda uow: uow.events.remove_before(at(15))) == 2
    assert await database.run(lambda uow: uow.events.remove_before(at(3600))) == 0
    assert await database.run(lambda uow: uow.events.last_id()) == 3
