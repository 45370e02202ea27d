"""One leader per database, and a lock that goes with its holder."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controlplane.errors import AlreadyRunningError, UnavailableError
from controlplane.storage.leader_lock import LeaderLock
from tests.support.postgres import PostgresCluster


async def test_only_one_holds_the_lock(database_url: str) -> None:
    first, second = LeaderLock(database_url), LeaderLock(database_url)
    await first.acquire()
    await first.acquire()  # holding it already
    with pytest.raises(AlreadyRunningError, match=r"another control plane .*stop it first"):
        await second.acquire()
    await first.ensure()
    await first.release()
    await first.release()
    await second.acquire()
    with pytest.raises(AlreadyRunningError):
        await first.ensure()
    await second.release()


_HOLDER = """
import asyncio, sys
from controlplane.storage.leader_lock import LeaderLock
lock = LeaderLock(sys.argv[1])
asyncio.run(lock.acquire())
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def _another_holder(url: str) -> Iterator[int]:
    """A process that holds the lock, killed at the end, so that nothing of its own can let go."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, url],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            yield holder.pid
        finally:
            holder.kill()


async def test_another_process_is_refused_until_the_holder_ends(database_url: str) -> None:
    ours = LeaderLock(database_url)
    with _another_holder(database_url) as pid:
        with pytest.raises(AlreadyRunningError) as refused:
            await ours.acquire()
        if database_url.startswith("sqlite"):
            assert f"process {pid}" in str(refused.value)
        else:
            assert "database session" in str(refused.value)
    while True:
        try:
            await ours.acquire()
            break
        except AlreadyRunningError:
            continue  # PostgreSQL notices the end of a session a moment later
    await ours.release()


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"cannot lock the database: .*No such file"):
        await LeaderLock(f"sqlite:///{tmp_path / 'absent' / 'stoker.db'}").acquire()


@pytest.mark.postgres
async def test_a_lock_lost_with_the_server_is_taken_again(postgres_cluster: PostgresCluster, postgres_url: str) -> None:
    lock = LeaderLock(postgres_url)
    await lock.acquire()
    postgres_cluster.kill()
    try:
        with pytest.raises(UnavailableError):
            await lock.ensure()
        with pytest.raises(UnavailableError):
            await lock.ensure()
    finally:
        postgres_cluster.start()
    await lock.ensure()
    other = LeaderLock(postgres_url)
    with pytest.raises(AlreadyRunningError):
        await other.acquire()
    await lock.release()


@pytest.mark.postgres
async def test_databases_of_one_server_have_leaders_of_their_own(
    postgres_cluster: PostgresCluster, postgres_url: str
) -> None:
    name = postgres_cluster.create_database()
    locks = [LeaderLock(postgres_url), LeaderLock(postgres_cluster.url(name))]
    for lock in locks:
        await lock.acquire()
    for lock in locks:
        await lock.release()
    postgres_cluster.drop_database(name)
