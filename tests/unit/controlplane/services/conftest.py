"""A control plane without its network, for the services that change or read the fleet."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.fleet import enrolled
from tests.support.plane import Plane, plane


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Plane]:
    """Two nodes have joined; nobody is connected, nothing is placed."""
    async with plane(tmp_path) as made:
        await made.enrol(enrolled("gcp-1"), enrolled("aws-1"))
        yield made
