"""Only one leads: who has lost the lock to another ends."""

from pathlib import Path

import pytest

from controlplane.errors import AlreadyRunningError
from controlplane.jobs import keep_lead
from controlplane.storage.leader_lock import LeaderLock
from tests.support.clock import START


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'stoker.db'}"


async def test_a_lock_that_is_held_is_kept(url: str) -> None:
    lock, lost = LeaderLock(url), list[str]()
    await lock.acquire()
    await keep_lead.run(lock, lost.append, START)
    assert lost == []
    with pytest.raises(AlreadyRunningError):
        await LeaderLock(url).acquire()
    await lock.release()


async def test_a_lock_that_another_has_is_the_end(url: str) -> None:
    other, lost = LeaderLock(url), list[str]()
    await other.acquire()
    await keep_lead.run(LeaderLock(url), lost.append, START)
    [reason] = lost
    assert "another control plane" in reason
    await other.release()
