"""Addresses: what is accepted, and that passwords stay out of sight."""

import pytest

from controlplane.errors import ConfigurationError
from controlplane.storage.database import Database
from controlplane.storage.database_url import parse_url, shown


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_by_any_of_its_names(scheme: str) -> None:
    database = Database.open(f"{scheme}://ann:s3cret@db.example:5433/stoker?sslmode=require")
    assert database.kind == "postgresql"
    assert repr(database) == "<Database PostgreSQL stoker at db.example>"


def test_sqlite_by_file() -> None:
    database = Database.open("sqlite:////var/lib/stoker/stoker.db")
    assert database.kind == "sqlite"
    assert repr(database) == "<Database SQLite /var/lib/stoker/stoker.db>"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "cannot be read"),
        ("stoker.db", "cannot be read"),
        ("postgresql://ann:s3cret@db:port/stoker", "cannot be read"),
        ("postgresql://ann:s3cret@db", "names no database"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///file:x?mode=memory&uri=true", "names no file"),
        ("mysql://ann:s3cret@db/stoker", "not supported"),
        ("postgresql+asyncpg://ann:s3cret@db/stoker", "not supported"),
    ],
)
def test_what_cannot_be_used_says_so_without_the_password(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refused:
        Database.open(url)
    assert "s3cret" not in str(refused.value)
    assert "sqlite:////path/to/file.db" in str(refused.value)


def test_a_socket_folder_is_shown_as_the_place() -> None:
    assert shown(parse_url("postgresql:///stoker?host=/run/postgresql")) == "PostgreSQL stoker at /run/postgresql"
    assert shown(parse_url("postgresql:///stoker")) == "PostgreSQL stoker at local socket"
