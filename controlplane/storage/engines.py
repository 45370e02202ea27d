"""SQLAlchemy engines, set up the same for every part of `storage`: UTC, explicit transactions, one connection to write.

Used by `database`, `migrate` and `leader_lock`. Creating one connects nowhere.
"""

import sqlite3
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event

from controlplane.storage.database_url import kind_of

_CONNECT_SECONDS_MAX = 5
_BUSY_SECONDS_MAX = 5
_STATEMENT_SECONDS_MAX = 60
# How fast a dead peer is noticed, in both directions: the lock of a leader whose machine is gone must not stay.
_DEAD_PEER_SECONDS = 15


def create(url: URL) -> Engine:
    """An engine for a URL that `database_url.parse_url` made."""
    if kind_of(url) == "sqlite":
        return _sqlite(url)
    return _postgresql(url, connections_max=1)


def create_reader(url: URL, connections_max: int) -> Engine:
    """An engine that cannot write: beside a writer it neither waits for it nor holds it up."""
    if kind_of(url) == "sqlite":
        return _sqlite_reader(url, connections_max)
    return _postgresql(url, connections_max, read_only=True)


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url,
        pool_size=1,
        max_overflow=0,
        connect_args={"timeout": _BUSY_SECONDS_MAX, "check_same_thread": False},
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions by itself
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS_MAX * 1000}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # The write lock from the start: a transaction that reads first could otherwise fail when it comes to write.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _sqlite_reader(url: URL, connections_max: int) -> Engine:
    def connect() -> sqlite3.Connection:
        # Not mode=ro, which cannot open a WAL that nobody has open; query_only refuses writes as well.
        file = f"file:{quote(url.database or '')}?mode=rw"
        connection = sqlite3.connect(
            file, timeout=_BUSY_SECONDS_MAX, isolation_level=None, check_same_thread=False, uri=True
        )
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS_MAX * 1000}")
        connection.execute("PRAGMA query_only = ON")
        return connection

    engine = create_engine(
        "sqlite://", creator=connect, poolclass=QueuePool, pool_size=connections_max, max_overflow=0,
        hide_parameters=True,
    )  # fmt: skip

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")  # one moment for all that is read

    return engine


def _postgresql(url: URL, connections_max: int, *, read_only: bool = False) -> Engine:
    engine = create_engine(
        url,
        pool_size=connections_max,
        max_overflow=0,
        pool_pre_ping=True,  # a connection that died with a restarted server is replaced without a failed call
        connect_args={
            "connect_timeout": _CONNECT_SECONDS_MAX,
            "tcp_user_timeout": _DEAD_PEER_SECONDS * 1000,
            "fallback_application_name": "stoker-controlplane",
        },
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        connection.execute("SET timezone TO 'UTC'")
        connection.execute(f"SET statement_timeout TO '{_STATEMENT_SECONDS_MAX}s'")
        connection.execute("SET tcp_keepalives_idle TO 5")
        connection.execute("SET tcp_keepalives_interval TO 5")
        connection.execute("SET tcp_keepalives_count TO 2")
        if read_only:
            connection.execute("SET default_transaction_read_only TO on")
        connection.autocommit = False

    return engine
