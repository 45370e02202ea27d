"""Questions in SQL: what is answered, what is refused and how, and that nothing but the views can be read, on both databases."""

# ruff: noqa: S608 - hostile statements are what is tested

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from controlplane.errors import ConfigurationError, ConflictError, InvalidInputError
from controlplane.storage import engines, migrate
from controlplane.storage.asking.asker import SqlAsker
from controlplane.storage.asking.question import Answer, Question
from controlplane.storage.database import Database
from controlplane.storage.database_url import parse_url
from controlplane.storage.unit_of_work import UnitOfWork
from controlplane.storage.views import VIEWS
from tests.contract.storage.facts import event, sample

_NAMES = [view.name for view in VIEWS]
_TABLES = (
    "api_keys",
    "engine_samples",
    "rolled_engine_minutes",
    "audit_entries",
    "join_tokens",
    "operators",
    "alembic_version",
)


def _fill(uow: UnitOfWork) -> None:
    uow.events.append([event(n, message=f"number {n}", node="gcp-1", event_id=n) for n in range(1, 4)])
    uow.samples.append_many([sample(0, prompt_tokens_total=3)])


@pytest.fixture
async def asker(database: Database, database_url: str) -> SqlAsker:
    await database.run(_fill)
    return SqlAsker(database_url)


async def _ask(
    asker: SqlAsker, sql: str, *, rows_max: int = 1000, seconds_max: float = 20.0, **parameters: str
) -> Answer:
    return await asker.ask(Question(sql, parameters, rows_max, seconds_max))


async def _refused(asker: SqlAsker, sql: str, **parameters: str) -> str:
    try:
        answer = await asker.ask(Question(sql, parameters, 1000, 20.0))
    except InvalidInputError as error:
        return str(error)
    pytest.fail(f"this was answered with {answer.rows!r}: {sql!r}")


async def test_a_view_is_answered_with_types(asker: SqlAsker, database: Database) -> None:
    answer = await _ask(
        asker, "SELECT event_id, at, message, 0.5 AS half, NULL AS unknown FROM events ORDER BY event_id"
    )
    assert answer.columns == ("event_id", "at", "message", "half", "unknown")
    assert answer.rows[0] == (1, event(1).at, "number 1", 0.5, None)
    assert (len(answer.rows), answer.truncated, answer.dialect) == (3, False, database.kind)
    assert answer.seconds >= 0


@pytest.mark.parametrize("name", _NAMES)
async def test_every_view_can_be_asked(asker: SqlAsker, name: str) -> None:
    answer = await _ask(asker, f"SELECT * FROM {name} LIMIT 3")
    assert answer.columns == next(tuple(it.name for it in view.columns) for view in VIEWS if view.name == name)
    assert (await _ask(asker, f"SELECT COUNT(*) FROM {name}")).rows


async def test_joins_subqueries_windows_and_recursion_are_answered(asker: SqlAsker) -> None:
    answer = await _ask(
        asker,
        """
        WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 3),
             named AS (SELECT event_id, ROW_NUMBER() OVER (ORDER BY at DESC) AS place FROM events)
        SELECT n, place, (SELECT COUNT(*) FROM capacity_events) AS count_all -- three
        FROM numbers JOIN named ON named.event_id = n /* by number */
        ORDER BY n;
        """,
    )
    assert answer.rows == ((1, 3, 3), (2, 2, 3), (3, 1, 3))


async def test_parameters_are_values_whatever_they_hold(asker: SqlAsker) -> None:
    answer = await _ask(
        asker,
        "SELECT event_id FROM events WHERE message = :m AND event_id >= :n AND at >= :since AND ':m' <> message",
        m="number 2",
        n="2",
        since="2026-11-22T15:00:00+01:00",
    )
    assert answer.rows == ((2,),)
    hostile = "'; DROP TABLE fleet_events; --"
    assert (await _ask(asker, "SELECT event_id FROM events WHERE message = :m", m=hostile)).rows == ()
    assert "--param m=VALUE" in await _refused(asker, "SELECT :m")
    assert "does not name :x" in await _refused(asker, "SELECT 1", x="1")
    assert "NUL" in await _refused(asker, "SELECT :m", m="\x00")
    for nonsense in ("2026-13-45", "2026-02-30 10:00"):
        assert "is no time" in await _refused(asker, "SELECT 1 FROM events WHERE at >= :since", since=nonsense)
        assert "is no time" in await _refused(asker, f"SELECT 1 FROM events WHERE at >= '{nonsense}'")


@pytest.mark.parametrize("table", _TABLES)
async def test_tables_are_not_for_asking(asker: SqlAsker, table: str) -> None:
    for sql in (
        f"SELECT * FROM {table}",
        f"SELECT COUNT(*) FROM {table}",
        f'SELECT 1 FROM "{table}" AS events',
        f"SELECT (SELECT COUNT(*) FROM {table}) FROM events",
        f"SELECT 1 WHERE EXISTS (SELECT 1 FROM {table})",
        f"WITH found AS (SELECT * FROM {table}) SELECT * FROM found",
        f"SELECT 1 FROM events UNION ALL SELECT 1 FROM {table}",
        f"SELECT * FROM events JOIN {table} ON 1 = 1",
        f"SELECT events.* FROM (SELECT * FROM {table}) AS events",
    ):
        said = await _refused(asker, sql)
        assert table in said, sql
        assert "views: fleet_now, " in said, sql


