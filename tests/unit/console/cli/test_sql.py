"""`stoker sql`: what is sent, how the answer is shown, and that a cut is told."""

import csv
import io
import json
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from console.model.format import UNKNOWN
from controlplane.proto.stoker.v1 import operator_pb2 as pb
from tests.fakes.operator_service import FakeOperatorService
from tests.unit.console.cli.conftest import Stoker


def _answer() -> pb.SqlResponse:
    columns = [
        pb.SqlColumn(name="engine_id", kind=pb.SQL_KIND_TEXT),
        pb.SqlColumn(name="kv_used_ratio", kind=pb.SQL_KIND_REAL),
        pb.SqlColumn(name="waiting_count", kind=pb.SQL_KIND_WHOLE),
        pb.SqlColumn(name="minute_at", kind=pb.SQL_KIND_TIME),
    ]
    at = pb.SqlValue(time=Timestamp(seconds=1795356300))
    rows = [
        pb.SqlRow(values=[pb.SqlValue(text="llama@gcp-1\x1b[31m"), pb.SqlValue(real=0.5), pb.SqlValue(whole=3), at]),
        pb.SqlRow(values=[pb.SqlValue(text='a,"b"'), pb.SqlValue(), pb.SqlValue(whole=0), pb.SqlValue()]),
    ]
    return pb.SqlResponse(columns=columns, rows=rows, dialect="sqlite", seconds=0.01)


@pytest.fixture(autouse=True)
def answered(service: FakeOperatorService) -> None:
    service.sql_answer = _answer()


def _sent(service: FakeOperatorService) -> pb.SqlRequest:
    name, request = service.calls[-1]
    assert name == "QuerySql"
    assert isinstance(request, pb.SqlRequest)
    return request


async def test_a_question_goes_with_its_values_and_limits(service: FakeOperatorService, run: Stoker) -> None:
    words = ("--param", "node=a=b", "--param", "n=", "--limit", "7", "--timeout", "30s")
    result = await run("sql", "SELECT :node, :n", *words)
    assert result.exit_code == 0
    sent = _sent(service)
    assert (sent.sql, dict(sent.parameters)) == ("SELECT :node, :n", {"node": "a=b", "n": ""})
    assert (sent.rows_max, sent.seconds_max) == (7, 30.0)


async def test_a_table_shows_unknown_as_a_dash_and_steers_no_terminal(run: Stoker) -> None:
    result = await run("sql", "SELECT 1")
    assert "llama@gcp-1" in result.stdout
    assert "\x1b" not in result.stdout
    assert "50%" in result.stdout
    assert UNKNOWN in result.stdout.splitlines()[-1]


async def test_json_and_csv_are_exact(run: Stoker) -> None:
    rows = json.loads((await run("sql", "SELECT 1", "-o", "json")).stdout)
    assert rows[0]["kv_used_ratio"] == 0.5
    assert rows[1] == {"engine_id": 'a,"b"', "kv_used_ratio": None, "waiting_count": 0, "minute_at": None}
    lines = list(csv.reader(io.StringIO((await run("sql", "SELECT 1", "-o", "csv")).stdout)))
    assert lines[0] == ["engine_id", "kv_used_ratio", "waiting_count", "minute_at"]
    assert lines[2] == ['a,"b"', "", "0", ""]


async def test_what_was_cut_is_told_with_the_reason(service: FakeOperatorService, run: Stoker) -> None:
    service.sql_answer.truncated = True
    assert "more than 2 rows" in (await run("sql", "SELECT 1", "--limit", "2")).stderr
    assert "as large as one may be" in (await run("sql", "SELECT 1", "--limit", "10")).stderr


async def test_a_question_comes_from_a_file_or_standard_input(
    service: FakeOperatorService, run: Stoker, tmp_path: Path
) -> None:
    (tmp_path / "q.sql").write_text("SELECT 'from a file'")
    assert (await run("sql", "--file", str(tmp_path / "q.sql"))).exit_code == 0
    assert _sent(service).sql == "SELECT 'from a file'"
    assert (await run("sql", "-f", "-", answers="SELECT 'piped'")).exit_code == 0
    assert _sent(service).sql == "SELECT 'piped'"


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("  ",),
        ("SELECT 1", "--param", "novalue"),
        ("SELECT 1", "--param", "a b=c"),
        ("SELECT 1", "--param", "a=1", "--param", "a=2"),
        ("SELECT 1", "--limit", "0"),
        ("SELECT 1", "--timeout", "61s"),
        ("SELECT 1", "--timeout", "soon"),
    ],
)
async def test_wrong_usage_asks_nothing(service: FakeOperatorService, run: Stoker, words: tuple[str, ...]) -> None:
    result = await run("sql", *words)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert not service.calls


async def test_what_is_refused_is_told_in_one_line(service: FakeOperatorService, run: Stoker) -> None:
    service.fail("QuerySql", grpc.StatusCode.INVALID_ARGUMENT, 'near "FORM": syntax error (line 1, column 10)')
    result = await run("sql", "SELECT * FORM events")
    assert result.exit_code == 3
    assert 'near "FORM"' in result.stderr
    service.fail("QuerySql", grpc.StatusCode.FAILED_PRECONDITION, "ended after 10 s")
    assert (await run("sql", "SELECT 1")).exit_code == 1


async def test_the_views_are_listed_with_what_they_mean(service: FakeOperatorService, run: Stoker) -> None:
    names = ("view_name", "view_meaning", "column_name", "column_meaning")
    rows = [("events", "one row an event", "at", "when"), ("events", "one row an event", "kind", "what")]
    service.sql_answer = pb.SqlResponse(
        columns=[pb.SqlColumn(name=name, kind=pb.SQL_KIND_TEXT) for name in names],
        rows=[pb.SqlRow(values=[pb.SqlValue(text=text) for text in row]) for row in rows],
    )
    shown = (await run("sql", "--views")).stdout
    assert "events: one row an event" in shown
    assert "when" in shown
    listed = json.loads((await run("sql", "--views", "-o", "json")).stdout)
    assert listed == [
        {
            "view": "events",
            "meaning": "one row an event",
            "columns": [{"name": "at", "meaning": "when"}, {"name": "kind", "meaning": "what"}],
        }
    ]
    assert (await run("sql", "--views", "nothing")).exit_code == 2
