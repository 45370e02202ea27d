"""`stoker jobs`: what runs by the clock and how it went; unknown is never zero, and failing is no failure of the command."""

import json

from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.proto.stoker.v1 import operator_pb2 as pb
from tests.fakes.operator_service import FakeOperatorService
from tests.unit.console.cli.conftest import Stoker

BEGAN, ENDED, NEXT = (Timestamp(seconds=1_800_000_000 + later) for later in (0, 2, 3600))


async def test_jobs_are_shown_with_how_they_went(run: Stoker, service: FakeOperatorService) -> None:
    service.jobs = [
        pb.Job(
            name="forget old history",
            purpose="Deletes what is old.",
            interval_seconds=3600,
            last_started_at=BEGAN,
            last_finished_at=ENDED,
            last_duration_seconds=2.0,
            last_outcome=pb.JOB_OUTCOME_SUCCEEDED,
            last_succeeded_at=ENDED,
            next_at=NEXT,
            detail="7 rows",
        ),
        pb.Job(
            name="seal the audit",
            interval_seconds=3600,
            last_started_at=BEGAN,
            last_finished_at=ENDED,
            last_outcome=pb.JOB_OUTCOME_FAILED,
            last_error="the database is away\x1b[2J",
            failures_in_a_row=3,
        ),
        pb.Job(name="under way", interval_seconds=10, last_started_at=BEGAN),
        pb.Job(name="cut off", last_started_at=BEGAN, last_outcome=pb.JOB_OUTCOME_INTERRUPTED),
        pb.Job(name="never", purpose="Waits.", interval_seconds=86400),
    ]
    shown = await run("jobs")
    assert shown.exit_code == 0
    rows = {line.split("  ")[0]: line for line in shown.stdout.splitlines()}
    assert "1 h" in rows["forget old history"]
    assert "good" in rows["forget old history"]
    assert "2027-01-15 08:00:00Z" in rows["forget old history"]
    assert "2.0 s" in rows["forget old history"]
    assert "failed 3 times" in rows["seal the audit"]
    assert "the database is away" in shown.stdout
    assert "never good" in shown.stdout
    assert "running" in rows["under way"]
    assert "interrupted" in rows["cut off"]
    assert "not yet" in rows["never"]
    assert "\x1b" not in shown.stdout


async def test_programs_get_every_field(run: Stoker, service: FakeOperatorService) -> None:
    service.jobs = [pb.Job(name="never", purpose="Waits.", interval_seconds=10)]
    [job] = json.loads((await run("jobs", "-o", "json")).stdout)
    assert job == {
        "name": "never",
        "purpose": "Waits.",
        "interval_seconds": 10.0,
        "last_started_at": None,
        "last_finished_at": None,
        "last_duration_seconds": None,
        "last_outcome": "none",
        "last_error": "",
        "last_succeeded_at": None,
        "failures_in_a_row": 0,
        "next_at": None,
        "detail": "",
    }
    service.jobs = []
    assert "planned no job yet" in (await run("jobs")).stderr
