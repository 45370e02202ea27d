"""The fleet at a moment, from minutes while they are kept and from hours after that."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, insert

from controlplane.errors import InvalidInputError, NotFoundError
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.observed import Severity
from controlplane.services.recall_fleet import RecallFleet
from controlplane.storage.database import Database
from controlplane.storage.tables import rollups
from tests.contract.storage.facts import T0, at
from tests.support.clock import SettableClock

NOW = T0 + timedelta(days=40)
ENGINE = {
    "engine_id": "llama@gcp-1",
    "node": "gcp-1",
    "provider": "gcp",
    "region": "us-east1",
    "model": "llama",
    "state": "ready",
    "samples_count": 6,
    "processes_count": 1,
    "covered_seconds": 60.0,
    "kv_capacity_tokens": 1000,
    "kv_used_ratio_mean": 0.25,
    "generation_tokens": 600,
}
NODE = {
    "node": "gcp-1",
    "provider": "gcp",
    "region": "us-east1",
    "trust": "fresh",
    "agent_version": "1",
    "connected": True,
    "cordoned": True,
    "simulated": False,
    "samples_count": 6,
}
SILENT = {**NODE, "node": "aws-1", "provider": "aws", "connected": False, "trust": "stale"}
DEVICE = {
    "node": "gcp-1",
    "device_id": "cuda:0",
    "provider": "gcp",
    "region": "us-east1",
    "device_kind": "H100",
    "engine_id": "llama@gcp-1",
    "model": "llama",
    "samples_count": 6,
    "memory_total_bytes": 80_000_000_000,
}


async def _put(database: Database, table: Table, *rows: dict[str, Any]) -> None:
    def write(uow: Any) -> None:
        uow.past._connection.execute(insert(table), list(rows))

    await database.run(write)


async def _filled(database: Database) -> RecallFleet:
    minute, hour = {"minute_at": T0}, {"hour_at": T0 - timedelta(days=1)}
    await _put(database, rollups.rolled_engine_minutes, {**ENGINE, **minute}, {**ENGINE, "minute_at": at(60)})
    await _put(database, rollups.rolled_node_minutes, {**NODE, **minute}, {**SILENT, **minute})
    await _put(database, rollups.rolled_device_minutes, {**DEVICE, **minute})
    await _put(database, rollups.rolled_engine_hours, {**ENGINE, **hour, "state": "draining"})
    await _put(database, rollups.rolled_node_hours, {**NODE, **hour})
    events = [
        FleetEvent(at(10 * number), Severity.INFO, "engine_ready", f"event {number}", event_id=number + 1)
        for number in range(10)
    ]
    await database.run(lambda uow: uow.events.append(events))
    return RecallFleet(database, SettableClock(NOW))


async def test_a_minute_as_it_was_and_nothing_of_the_next(database: Database) -> None:
    recall = await _filled(database)
    past, unknown = await recall(at(59.5))
    assert (past.begins_at, past.resolution_seconds) == (T0, 60.0)
    (engine,) = past.engines
    assert (engine.engine_id, engine.state, engine.kv_used_ratio_mean) == ("llama@gcp-1", "ready", 0.25)
    assert engine.kv_used_ratio_max is None  # not known is not zero
    assert [(node.node, node.connected, node.cordoned) for node in past.nodes] == [
        ("aws-1", False, True),
        ("gcp-1", True, True),
    ]
    assert [(device.device_id, device.memory_total_bytes) for device in past.devices] == [("cuda:0", 80_000_000_000)]
    assert [event.message for event in past.events] == [f"event {number}" for number in range(6)]
    assert any("aws-1" in sentence and "not connected" in sentence for sentence in unknown)


async def test_where_minutes_are_gone_the_hour_tells_and_says_so(database: Database) -> None:
    recall = await _filled(database)
    past, unknown = await recall(T0 - timedelta(days=1) + timedelta(minutes=17))
    assert (past.begins_at, past.resolution_seconds) == (T0 - timedelta(days=1), 3600.0)
    assert [engine.state for engine in past.engines] == ["draining"]
    assert "within the hour" in unknown[0]


async def test_what_cannot_be_told_is_said_with_its_reason(database: Database) -> None:
    recall = await _filled(database)
    with pytest.raises(InvalidInputError, match="still to come"):
        await recall(NOW + timedelta(seconds=1))
    with pytest.raises(NotFoundError, match="not computed yet"):
        await recall(NOW - timedelta(seconds=30))
    with pytest.raises(NotFoundError, match="the first minute that is kept"):
        await recall(T0 - timedelta(days=3))
    with pytest.raises(NotFoundError, match="nothing was heard in that minute"):
        await recall(T0 + timedelta(days=2))


async def test_a_history_that_has_not_begun_says_so(database: Database) -> None:
    with pytest.raises(NotFoundError, match="begins with the first reports"):
        await RecallFleet(database, SettableClock(NOW))(T0)