async def test_a_definition_cannot_pass_for_a_view(asker: SqlAsker) -> None:
    for sql in (
        "WITH events AS (SELECT * FROM api_keys) SELECT * FROM events",
        'WITH "Events" AS MATERIALIZED (SELECT * FROM api_keys) SELECT * FROM "Events"',
        "WITH events(a, b) AS NOT MATERIALIZED (SELECT key_id, tenant FROM api_keys) SELECT * FROM events",
        "WITH/**/events/**/AS/**/(SELECT * FROM api_keys) SELECT * FROM events",
        "WITH x AS (WITH events AS (SELECT * FROM api_keys) SELECT * FROM events) SELECT * FROM x",
        "WITH 'events' AS (SELECT * FROM api_keys) SELECT * FROM events",
    ):
        with pytest.raises(InvalidInputError):
            await _ask(asker, sql)


_HOSTILE = [
    "",
    "   -- nothing",
    "DELETE FROM events",
    "INSERT INTO fleet_events DEFAULT VALUES",
    "UPDATE fleet_events SET message = ''",
    "DROP VIEW events",
    "CREATE TABLE mine (n INTEGER)",
    "EXPLAIN SELECT 1",
    "BEGIN",
    "COMMIT",
    "VACUUM",
    "PRAGMA query_only = OFF",
    "ATTACH 'other.db' AS other",
    "SET ROLE NONE",
    "COPY events TO STDOUT",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW events",
    "WITH gone AS (DELETE FROM fleet_events RETURNING *) SELECT * FROM gone",
    "WITH made AS (INSERT INTO fleet_events DEFAULT VALUES RETURNING *) SELECT * FROM made",
    "WITH x AS (SELECT 1) DELETE FROM fleet_events",
    "SELECT * INTO mine FROM events",
    "SELECT 1) AS x, (SELECT 2",
    "SELECT 1 -- )\n) AS x; SELECT (2",
    "SELECT 'not ended",
    "SELECT 1 /* not ended",
    "SELECT /* /* */ 1",
    "SELECT load_extension('x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT writefile('/tmp/x', 'y')",
    "SELECT zeroblob(1000000000)",
    "SELECT randomblob(1000000000)",
    "SELECT printf('%.*c', 1000000000, 'x')",
    "SELECT * FROM pragma_table_info('api_keys')",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM sqlite_schema",
    "SELECT * FROM dbstat",
    "SELECT * FROM sqlite_stmt",
    "SELECT * FROM pg_roles",
    "SELECT * FROM pg_catalog.pg_class",
    "SELECT * FROM information_schema.tables",
    "SELECT pg_sleep(1)",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_notify('a', 'b')",
    "SELECT lo_create(1)",
    "SELECT lo_import('/etc/passwd')",
    "SELECT set_config('role', 'none', true)",
    "SELECT \"set_config\"('role', 'none', true)",
    "SELECT pg_catalog.set_config('role', 'none', true)",
    "SELECT set_config /* - */ ('role', 'none', true)",
    "SELECT query_to_xml('SELECT * FROM api_keys', true, true, '')",
    "SELECT table_to_xml('api_keys', true, true, '')",
    "SELECT ts_stat('SELECT 1')",
    "SELECT dblink('', '')",
    "SELECT nextval('x')",
    "SELECT current_setting('data_directory')",
    "SELECT repeat('x', 1000000000)",
    "SELECT lpad('x', 1000000000)",
    "SELECT $$x$$",
    "SELECT E'\\x41'",
    "SELECT U&'\\0041'",
    "SELECT * FROM events FOR UPDATE",
    "SELECT ?",
    "SELECT 1\x00",
    "SELEC 1",
    "SELECT FROM WHERE",
    "SELECT * FROM no_such_view",
    "SELECT no_such_column FROM events",
    "SELECT no_such_function(1)",
]


async def test_what_is_no_harmless_question_is_refused(asker: SqlAsker) -> None:
    for sql in _HOSTILE:
        assert (await _refused(asker, sql)).strip(), sql
    assert len((await _ask(asker, "SELECT * FROM events")).rows) == 3


async def test_errors_are_the_databases_own_and_say_where(asker: SqlAsker) -> None:
    said = await _refused(asker, "SELECT event_id\nFROM events GROUP 7")
    assert "syntax error" in said
    assert "line 2, column " in said
    assert "no_such_column" in await _refused(asker, "SELECT no_such_column FROM events")
    assert "views: fleet_now" in await _refused(asker, "SELECT * FROM evens")


async def test_places_are_of_what_was_asked_also_after_parameters(asker: SqlAsker, database: Database) -> None:
    said = await _refused(asker, "SELECT :a_long_name,\n  :other, FROM events", a_long_name="1", other="2")
    assert "line 2, column " in said
    if database.kind == "postgresql":
        assert "line 2, column 11" in said


