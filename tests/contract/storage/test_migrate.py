"""The migrated schema is the one that the code knows; it goes up and down on data, and a newer one is refused."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from controlplane.errors import DatabaseVersionError, UnavailableError
from controlplane.storage import engines, migrate, views
from controlplane.storage.database import Database
from controlplane.storage.database_url import parse_url
from controlplane.storage.tables import metadata
from controlplane.storage.unit_of_work import UnitOfWork, load_desired
from tests.contract.storage.facts import event, node, placement, sample


@contextlib.contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = engines.create(parse_url(url))
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _checks(connection: Connection) -> dict[str, set[str]]:
    found = inspect(connection)
    return {
        table: {str(check["name"]) for check in found.get_check_constraints(table)}
        for table in found.get_table_names()
        if table != "alembic_version"
    }


def _view_texts(connection: Connection) -> dict[str, str]:
    found = inspect(connection)
    names = found.get_view_names()
    return {name: " ".join(str(found.get_view_definition(name)).split()) for name in names}


def test_the_migrated_schema_is_what_the_code_knows(empty_url: str) -> None:
    migrate.upgrade(empty_url)
    with _connected(empty_url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        migrated = (_checks(connection), _view_texts(connection))
        # The same again, built from the code alone: alembic compares neither checks nor views.
        for view in migrated[1]:
            connection.execute(text(f"DROP VIEW {view}"))
        metadata.drop_all(connection)
        metadata.create_all(connection)
        views.create_all(connection)
        assert (_checks(connection), _view_texts(connection)) == migrated


async def test_data_survives_an_upgrade_and_a_downgrade_empties(empty_url: str) -> None:
    migrate.upgrade(empty_url)
    database = Database.open(empty_url)

    def fill(uow: UnitOfWork) -> None:
        uow.nodes.put(node())
        uow.placements.put(placement())
        uow.samples.append_many([sample(0)])
        uow.events.append([event()])

    await database.run(fill)
    await database.close()

    migrate.upgrade(empty_url)  # at head: nothing to do
    database = Database.open(empty_url)
    assert set((await database.run(load_desired)).placements) == {"llama@gcp-1"}
    await database.close()

    migrate.downgrade(empty_url, "base")
    assert migrate.current(empty_url) is None
    with _connected(empty_url) as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
        assert inspect(connection).get_view_names() == []
    migrate.upgrade(empty_url)
    assert migrate.current(empty_url) == migrate.head()
    migrate.require_current(empty_url)


def test_a_newer_database_is_refused_and_left_alone(empty_url: str) -> None:
    migrate.upgrade(empty_url)
    with _connected(empty_url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '2031_01_01_telepathy'"))
    for refused in (migrate.require_current, migrate.upgrade):
        with pytest.raises(DatabaseVersionError, match=r"newer release.*2031_01_01_telepathy.*restore a backup"):
            refused(empty_url)
    assert migrate.current(empty_url) == "2031_01_01_telepathy"


async def test_a_database_that_was_never_migrated_is_refused(empty_url: str) -> None:
    assert migrate.current(empty_url) is None
    with pytest.raises(DatabaseVersionError, match=r"never set up.*stoker-controlplane migrate"):
        migrate.require_current(empty_url)
    database = Database.open(empty_url)
    with pytest.raises(DatabaseVersionError, match="stoker-controlplane migrate"):
        await database.run(load_desired)
    await database.close()


def test_looking_at_a_file_that_is_not_there_does_not_create_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'absent.db'}"
    assert migrate.current(url) is None
    assert not list(tmp_path.iterdir())


def test_a_migration_that_fails_leaves_the_database_as_it_was(empty_url: str) -> None:
    """The last step of the first migration fails: nothing of it may stay."""
    with _connected(empty_url) as connection:
        connection.execute(text("CREATE TABLE engine_intervals (in_the_way INTEGER)"))
    with pytest.raises(Exception, match="engine_intervals"):
        migrate.upgrade(empty_url)
    with _connected(empty_url) as connection:
        assert inspect(connection).get_table_names() == ["engine_intervals"]
    assert migrate.current(empty_url) is None


def test_a_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="unable to open database file"):
        migrate.upgrade(f"sqlite:///{tmp_path / 'absent' / 'stoker.db'}")
