"""Minutes and hours by example: devices, nodes, requests and their latencies, recompute bills, what comes late."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import text

from controlplane.fleet.history import DeviceSample, NodeSample, RecomputeSample
from controlplane.fleet.node_records import RequestOutcome, RequestRecord, RequestRow
from controlplane.storage.database import Database
from controlplane.storage.rollups.latency import BOUNDS
from controlplane.storage.unit_of_work import UnitOfWork
from tests.contract.storage.facts import at, sample

HOUR = 3600.0


async def _roll(database: Database, seconds: float) -> None:
    def roll(uow: UnitOfWork) -> None:
        while uow.rollups.step(at(seconds)) is not None:
            pass

    await database.run(roll)


async def _rows(database: Database, table: str, order: str = "1, 2, 3, 4") -> list[dict[str, Any]]:
    asked = text(f"SELECT * FROM {table} ORDER BY {order}")  # noqa: S608
    return await database.run(lambda uow: [dict(row) for row in uow.samples._connection.execute(asked).mappings()])


def _device(seconds: float, **changes: Any) -> DeviceSample:
    fields: dict[str, Any] = {
        "sampled_at": at(seconds),
        "node": "gcp-1",
        "device_id": "gpu-0",
        "provider": "gcp",
        "region": "eu",
        "device_kind": "H200",
        "covers_seconds": 10.0,
    }
    return DeviceSample(**{**fields, **changes})


def _node(seconds: float, **changes: Any) -> NodeSample:
    fields: dict[str, Any] = {
        "sampled_at": at(seconds),
        "node": "gcp-1",
        "provider": "gcp",
        "region": "eu",
        "connected": True,
        "trust": "fresh",
        "cordoned": False,
        "simulated": False,
        "covers_seconds": 10.0,
    }
    return NodeSample(**{**fields, **changes})


def _request(number: int, seconds: float, **changes: Any) -> RequestRow:
    fields: dict[str, Any] = {
        "request_id": f"r{number}",
        "engine_id": "llama@gcp-1",
        "instance_id": "i1",
        "model": "llama",
        "tenant": "acme",
        "started_at": at(seconds - 1),
        "finished_at": at(seconds),
        "outcome": RequestOutcome.COMPLETED,
        "prompt_tokens": 10,
        "output_tokens": 5,
    }
    return RequestRow("gcp-1", "s1", number, "gcp", "eu", RequestRecord(**{**fields, **changes}))


def _bill(seconds: float, tokens: int, tenant: str = "acme", **changes: Any) -> RecomputeSample:
    fields: dict[str, Any] = {
        "sampled_at": at(seconds),
        "engine_id": "llama@gcp-1",
        "instance_id": "i1",
        "tenant": tenant,
        "node": "gcp-1",
        "provider": "gcp",
        "region": "eu",
        "model": "llama",
        "tokens_total": tokens,
    }
    return RecomputeSample(**{**fields, **changes})


async def test_a_device_tells_how_long_it_was_held_served_and_computed(database: Database) -> None:
    held = {"engine_id": "llama@gcp-1", "model": "llama"}
    devices = [
        _device(0, power_watts=100.0, memory_used_bytes=10),
        _device(10, **held, power_watts=300.0, memory_used_bytes=30, throttled=True),
        _device(20, **held, engine_ready=True, free_bytes=7, throttled=False),
        _device(30, **held, engine_ready=True, covers_seconds=None, power_watts=1e300),
        _device(70),
    ]
    await database.run(lambda uow: uow.device_samples.append_many(devices))
    engines = [sample(20, busy_seconds_total=12.0), sample(75, busy_seconds_total=99.0)]
    await database.run(lambda uow: uow.samples.append_many(engines))
    await _roll(database, 2 * HOUR)
    first, second = await _rows(database, "rolled_device_minutes")
    told = (
        "covered_seconds",
        "placed_seconds",
        "serving_seconds",
        "busy_seconds",
        "throttled_seconds",
        "energy_joules",
    )
    assert [first[name] for name in told] == [30.0, 20.0, 10.0, 12.0, 10.0, 4000.0]
    assert (first["engine_id"], first["power_watts_mean"], first["memory_used_bytes_mean"]) == (
        "llama@gcp-1",
        200.0,
        20.0,
    )
    assert (first["free_bytes_min"], first["weights_bytes_max"], first["power_watts_max"]) == (7, None, 300.0)
    assert [second[name] for name in told] == [10.0, 0.0, 0.0, 0.0, None, None]
    [hour] = await _rows(database, "rolled_device_hours")
    assert [hour[name] for name in told] == [40.0, 20.0, 10.0, 12.0, 10.0, 4000.0]
    assert (hour["samples_count"], hour["engine_id"], hour["free_bytes_min"]) == (5, "", 7)


async def test_an_engine_that_was_busy_comes_late_and_its_device_tells_it(database: Database) -> None:
    held = {"engine_id": "llama@gcp-1", "engine_ready": True}
    await database.run(lambda uow: uow.device_samples.append_many([_device(0, **held), _device(4000, **held)]))
    await _roll(database, 3 * HOUR)
    assert [row["busy_seconds"] for row in await _rows(database, "rolled_device_hours")] == [None, None]
    await database.run(lambda uow: uow.samples.append_many([sample(5, busy_seconds_total=4.0)]))
    await _roll(database, 3 * HOUR)
    assert [row["busy_seconds"] for row in await _rows(database, "rolled_device_minutes")] == [4.0, None]
    assert [row["busy_seconds"] for row in await _rows(database, "rolled_device_hours")] == [4.0, None]


async def test_a_node_tells_what_it_was_last_and_for_how_long(database: Database) -> None:
    await database.run(
        lambda uow: uow.node_samples.append_many(
            [
                _node(0, devices_count=8, placed_devices_count=4),
                _node(10, devices_count=8, placed_devices_count=2, cordoned=True, clock_error_seconds=0.5),
                _node(20, connected=False, trust="lost"),
            ]
        )
    )
    await _roll(database, 2 * HOUR)
    await database.run(lambda uow: uow.node_samples.append_many([_node(30, connected=False, trust="lost")]))  # late
    await _roll(database, 2 * HOUR)
    for table in ("rolled_node_minutes", "rolled_node_hours"):
        [row] = await _rows(database, table)
        told = ("covered_seconds", "connected_seconds", "cordoned_seconds", "device_seconds", "placed_device_seconds")
        assert [row[name] for name in told] == [40.0, 20.0, 10.0, 160.0, 60.0]
        assert (bool(row["connected"]), row["trust"], row["devices_count"]) == (False, "lost", None)


async def test_requests_are_counted_by_tenant_and_their_latencies_by_bucket(database: Database) -> None:
    rows = [_request(number, number / 4, ttft_seconds=number / 100) for number in range(1, 101)]
    rows += [_request(200, 3, tenant="other", outcome=RequestOutcome.FAILED, prompt_tokens=None, queue_seconds=0.0)]
    rows += [_request(201, 90, ttft_seconds=10_000.0, prompt_tokens=2**62)]
    await database.run(lambda uow: uow.request_records.append_many(rows))
    await _roll(database, 2 * HOUR)
    acme, acme_later, other = await _rows(database, "rolled_request_minutes")
    assert (acme["requests_count"], acme["completed_count"], acme["failed_count"]) == (100, 100, 0)
    assert (acme["prompt_tokens"], acme["output_tokens"], acme["cached_tokens"]) == (1000, 500, None)
    assert acme["ttft_seconds_sum"] == pytest.approx(50.5)
    assert (acme["ttft_count"], acme["queue_count"], acme["queue_seconds_p50"]) == (100, 0, None)
    for quantile, exact in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        assert acme[f"ttft_seconds_{quantile}"] == pytest.approx(exact, rel=0.2)
    assert (other["failed_count"], other["prompt_tokens"], other["queue_seconds_p50"]) == (1, None, BOUNDS[0] / 2)
    assert (acme_later["prompt_tokens"], acme_later["ttft_seconds_p99"]) == (None, BOUNDS[-1])
    hour, _ = await _rows(database, "rolled_request_hours")
    assert (hour["requests_count"], hour["ttft_count"]) == (101, 101)
    assert hour["ttft_seconds_p50"] == pytest.approx(0.505, rel=0.2)
    counts = await _rows(database, "rolled_latency_hours")
    assert sum(row["requests_count"] for row in counts if row["measure"] == "ttft_seconds") == 101
    buckets = await _rows(database, "latency_buckets", "1")
    assert [row["to_seconds"] for row in buckets] == [*BOUNDS, None]
    assert [row["from_seconds"] for row in buckets] == [0.0, *BOUNDS]


async def test_a_request_that_comes_late_lands_in_its_minute_and_its_hour(database: Database) -> None:
    await database.run(lambda uow: uow.request_records.append_many([_request(1, 0), _request(2, 4000)]))
    await _roll(database, 3 * HOUR)
    late = [_request(3, 30, ttft_seconds=1.0), _request(1, 0)]  # one was told before
    await database.run(lambda uow: uow.request_records.append_many(late))
    await _roll(database, 3 * HOUR)
    assert [row["requests_count"] for row in await _rows(database, "rolled_request_minutes")] == [2, 1]
    assert [row["requests_count"] for row in await _rows(database, "rolled_request_hours")] == [2, 1]


async def test_a_minute_that_is_not_over_waits(database: Database) -> None:
    await database.run(lambda uow: uow.request_records.append_many([_request(1, 10)]))
    await database.run(lambda uow: uow.samples.append_many([sample(10)]))
    await _roll(database, 74)
    assert await _rows(database, "rolled_request_minutes") == []
    assert await _rows(database, "rolled_engine_minutes", "1, 2") == []
    await _roll(database, 75)
    assert len(await _rows(database, "rolled_request_minutes")) == 1
    assert len(await _rows(database, "rolled_engine_minutes", "1, 2")) == 1


async def test_the_recompute_bill_stands_beside_the_requests_whoever_comes_first(database: Database) -> None:
    await database.run(lambda uow: uow.request_records.append_many([_request(1, 5)]))
    await database.run(
        lambda uow: uow.recompute_samples.append_many(
            [
                *(_bill(10, 100, flops_total=1e9), _bill(70, 130, flops_total=2e9)),
                *(_bill(70, 7, tenant="quiet"), _bill(80, 4, instance_id="i2")),
            ]
        )
    )
    await _roll(database, 2 * HOUR)
    await database.run(lambda uow: uow.request_records.append_many([_request(2, 65)]))  # after the bill
    await database.run(lambda uow: uow.recompute_samples.append_many([_bill(20, 110, flops_total=1.5e9)]))  # late
    await _roll(database, 2 * HOUR)

    def told(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["tenant"], row["requests_count"], row["recompute_tokens"], row["recompute_flops"]

    minutes = [told(row) for row in await _rows(database, "rolled_request_minutes")]
    assert minutes == [("acme", 1, 110, 1.5e9), ("acme", 1, 24, 0.5e9), ("quiet", 0, 7, None)]
    hours = [told(row) for row in await _rows(database, "rolled_request_hours")]
    assert hours == [("acme", 2, 134, 2e9), ("quiet", 0, 7, None)]


async def test_readings_that_no_engine_can_have_stop_nothing(database: Database) -> None:
    huge = {"prompt_tokens_total": 2**63 - 1, "kv_used_tokens": 2**63 - 1, "flops_total": 1.7e308}
    await database.run(
        lambda uow: uow.samples.append_many(
            [sample(second, instance_id=f"i{second}", **huge, steps_total=3) for second in range(6)]
        )
    )
    await _roll(database, 2 * HOUR)
    [row] = await _rows(database, "rolled_engine_hours", "1, 2")
    assert (row["prompt_tokens"], row["flops"], row["steps_count"], row["processes_count"]) == (None, None, 18, 6)


async def test_positions_tell_how_far_each_kind_is(database: Database) -> None:
    await database.run(lambda uow: uow.samples.append_many([sample(0)]))
    await _roll(database, 2 * HOUR + 100)
    done: dict[str, datetime] = {
        kind: position.done_until
        for kind, position in (await database.run(lambda uow: uow.rollups.positions())).items()
    }
    assert done["engine_minutes"] == done["request_minutes"] == done["device_minutes"] == at(2 * HOUR + 60)
    assert done["engine_hours"] == done["request_hours"] == done["node_hours"] == at(2 * HOUR)
