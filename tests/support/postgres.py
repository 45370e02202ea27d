"""A PostgreSQL cluster of its own for tests: started on first use, gone with them however they end.

`postgres_cluster` is one per session, `postgres_url` an empty database per test.
"""

import shutil
from collections.abc import Iterator

import pytest

from tests.support.postgres_cluster import PostgresCluster, PostgresError, find_binaries, short_folder

__all__ = ["PostgresCluster", "postgres_cluster", "postgres_url"]


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresCluster]:
    """One server for all tests of the session. A test that stops it must start it again."""
    try:
        binaries = find_binaries()
    except PostgresError as error:
        pytest.fail(f"{error}; or leave these tests out with `-m 'not postgres'`", pytrace=False)
    folder = short_folder()
    cluster = PostgresCluster(folder, binaries)
    try:
        try:
            cluster.create()
            cluster.start()
        except PostgresError as error:
            pytest.fail(str(error), pytrace=False)
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_cluster: PostgresCluster) -> Iterator[str]:
    """An empty database."""
    name = postgres_cluster.create_database()
    yield postgres_cluster.url(name)
    postgres_cluster.drop_database(name)
