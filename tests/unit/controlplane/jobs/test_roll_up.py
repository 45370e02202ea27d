"""Rolling up goes on until nothing is left, and tells what it did."""

from pathlib import Path

import pytest

from controlplane.fleet.history import EngineSample
from controlplane.jobs import roll_up
from tests.support.clock import START
from tests.support.fleet import at
from tests.support.plane import plane


async def test_all_that_is_over_is_computed_and_told(tmp_path: Path) -> None:
    async with plane(tmp_path) as made:
        samples = [EngineSample(at(-seconds), "e", "i", "n", "p", "r", "m", "ready") for seconds in (4000, 200, 1)]
        await made.database.run(lambda uow: uow.samples.append_many(samples))
        assert await roll_up.run(made.database, START) == "computed engine_hours in 1 steps, engine_minutes in 2 steps"
        assert await roll_up.run(made.database, START) is None


async def test_a_run_that_has_too_much_to_catch_up_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roll_up, "STEPS_MAX", 2)
    async with plane(tmp_path) as made:
        samples = [EngineSample(at(-60 * n), "e", "i", "n", "p", "r", "m", "ready") for n in range(2, 7)]
        await made.database.run(lambda uow: uow.samples.append_many(samples))
        told = await roll_up.run(made.database, START)
        assert told is not None
        assert told.startswith("catching up: engine_minutes in 2 steps, and more is left after engine_minutes of")
        while await roll_up.run(made.database, START) is not None:
            pass
        done = await made.database.run(lambda uow: uow.rollups.positions())
        assert done["engine_minutes"].done_until > at(-120)
