"""A control plane with its real network, in which gcp-1 has joined."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.fleet import enrolled
from tests.support.served import Served, served


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as made:
        await made.enrol(enrolled("gcp-1"))
        yield made
