"""A database of before, with rows, goes up to where history is rolled up and down again, and loses none of them."""

import contextlib
from collections.abc import Iterator

from alembic import command
from sqlalchemy import Connection, inspect, text

from controlplane.storage import engines, migrate
from controlplane.storage.database_url import parse_url

_BEFORE = "2026_11_24_job_runs"
_ROWS = (
    (
        "INSERT INTO nodes (name, provider, region, zone, labels, enrolled_at, identity_serial, advertised_hosts, cordoned, "
        "cordon_reason, simulator, simulated_by) "
        "VALUES ('n1', 'gcp', 'eu', '', '{}', '2026-11-01 00:00:00.000000+00', 's', '[]', false, '', false, '')"
    ),
    (
        "INSERT INTO engine_summaries (engine_id, node, model, generation, instance_id, state, endpoint, served_paths, dtype, "
        "last_report_at) VALUES ('e1', 'n1', 'm', 1, 'i', 'ready', '', '[]', '', '2026-11-01 00:00:00.000000+00'), "
        "('e2', 'gone', 'm', 1, 'i', 'ready', '', '[]', '', '2026-11-01 00:00:00.000000+00')"
    ),
    (
        "INSERT INTO engine_samples (engine_id, instance_id, sampled_at, node, provider, region, model, state, "
        "prompt_tokens_total, busy_seconds_total) VALUES "
        "('e1', 'i', '2026-11-01 10:00:00.000000', 'n1', 'gcp', 'eu', 'm', 'ready', 5, 1.5), "
        "('e1', 'i', '2026-11-02 10:00:00.000000', 'n1', 'gcp', 'eu', 'm', 'ready', 9, NULL)"
    ),
)


@contextlib.contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = engines.create(parse_url(url))
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _told(connection: Connection) -> list[tuple[object, ...]]:
    asked = "SELECT prompt_tokens, busy_seconds FROM engine_intervals ORDER BY until_at"
    return [tuple(row) for row in connection.execute(text(asked))]


def test_rows_go_up_and_down(empty_url: str) -> None:
    with _connected(empty_url) as connection:
        command.upgrade(migrate._config(connection), _BEFORE)
        for statement in _ROWS:
            connection.execute(text(statement.replace("+00'", "'") if "sqlite" in empty_url else statement))
    migrate.upgrade(empty_url)
    with _connected(empty_url) as connection:
        assert _told(connection) == [(5, 1.5), (4, None)]
        places = "SELECT engine_id, provider, region, running_count FROM engine_summaries ORDER BY 1"
        assert [tuple(row) for row in connection.execute(text(places))] == [
            ("e1", "gcp", "eu", None),
            ("e2", "", "", None),
        ]
        assert connection.scalar(text("SELECT COUNT(*) FROM latency_buckets")) == 103
    migrate.downgrade(empty_url, _BEFORE)
    with _connected(empty_url) as connection:
        assert _told(connection) == [(5, 1.5), (4, None)]
        columns = {column["name"] for column in inspect(connection).get_columns("engine_samples")}
        assert not columns & {"covers_seconds", "devices_count"}
        assert "stoker_partitions" not in inspect(connection).get_schema_names()
        assert connection.scalar(text("SELECT COUNT(*) FROM engine_summaries")) == 2
    migrate.upgrade(empty_url)
    migrate.require_current(empty_url)
