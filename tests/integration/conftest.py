"""A control plane over real TLS and an agent's identity, for all tests of the agent's link."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from node_agent.link.identity import IdentityStore
from tests.fakes.authority import FakeAuthority
from tests.fakes.control_plane import FakeControlPlane


@pytest.fixture
async def plane() -> AsyncIterator[FakeControlPlane]:
    control_plane = FakeControlPlane(FakeAuthority())
    await control_plane.start()
    yield control_plane
    await control_plane.vanish()


@pytest.fixture
def store(tmp_path: Path) -> IdentityStore:
    return IdentityStore(tmp_path)
