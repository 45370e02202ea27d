"""History past its time goes; what is young stays."""

from pathlib import Path

from controlplane.fleet.history import EngineSample, FleetEvent
from controlplane.fleet.observed import Severity
from controlplane.jobs import forget_old_history
from tests.support.clock import START
from tests.support.fleet import at
from tests.support.plane import plane

DAY = 86400.0


async def test_each_kind_by_its_own_time(tmp_path: Path) -> None:
    async with plane(tmp_path) as made:
        ages = (0.5, 1.5, 9.5, 10.5)
        samples = [EngineSample(at(-age * DAY), "e", "i", "n", "p", "r", "m", "ready") for age in ages]
        events = [
            FleetEvent(at(-age * DAY), Severity.INFO, "k", str(age), event_id=10 - index)
            for index, age in enumerate(ages)
        ]
        await made.database.run(lambda uow: uow.samples.append_many(samples))
        await made.database.run(lambda uow: uow.events.append(events))
        while await made.database.run(lambda uow: uow.rollups.step(START)) is not None:
            pass
        keep = forget_old_history.Keep(24, minutes_days=5, hours_days=10, requests_hours=48, events_days=10)
        told = await forget_old_history.run(made.database, keep, START)
        assert told == "forgot 3 samples, 2 minutes, 1 hours, 1 events"
        rows = await made.database.run(lambda uow: uow.samples.history(at(-20 * DAY), at(1), bucket_seconds=60.0))
        assert [row.bucket_at for row in rows] == [at(-0.5 * DAY)]
        page = await made.database.run(lambda uow: uow.events.list())
        assert [event.message for event in page.events] == ["9.5", "1.5", "0.5"]
        assert await forget_old_history.run(made.database, keep, START) is None
