"""The batched writers on real databases, and a PostgreSQL that goes away under them."""

from dataclasses import replace

import pytest

from controlplane.clock import SystemClock
from controlplane.errors import UnavailableError
from controlplane.storage.database import Database
from controlplane.storage.row_writers import EVENTS, SAMPLES, SUMMARIES
from controlplane.storage.unit_of_work import load_desired
from tests.contract.storage.facts import at, event, sample
from tests.contract.storage.test_access import SUMMARY
from tests.support.postgres import PostgresCluster


async def test_what_was_added_is_in_sql_after_a_flush(database: Database) -> None:
    clock = SystemClock()
    samples, events, summaries = (
        SAMPLES.writer(database, clock),
        EVENTS.writer(database, clock),
        SUMMARIES.writer(database, clock),
    )
    samples.add([sample(n, prompt_tokens_total=n) for n in range(10)])
    events.add([event(event_id=5), event(1, event_id=6)])
    summaries.add([SUMMARY])
    summaries.add([replace(SUMMARY, endpoint="10.0.0.1:9999")])
    assert (samples.waiting_count, events.waiting_count, summaries.waiting_count) == (10, 2, 2)
    for writer in (samples, events, summaries):
        assert await writer.flush()
        assert (writer.waiting_count, writer.dropped_total) == (0, 0)
    assert await database.run(lambda uow: uow.samples.token_totals()) == {"meta/llama": (9, None)}
    assert await database.run(lambda uow: uow.events.last_id()) == 6
    assert [each.endpoint for each in await database.run(lambda uow: uow.engine_summaries.all())] == ["10.0.0.1:9999"]


async def test_a_sample_that_cannot_be_stored_does_not_hold_up_the_others(database: Database) -> None:
    writer = SAMPLES.writer(database, SystemClock())
    writer.add([sample(0, prompt_tokens_total=1), sample(1, prompt_tokens_total=2**63), sample(2, running_count=-1)])
    writer.add([sample(3, prompt_tokens_total=4, node="a\x00b"), sample(4, prompt_tokens_total=5)])
    assert await writer.flush()
    assert (writer.waiting_count, writer.dropped_total) in {(0, 2), (0, 3)}  # SQLite can hold a NUL
    assert await database.run(lambda uow: uow.samples.token_totals()) == {"meta/llama": (5, None)}


@pytest.mark.postgres
@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_samples_wait_while_postgresql_is_away(
    postgres_cluster: PostgresCluster, postgres_template: str, how: str
) -> None:
    name = postgres_cluster.create_database(template=postgres_template)
    database = Database.open(postgres_cluster.url(name))
    writer = SAMPLES.writer(database, SystemClock(), buffer_max=4, batch_max=2)
    writer.add([sample(0, prompt_tokens_total=1)])
    assert await writer.flush()

    getattr(postgres_cluster, how)()
    try:
        writer.add([sample(n, prompt_tokens_total=n) for n in (2, 3, 4)])
        assert not await writer.flush()
        assert (writer.waiting_count, writer.dropped_total, writer.database_away) == (3, 0, True)
        with pytest.raises(UnavailableError, match="away"):
            await database.run(load_desired)
        writer.add([sample(n, prompt_tokens_total=n) for n in (5, 6)])
        assert (writer.waiting_count, writer.dropped_total) == (4, 1)
    finally:
        postgres_cluster.start()

    assert await writer.flush()
    assert (writer.waiting_count, writer.database_away) == (0, False)
    rows = await database.run(lambda uow: uow.samples.history(at(0), at(60), bucket_seconds=1))
    assert [row.bucket_at for row in rows] == [at(n) for n in (0, 3, 4, 5, 6)]
    assert await database.run(lambda uow: uow.samples.token_totals()) == {"meta/llama": (6, None)}
    await database.close()
    postgres_cluster.drop_database(name)
