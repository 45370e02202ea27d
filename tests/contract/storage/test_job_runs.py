"""How jobs went, remembered on both databases: one row a job."""

from dataclasses import replace

from controlplane.fleet.jobs import JobOutcome, JobRun
from controlplane.storage.database import Database
from controlplane.storage.row_writers import JOB_RUNS
from tests.contract.storage.facts import at
from tests.support.clock import SettableClock

RUN = JobRun("roll up", 60.0, at(1), at(2), 0.25, JobOutcome.FAILED, "away \x00", "7 rows", at(0), 3)


async def test_the_last_of_each_stays(database: Database) -> None:
    never = JobRun("forget", 3600.0)
    begun = replace(RUN, last_started_at=at(9), last_finished_at=None)
    await database.run(lambda uow: uow.job_runs.put_many([RUN, never]))
    shown = replace(RUN, last_error="away \N{REPLACEMENT CHARACTER}")
    assert await database.run(lambda uow: uow.job_runs.all()) == [never, shown]
    await database.run(lambda uow: uow.job_runs.put_many([begun, replace(begun, last_error=""), begun]))
    await database.run(lambda uow: uow.job_runs.put_many([]))
    kept = await database.run(lambda uow: uow.job_runs.all())
    assert kept == [never, replace(begun, last_error=shown.last_error)]


async def test_rows_are_written_in_the_order_in_which_jobs_went(database: Database) -> None:
    writer = JOB_RUNS.writer(database, SettableClock())
    for number in range(300):
        writer.add([replace(RUN, last_error="", failures_in_a_row=number)])
    assert await writer.flush()
    assert [run.failures_in_a_row for run in await database.run(lambda uow: uow.job_runs.all())] == [299]
