"""Readings to judge."""

import pytest

from tests.support.device_readings import MakeReading, make_reading


@pytest.fixture
def reading() -> MakeReading:
    return make_reading
