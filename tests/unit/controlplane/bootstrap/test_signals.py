"""What the process is told, and how often."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from controlplane.bootstrap.signals import Signals


@pytest.fixture
async def signals() -> AsyncIterator[Signals]:
    yield Signals()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().remove_signal_handler(number)


async def told(signals: Signals, number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    async with asyncio.timeout(5):
        await signals.told()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_asks_for_an_end_the_second_for_one_at_once(signals: Signals, number: signal.Signals) -> None:
    await told(signals, number)
    assert (signals.end, signals.second.is_set()) == (True, False)
    await told(signals, number)
    assert signals.second.is_set()


async def test_a_reload_is_asked_for_once(signals: Signals) -> None:
    await told(signals, signal.SIGHUP)
    assert not signals.end
    assert (signals.take_reload(), signals.take_reload()) == (True, False)


async def test_a_part_that_cannot_go_on(signals: Signals) -> None:
    signals.fail("somebody else leads")
    async with asyncio.timeout(5):
        await signals.told()
    assert (signals.failure, signals.end) == ("somebody else leads", False)
