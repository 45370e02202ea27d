"""Questions about the past, and their bounds."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.errors import InvalidInputError, UnavailableError
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.observed import Severity
from controlplane.services import query_history
from controlplane.services.query_history import (
    BUCKETS_WANTED,
    EVENTS_DEFAULT,
    NICE_SECONDS,
    EngineHistoryQuery,
    nice_bucket_seconds,
)
from controlplane.storage.repositories.rollups import Resolution
from controlplane.storage.unit_of_work import UnitOfWork
from tests.support.fleet import at, counted, placed, reported
from tests.support.plane import Plane


@pytest.fixture
async def recorded(fleet: Plane) -> Plane:
    """A minute of gcp-1's engine, a token a second."""
    await fleet.enrol(placements=(placed(),))
    session = fleet.connect("gcp-1")
    for second in range(60):
        fleet.report(session, reported(counters=counted(second + 1)))
        fleet.history.sample()
        fleet.clock.advance(1)
    await fleet.written()
    return fleet


async def test_a_span_in_buckets(recorded: Plane) -> None:
    answer = await recorded.query.engines(EngineHistoryQuery(at(0), at(60), bucket_seconds=10.0))
    assert (len(answer.rows), answer.truncated, answer.bucket_seconds) == (6, False, 10.0)
    assert [row.generation_tokens for row in answer.rows] == [10] * 6
    assert [row.bucket_at for row in answer.rows] == [at(10 * index) for index in range(6)]
    assert answer.rows[0].batch_tokens_per_step == 3.0


async def test_who_does_not_say_gets_about_sixty_buckets(recorded: Plane) -> None:
    answer = await recorded.query.engines(EngineHistoryQuery(at(0), at(600)))
    assert answer.bucket_seconds == 10.0


async def test_long_buckets_are_told_from_minutes_and_what_is_not_rolled_up_from_samples(recorded: Plane) -> None:
    def roll(uow: UnitOfWork) -> None:
        while uow.rollups.step(at(75)) is not None:
            pass

    await recorded.database.run(roll)
    asked = EngineHistoryQuery(at(-600), at(600), bucket_seconds=90.0)
    answer = await recorded.query.engines(asked)
    assert (answer.resolution, answer.bucket_seconds) == (Resolution.MINUTES, 120.0)
    assert [row.generation_tokens for row in answer.rows] == [60]
    exact = await recorded.query.engines(replace(asked, bucket_seconds=10.0))
    assert (exact.resolution, sum(row.samples_count for row in exact.rows)) == (Resolution.SAMPLES, 60)


@pytest.mark.parametrize(
    "changes",
    [{"engine_id": "llama@gcp-1"}, {"model": "llama"}, {"node": "gcp-1"}],
)
async def test_it_is_narrowed_by_name(recorded: Plane, changes: dict[str, Any]) -> None:
    assert (await recorded.query.engines(EngineHistoryQuery(at(0), at(60), **changes))).rows
    others: dict[str, Any] = dict.fromkeys(changes, "nobody")
    assert not (await recorded.query.engines(EngineHistoryQuery(at(0), at(60), **others))).rows


@pytest.mark.parametrize(
    ("since", "until", "bucket"),
    [
        (10.0, 10.0, None),
        (10.0, 0.0, None),
        (0.0, 60.0, 0.5),
        (0.0, 60.0, -1.0),
        (0.0, 60.0, float("nan")),
        (0.0, 60.0, float("inf")),
        (0.0, 60.0, 1e9),
    ],
)
async def test_spans_and_buckets_that_are_none(
    recorded: Plane, since: float, until: float, bucket: float | None
) -> None:
    with pytest.raises(InvalidInputError):
        await recorded.query.engines(EngineHistoryQuery(at(since), at(until), bucket_seconds=bucket))


async def test_of_too_many_rows_the_newest_are_told(recorded: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_history, "ROWS_MAX", 5)
    answer = await recorded.query.engines(EngineHistoryQuery(at(0), at(60), bucket_seconds=1.0))
    assert answer.truncated
    assert [row.bucket_at for row in answer.rows] == [at(second) for second in range(55, 60)]


async def test_events_newest_last_and_bounded(fleet: Plane) -> None:
    fleet.events.append(
        [FleetEvent(at(index), Severity.INFO, f"k{index % 2}", "x", node="gcp-1") for index in range(250)]
    )
    await fleet.written()
    page = await fleet.query.events(since=None, limit=0, node="", engine_id="", kind="")
    assert (len(page.events), page.truncated) == (EVENTS_DEFAULT, True)
    assert page.events[-1].at == at(249)
    some = await fleet.query.events(since=at(240), limit=100, node="gcp-1", engine_id="", kind="k1")
    assert ([event.at for event in some.events], some.truncated) == ([at(s) for s in (241, 243, 245, 247, 249)], False)
    more = await fleet.query.events(since=None, limit=10**9, node="", engine_id="", kind="")
    assert (len(more.events), more.truncated) == (250, False)


async def test_with_the_database_away(fleet: Plane) -> None:
    await fleet.database.close()
    with pytest.raises(UnavailableError):
        await fleet.query.engines(EngineHistoryQuery(at(0), at(60)))
    with pytest.raises(UnavailableError):
        await fleet.query.events(since=None, limit=0, node="", engine_id="", kind="")


@given(st.floats(min_value=0.001, max_value=NICE_SECONDS[-1] * BUCKETS_WANTED))
def test_a_nice_bucket_is_round_and_the_smallest_that_is_long_enough(span: float) -> None:
    bucket = nice_bucket_seconds(span)
    assert bucket in NICE_SECONDS
    assert span / bucket <= BUCKETS_WANTED
    assert bucket == 1 or span / NICE_SECONDS[NICE_SECONDS.index(int(bucket)) - 1] > BUCKETS_WANTED


def test_a_very_long_span_is_cut_into_days() -> None:
    assert nice_bucket_seconds(1e9) == 86400.0
