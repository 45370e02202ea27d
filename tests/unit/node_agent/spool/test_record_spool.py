"""The event loop's side: what is returned is kept, what has arrived is told, trouble becomes events."""

import asyncio
from pathlib import Path

from node_agent.clock import SystemClock
from node_agent.session.facts import EngineStatus, NodeEvent
from node_agent.session.records import EngineSample
from node_agent.spool.record_spool import FILE_NAME, RecordSpool
from node_agent.spool.record_store import Limits
from node_agent.spool.sampler import SpoolSampler
from tests.support.clock import SettableClock
from tests.support.spool import numbered, sample, status


async def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    events: list[NodeEvent] = []
    woken: list[bool] = []
    spool = RecordSpool(tmp_path, Limits(), SystemClock(), events.append)
    spool.on_arrival(lambda: woken.append(True))
    assert await spool.keep_requests("i1", numbered(1, 2)) == 2
    await spool.keep_samples([sample()])
    assert len(woken) == 2
    await spool.close()
    again = RecordSpool(tmp_path, Limits(), SystemClock(), events.append)
    batch = await again.oldest(2, 10_000)
    assert batch is not None
    assert [record.sequence for record in batch.records] == [1, 2]
    await again.delivered(batch.spool_id, 2)
    assert await again.keep_requests("i1", numbered(2)) == 2
    rest = await again.oldest(10, 10_000)
    assert rest is not None
    assert [record.sequence for record in rest.records] == [3]
    await again.delivered(batch.spool_id, 3)
    assert await again.oldest(10, 10_000) is None
    await again.close()
    assert events == []


async def test_a_clock_that_jumps_makes_nothing_old(tmp_path: Path) -> None:
    clock = SettableClock()
    spool = RecordSpool(tmp_path, Limits(age_seconds_max=3600), clock, lambda _: None)
    await spool.keep_requests("i1", numbered(1))
    clock.set(clock.now().replace(year=2099))
    await spool.keep_requests("i1", numbered(2))
    batch = await spool.oldest(10, 10_000)
    assert batch is not None
    assert (len(batch.records), batch.dropped) == (2, 0)
    clock.advance(3601)
    await spool.keep_requests("i1", numbered(3))
    batch = await spool.oldest(10, 10_000)
    assert batch is not None
    assert (len(batch.records), batch.dropped) == (1, 2)
    await spool.close()


async def test_trouble_becomes_an_event_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
    events: list[NodeEvent] = []
    spool = RecordSpool(tmp_path, Limits(), SystemClock(), events.append)
    assert await asyncio.gather(*(spool.keep_requests("i1", numbered(number)) for number in (1, 2))) == [1, 2]
    [event] = events
    assert event.kind == "spool_broken"
    assert "check the disk" in event.action
    await spool.close()


class Keeper:
    def __init__(self) -> None:
        self.kept: list[EngineSample] = []

    async def keep_samples(self, samples: list[EngineSample]) -> None:
        self.kept += samples


async def test_readings_are_kept_only_while_nobody_can_be_told() -> None:
    keeper, clock, connected = Keeper(), SettableClock(), True
    statuses: tuple[EngineStatus, ...] = (status(), status(engine_id="new@gcp-1", instance_id=""))
    sampler = SpoolSampler(keeper, connected=lambda: connected, statuses=lambda: statuses, clock=clock)
    await sampler.sample()
    assert keeper.kept == []
    connected = False
    await sampler.sample()
    assert keeper.kept == [EngineSample(clock.now(), status())]


async def test_a_supervisor_that_fails_once_is_sampled_again() -> None:
    keeper, calls = Keeper(), 0
    again = asyncio.Event()

    def statuses() -> tuple[EngineStatus, ...]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("a bug in the supervisor")
        again.set()
        return (status(),)

    sampler = SpoolSampler(
        keeper, connected=lambda: False, statuses=statuses, clock=SettableClock(), interval_seconds=0.001
    )
    running = asyncio.ensure_future(sampler.run())  # noqa: TID251 - ends with the test
    async with asyncio.timeout(20):
        await again.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert calls >= 2