async def test_more_rows_than_asked_for_are_told(asker: SqlAsker) -> None:
    asked = "SELECT event_id FROM events ORDER BY event_id"
    assert (await _ask(asker, asked, rows_max=2)).rows == ((1,), (2,))
    assert (await _ask(asker, asked, rows_max=2)).truncated
    assert not (await _ask(asker, asked, rows_max=3)).truncated


_ENDLESS = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers) SELECT COUNT(*) FROM numbers"
_DOUBLED = """
    WITH RECURSIVE texts(n, t) AS (
      SELECT 1, CAST('0123456789abcdef' AS TEXT) UNION ALL SELECT n + 1, t || t FROM texts WHERE n < {doublings}
    ) SELECT t FROM texts
"""


async def test_what_never_ends_is_ended_and_told(asker: SqlAsker) -> None:
    with pytest.raises(ConflictError, match=r"ended after 0\.3 s"):
        await _ask(asker, _ENDLESS, seconds_max=0.3)


async def test_huge_values_and_huge_answers_are_bounded(asker: SqlAsker) -> None:
    assert "grew beyond" in await _refused(asker, _DOUBLED.format(doublings=22))
    big = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 200), " + (
        _DOUBLED.format(doublings=13).strip().removeprefix("WITH RECURSIVE ").replace("SELECT t FROM texts", "")
        + " SELECT numbers.n, texts.t FROM numbers, texts WHERE texts.n = 13"
    )
    answer = await _ask(asker, big)
    assert answer.truncated
    assert 100 < len(answer.rows) < 130  # 64 KiB each, 8 MiB in all


async def test_at_most_two_at_once_and_those_nobody_waits_for_are_ended(asker: SqlAsker, database: Database) -> None:
    async with asyncio.TaskGroup() as group:
        slow = [group.create_task(_ask(asker, _ENDLESS, seconds_max=250)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ConflictError, match="try again"):
            await _ask(asker, "SELECT 1")
        # The daemon's own work goes on beside them.
        await database.run(lambda uow: uow.events.append([event(9, event_id=9)]))
        for task in slow:
            task.cancel()
    answer = None
    while answer is None:  # until both have really ended: far sooner than their time
        try:
            answer = await _ask(asker, "SELECT COUNT(*) FROM events")
        except ConflictError:
            await asyncio.sleep(0.01)
    assert answer.rows == ((4,),)


_PIECES = st.sampled_from(
    [
        "SELECT",
        "FROM",
        "WHERE",
        "WITH",
        "AS",
        "INSERT",
        "INTO",
        "UPDATE",
        "DELETE",
        "DROP",
        "VALUES",
        "RETURNING",
        "events",
        "fleet_events",
        "api_keys",
        "key_id",
        "set_config",
        "query_to_xml",
        "(",
        ")",
        ",",
        ";",
        "*",
        "1",
        "'x'",
        '"x"',
        "--",
        "/*",
        "*/",
        ":p",
        "$1",
        "$$",
        "E'",
        "U&'",
        "`",
        "[",
        "]",
        "UNION",
        "ALL",
        "pg_sleep",
        "sqlite_master",
    ]
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_PIECES, min_size=1, max_size=12), st.text(max_size=5))
async def test_no_text_does_harm(asker: SqlAsker, pieces: list[str], junk: str) -> None:
    for sql in (" ".join(pieces), "SELECT " + " ".join(pieces), " ".join(pieces) + junk):
        try:
            answer = await _ask(asker, sql)
        except InvalidInputError:
            continue
        else:
            assert "key_id" not in answer.columns
    assert len((await _ask(asker, "SELECT * FROM events")).rows) == 3


@pytest.mark.postgres
async def test_where_the_migration_may_not_give_the_role_the_administrators_commands_are_told_and_help(
    postgres_cluster: Any,
) -> None:
    name = postgres_cluster.create_database()
    url = postgres_cluster.url(name)
    admin = engines.create(parse_url(url))
    with admin.begin() as connection:
        connection.execute(text("CREATE ROLE plain_owner LOGIN"))
        connection.execute(text(f"ALTER DATABASE {name} OWNER TO plain_owner"))
        connection.execute(text("GRANT CREATE ON SCHEMA public TO plain_owner"))
    plain_url = url.replace("stoker@", "plain_owner@")
    migrate.upgrade(plain_url)
    asker = SqlAsker(plain_url)
    with pytest.raises(ConfigurationError) as told:
        await _ask(asker, "SELECT COUNT(*) FROM events")
    commands = str(told.value).partition("this database: ")[2].rstrip(";").split("; ")
    assert 'GRANT stoker_reader TO "plain_owner"' in commands
    with admin.begin() as connection:
        for command in commands:
            connection.execute(text(command))
    assert (await _ask(asker, "SELECT COUNT(*) FROM events")).rows == ((0,),)
    assert "not for asking" in await _refused(asker, "SELECT * FROM pg_roles")
    assert "only the views" in await _refused(asker, "SELECT * FROM api_keys")
    migrate.downgrade(plain_url, "base")
    admin.dispose()
    postgres_cluster.drop_database(name)
