"""For any samples at all, the SQL of history says what plain Python says."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from controlplane.fleet.history import EngineHistoryRow, EngineSample
from controlplane.storage.database import Database
from controlplane.storage.tables import engine_samples
from controlplane.storage.unit_of_work import UnitOfWork
from tests.contract.storage import history_oracle
from tests.contract.storage.facts import at, sample

_COUNTERS = (
    "prompt_tokens_total",
    "generation_tokens_total",
    "steps_total",
    "step_tokens_total",
    "prefix_query_tokens_total",
    "prefix_hit_tokens_total",
    "preemptions_total",
    "ttft_count_total",
    "flops_total",
    "ttft_seconds_sum_total",
)


@st.composite
def processes(draw: st.DrawFn) -> list[EngineSample]:
    """A few engines of two models, each with a few processes one after another; any reading may be missing."""
    samples = []
    for engine in range(draw(st.integers(1, 2))):
        seconds = 0.0
        for instance in range(draw(st.integers(1, 3))):
            totals = dict.fromkeys(_COUNTERS, 0.0)
            for _ in range(draw(st.integers(0, 5))):
                seconds += draw(st.sampled_from([0.25, 1, 10, 59.999999, 600]))
                readings: dict[str, Any] = {}
                for counter in _COUNTERS:
                    totals[counter] += draw(st.sampled_from([0, 0, 1, 7, 2**33]))
                    value = (
                        totals[counter]
                        if counter in {"flops_total", "ttft_seconds_sum_total"}
                        else int(totals[counter])
                    )
                    readings[counter] = draw(st.sampled_from([value, value, value, None]))
                readings["bytes_total"] = readings["flops_total"] and readings["flops_total"] / 3
                for gauge in ("kv_capacity_tokens", "kv_used_tokens", "running_count", "waiting_count"):
                    readings[gauge] = draw(st.sampled_from([None, 0, 3, 1000]))
                names = {"engine_id": f"e{engine}", "model": f"m{engine}", "node": f"n{engine}"}
                samples.append(sample(seconds, instance_id=f"i{instance}", **names, **readings))
    return samples


def _erase(uow: UnitOfWork) -> None:
    uow.samples._connection.execute(delete(engine_samples))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    samples=processes(),
    since=st.sampled_from([-1, 0.25, 10, 60, 700]),
    length=st.sampled_from([0, 1, 61, 10_000]),
    bucket_seconds=st.sampled_from([1, 7, 60, 3600]),
)
async def test_history_is_what_plain_python_says(
    database: Database, samples: list[EngineSample], since: float, length: float, bucket_seconds: int
) -> None:
    def ask(uow: UnitOfWork) -> tuple[list[EngineHistoryRow], dict[str, Any], dict[str, Any]]:
        _erase(uow)
        uow.samples.append_many(samples[::-1])
        uow.samples.append_many(samples[:2])  # told twice
        rows = uow.samples.history(at(since), at(since + length), bucket_seconds=bucket_seconds)
        return rows, uow.samples.token_totals(), uow.samples.token_totals(at(since))

    rows, totals, totals_since = await database.run(ask)
    expected = history_oracle.history(samples, at(since), at(since + length), bucket_seconds)
    assert len(rows) == len(expected)
    assert all(history_oracle.same(*pair) for pair in zip(rows, expected, strict=True)), (rows, expected)

    assert totals == _token_totals(samples, -1)
    assert totals_since == _token_totals(samples, since)


def _token_totals(samples: list[EngineSample], since: float) -> dict[str, tuple[int | None, int | None]]:
    totals: dict[str, tuple[int | None, int | None]] = {}
    for each, added in history_oracle.added_by_sample(samples):
        if each.sampled_at >= at(since):
            known = totals.get(each.model, (None, None))
            prompt, generation = added["prompt_tokens_total"], added["generation_tokens_total"]
            totals[each.model] = (_plus(known[0], prompt), _plus(known[1], generation))
    return totals


def _plus(known: int | None, more: float | None) -> int | None:
    return known if more is None else (known or 0) + int(more)
