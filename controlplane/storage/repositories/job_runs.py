"""How each job's last run went: one row a job."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from controlplane.fleet.jobs import JobRun
from controlplane.storage.repositories.statements import put_rows
from controlplane.storage.tables import job_runs


class JobRuns:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put_many(self, runs: Sequence[JobRun]) -> None:
        """The last of a name stays."""
        newest = {run.name: run for run in runs}.values()
        rows = [{column.name: getattr(run, column.name) for column in job_runs.columns} for run in newest]
        put_rows(self._connection, job_runs, rows)

    def all(self) -> list[JobRun]:
        found = select(job_runs).order_by(job_runs.c.name)
        return [JobRun(**row) for row in self._connection.execute(found).mappings()]
