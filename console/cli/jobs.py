"""`stoker jobs`: what the control plane does by the clock, and how it went."""

import click

from console.cli.output import Cell, Column, Row, show_json, show_table
from console.cli.parameters import output_option
from console.cli.session import Session, pass_session
from console.cli.shapes import shape
from console.clock import utc_now
from console.model import format as fmt
from console.model.operations import JobOutcome, JobRow

_COLUMNS = (
    Column("JOB"),
    Column("EVERY", right=True, drop=3),
    Column("STATE"),
    Column("LAST RUN", drop=1),
    Column("TOOK", right=True, drop=2),
    Column("NEXT", drop=4),
    Column("RESULT", wrap=True),
)


@click.command()
@output_option
@pass_session
def jobs(session: Session, output: str) -> None:
    """List the control plane's own jobs: when each ran last, how long it took, and what went wrong."""
    found = session.ask(lambda client: client.jobs())
    if output == "json":
        show_json([shape(job) for job in found])
        return
    show_table(_COLUMNS, [_row(job) for job in found], empty="The control plane has planned no job yet. Ask again.")


def _row(job: JobRow) -> Row:
    return (
        job.name,
        fmt.duration(job.interval_seconds),
        _state(job),
        fmt.instant(job.last_started_at) if job.last_started_at else "never",
        fmt.seconds(job.last_duration_seconds),
        fmt.instant(job.next_at),
        _result(job),
    )


def _state(job: JobRow) -> Cell:
    if job.running:
        return Cell("running", "green")
    if job.last_outcome is JobOutcome.FAILED:
        return Cell("failed" if job.failures_in_a_row < 2 else f"failed {job.failures_in_a_row} times", "red")
    if job.last_outcome is JobOutcome.INTERRUPTED:
        return Cell("interrupted", "yellow")
    return Cell("not yet", "dim") if job.last_outcome is JobOutcome.NONE else Cell("good", "green")


def _result(job: JobRow) -> str:
    """What it did, or what is wrong, and then since when."""
    if job.last_outcome is JobOutcome.FAILED:
        good = f"good {fmt.age(job.last_succeeded_at, utc_now())} ago" if job.last_succeeded_at else "never good"
        return f"{job.last_error} ({good})"
    return job.last_error or job.detail or job.purpose
