"""Whatever comes in whatever order, and whenever it is rolled up: minutes and hours are what plain Python says in the end."""

from datetime import datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, delete, select

from controlplane.fleet.history import EngineSample
from controlplane.storage.database import Database
from controlplane.storage.rollups.steps import Sizes
from controlplane.storage.tables import (
    engine_samples,
    process_totals,
    rolled_device_hours,
    rolled_engine_hours,
    rolled_engine_minutes,
    rollup_marks,
    rollup_positions,
)
from controlplane.storage.tables.history import REAL_COUNTERS
from controlplane.storage.unit_of_work import UnitOfWork
from tests.contract.storage import rollup_oracle
from tests.contract.storage.facts import at, sample

_COUNTERS = ("prompt_tokens_total", "steps_total", "busy_seconds_total")
_END = at(86_400)
_ONE_AT_A_TIME = Sizes(engines=1, nodes=1, late=1, hours=1)


@st.composite
def arrivals(draw: st.DrawFn) -> list[EngineSample | datetime]:
    """Samples in the order in which they come, with moments between them at which is rolled up what can be.

    Engines restart, readings are missing, clocks step, processes overlap, and rows come hours late.
    """
    samples: list[EngineSample] = []
    for engine in range(draw(st.integers(1, 2))):
        for instance in range(draw(st.integers(1, 2))):
            seconds, totals = draw(st.sampled_from([0, 50, 3590])) + 1800.0 * instance, dict.fromkeys(_COUNTERS, 0)
            for _ in range(draw(st.integers(1, 6))):
                seconds += draw(st.sampled_from([0.5, 10, 59.999999, 600, 4000, -30]))
                readings: dict[str, Any] = {}
                for counter in _COUNTERS:
                    totals[counter] += draw(st.sampled_from([0, 1, 7, 2**33]))
                    value = float(totals[counter]) if counter in REAL_COUNTERS else totals[counter]
                    readings[counter] = draw(st.sampled_from([value, value, None]))
                for gauge in (
                    "kv_capacity_tokens",
                    "kv_used_tokens",
                    "running_count",
                    "devices_count",
                    "covers_seconds",
                ):
                    readings[gauge] = draw(st.sampled_from([None, 0, 3, 1000]))
                readings["state"] = draw(st.sampled_from(["ready", "starting"]))
                samples.append(sample(seconds, engine_id=f"e{engine}", instance_id=f"i{instance}", **readings))
    keyed = {(each.engine_id, each.instance_id, each.sampled_at): each for each in samples}
    late = draw(st.permutations(list(keyed.values())))
    rolled = draw(st.lists(st.tuples(st.integers(0, len(late)), st.sampled_from([70, 700, 4000, 20_000])), max_size=4))
    order: list[EngineSample | datetime] = list(late)
    for index, seconds in rolled:
        order.insert(index, at(seconds))
    return order


def _empty(uow: UnitOfWork) -> None:
    for table in (
        *(engine_samples, process_totals, rollup_marks, rollup_positions),
        *(rolled_engine_minutes, rolled_engine_hours, rolled_device_hours),
    ):
        uow.samples._connection.execute(delete(table))


def _told(uow: UnitOfWork, table: Table, key: str) -> dict[Any, dict[str, Any]]:
    found = uow.samples._connection.execute(select(table)).mappings()
    return {(row["engine_id"], row[key]): dict(row) for row in found}


def _roll(uow: UnitOfWork, now: datetime, sizes: Sizes) -> None:
    while uow.rollups.step(now, sizes) is not None:
        pass


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=arrivals(), small=st.booleans())
async def test_minutes_and_hours_are_what_plain_python_says(
    database: Database, order: list[EngineSample | datetime], small: bool
) -> None:
    sizes = _ONE_AT_A_TIME if small else Sizes()
    samples = [each for each in order if isinstance(each, EngineSample)]

    def play(uow: UnitOfWork) -> tuple[list[str], ...]:
        _empty(uow)
        for each in order:
            if isinstance(each, EngineSample):
                uow.samples.append_many([each])
            else:
                _roll(uow, each, sizes)
        _roll(uow, _END, sizes)
        told = []
        for _ in range(2):
            minutes, hours = _told(uow, rolled_engine_minutes, "minute_at"), _told(uow, rolled_engine_hours, "hour_at")
            told.append(rollup_oracle.differences(minutes, rollup_oracle.minutes(samples)))
            told.append(rollup_oracle.differences(hours, rollup_oracle.hours(samples)))
            # The same again changes nothing.
            uow.rollups.mark_samples([(each.engine_id, each.sampled_at) for each in samples])
            _roll(uow, _END, sizes)
        return tuple(told)

    assert await database.run(play) == ([], [], [], [])
