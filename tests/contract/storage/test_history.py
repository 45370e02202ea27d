"""History by example: buckets, filters, restarts, missing readings, odd numbers."""

import math

import pytest

from controlplane.errors import InvalidInputError
from controlplane.fleet.history import EngineHistoryRow, EngineSample
from controlplane.storage.database import Database
from tests.contract.storage.facts import at, sample


async def _write(database: Database, *samples: EngineSample) -> None:
    await database.run(lambda uow: uow.samples.append_many(samples))


async def _history(
    database: Database, since: float = 0, until: float = 3600, **options: object
) -> list[EngineHistoryRow]:
    return await database.run(lambda uow: uow.samples.history(at(since), at(until), **options))  # type: ignore[arg-type]


async def test_a_bucket_says_all_that_its_samples_say(database: Database) -> None:
    full = {"kv_capacity_tokens": 1000, "running_count": 3, "waiting_count": 1, "preemptions_total": 2}
    await _write(
        database,
        sample(0, **full, kv_used_tokens=100, prompt_tokens_total=10, generation_tokens_total=20, steps_total=4),
        sample(
            10,
            **{**full, "waiting_count": 5, "running_count": 4, "preemptions_total": 3},
            kv_used_tokens=300,
            prompt_tokens_total=110,
            generation_tokens_total=220,
            steps_total=10,
            step_tokens_total=330,
            prefix_query_tokens_total=200,
            prefix_hit_tokens_total=50,
            flops_total=6e18,
            bytes_total=2e18,
            ttft_seconds_sum_total=1.5,
            ttft_count_total=3,
        ),
    )
    [row] = await _history(database)
    assert row == EngineHistoryRow(
        bucket_at=at(0),
        engine_id="llama@gcp-1",
        node="gcp-1",
        provider="gcp",
        region="europe-west4",
        model="meta/llama",
        samples_count=2,
        kv_used_ratio_max=0.3,
        kv_used_ratio_mean=0.2,
        running_count_mean=3.5,
        waiting_count_max=5,
        prompt_tokens=110,
        generation_tokens=220,
        batch_tokens_per_step=33.0,
        intensity_flops_per_byte=3.0,
        prefix_hit_ratio=0.25,
        preemptions_count=3,
        ttft_seconds_mean=0.5,
    )


async def test_what_is_unknown_stays_unknown_and_nothing_done_is_not_a_ratio(database: Database) -> None:
    await _write(database, sample(0), sample(60, steps_total=0, step_tokens_total=0, prompt_tokens_total=0))
    unknown, idle = await _history(database)
    assert (unknown.prompt_tokens, unknown.kv_used_ratio_max, unknown.running_count_mean) == (None, None, None)
    assert (idle.prompt_tokens, idle.generation_tokens, idle.batch_tokens_per_step) == (0, None, None)


async def test_the_sample_before_the_range_is_where_counting_starts(database: Database) -> None:
    await _write(
        database,
        sample(0, prompt_tokens_total=100, generation_tokens_total=1000),
        sample(10, prompt_tokens_total=None, generation_tokens_total=1010),
        sample(20, prompt_tokens_total=130, generation_tokens_total=1030),
    )
    [row] = await _history(database, since=15)
    assert (row.prompt_tokens, row.generation_tokens) == (30, 20)
    assert await database.run(lambda uow: uow.samples.token_totals(at(15))) == {"meta/llama": (30, 20)}


async def test_a_restarted_engine_counts_from_zero_again(database: Database) -> None:
    await _write(
        database,
        sample(0, prompt_tokens_total=100),
        sample(10, prompt_tokens_total=150),
        sample(20, prompt_tokens_total=7, instance_id="i2"),
        sample(30, prompt_tokens_total=9, instance_id="i2"),
    )
    [row] = await _history(database)
    assert row.prompt_tokens == 159
    assert await database.run(lambda uow: uow.samples.token_totals()) == {"meta/llama": (159, None)}


async def test_a_clock_that_stepped_back_counts_nothing_twice_and_nothing_negative(database: Database) -> None:
    await _write(
        database,
        sample(10, prompt_tokens_total=100),
        sample(20, prompt_tokens_total=200),
        sample(15, prompt_tokens_total=210),  # taken last
    )
    assert [row.prompt_tokens for row in await _history(database, bucket_seconds=1)] == [100, 110, 0]


async def test_rows_are_chosen_by_engine_model_and_node(database: Database) -> None:
    await _write(
        database,
        sample(0, engine_id="a", model="m1", node="n1"),
        sample(0, engine_id="b", model="m1", node="n2"),
        sample(0, engine_id="c", model="m2", node="n2"),
    )
    assert [row.engine_id for row in await _history(database)] == ["a", "b", "c"]
    assert [row.engine_id for row in await _history(database, model="m1")] == ["a", "b"]
    assert [row.engine_id for row in await _history(database, model="m1", node="n2")] == ["b"]
    assert [row.engine_id for row in await _history(database, engine_id="c")] == ["c"]
    assert await _history(database, engine_id="a' OR 1=1 --") == []


async def test_buckets_are_aligned_and_the_end_is_not_included(database: Database) -> None:
    await _write(database, *(sample(seconds) for seconds in (0, 59.999999, 60, 119, 120)))
    rows = await _history(database, until=120, bucket_seconds=60)
    assert [(row.bucket_at, row.samples_count) for row in rows] == [(at(0), 2), (at(60), 2)]
    rows = await _history(database, since=59.5, until=61, bucket_seconds=0.5)
    assert [(row.bucket_at, row.samples_count) for row in rows] == [(at(59.5), 1), (at(60), 1)]


async def test_of_too_many_rows_the_newest_are_kept(database: Database) -> None:
    await _write(database, *(sample(60 * n) for n in range(5)))
    assert [row.bucket_at for row in await _history(database, limit=2)] == [at(180), at(240)]


async def test_a_sample_is_written_once(database: Database) -> None:
    await _write(database, sample(0, prompt_tokens_total=5))
    await _write(database, sample(0, prompt_tokens_total=6), sample(1, prompt_tokens_total=7))
    rows = await _history(database, bucket_seconds=1)
    assert [row.prompt_tokens for row in rows] == [5, 2]
    await _write(database)


async def test_a_float_that_is_no_number_is_unknown(database: Database) -> None:
    await _write(database, sample(0, flops_total=math.nan, bytes_total=math.inf, ttft_seconds_sum_total=2.0))
    await _write(database, sample(1, flops_total=4.0, bytes_total=2.0))
    [row] = await _history(database)
    assert row.intensity_flops_per_byte == 2.0


async def test_numbers_that_no_column_holds_are_refused(database: Database) -> None:
    with pytest.raises(InvalidInputError, match="cannot hold"):
        await _write(database, sample(0, prompt_tokens_total=2**63))
    await _write(database, sample(0, prompt_tokens_total=2**63 - 1))
    [row] = await _history(database)
    assert row.prompt_tokens == 2**63 - 1


@pytest.mark.parametrize("bucket_seconds", [0, -1, 1e-9])
async def test_a_bucket_has_a_length(database: Database, bucket_seconds: float) -> None:
    with pytest.raises(InvalidInputError, match="longer than zero"):
        await _history(database, bucket_seconds=bucket_seconds)
