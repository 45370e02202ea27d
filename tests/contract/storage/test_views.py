"""What the views compute: quotients that are NULL where nothing is known, ages, shares and costs, on both databases."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, text

from controlplane.clock import SystemClock
from controlplane.fleet.observed import EngineState
from controlplane.storage import tables
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork
from controlplane.storage.views import VIEWS
from tests.contract.storage.facts import T0, at, node, placement
from tests.contract.storage.history_rows import AWS, GCP, fill


async def _look(database: Database, sql: str) -> list[dict[str, Any]]:
    def look(uow: UnitOfWork) -> list[dict[str, Any]]:
        return [dict(row) for row in uow.samples._connection.execute(text(sql)).mappings()]

    return await database.read(look)


async def _put(database: Database, table: str, *rows: dict[str, Any]) -> None:
    def put(uow: UnitOfWork) -> None:
        for row in rows:
            uow.samples._connection.execute(insert(tables.metadata.tables[table]).values(**row))

    await database.run(put)


def test_no_view_is_called_as_a_table_is() -> None:
    names = [view.name for view in VIEWS]
    assert len(set(names)) == len(names)
    assert not set(names) & set(tables.metadata.tables)
    promised = (
        "fleet_now engine_minutes engine_hours node_hours request_minutes gpu_hours_by_provider kv_pressure_minutes "
        "recompute_bill_hours capacity_events lease_calendar admission_minutes audit_trail"
    )
    assert set(promised.split()) <= set(names)


async def test_the_fleet_now_is_what_is_told_beside_what_is_wanted(database: Database) -> None:
    now = SystemClock().now()
    told = {
        "node": "gcp-1",
        "model": "meta/llama",
        "generation": 1,
        "instance_id": "i1",
        "state": EngineState.READY,
        "endpoint": "",
        "served_paths": [],
        "dtype": "bfloat16",
        "kv_capacity_tokens": 1000,
        "kv_used_tokens": 250,
        "last_report_at": now - timedelta(seconds=30),
        "provider": "gcp",
        "region": "europe-west4",
    }
    await _put(
        database,
        "engine_summaries",
        {**told, "engine_id": "llama@gcp-1"},
        {**told, "engine_id": "stray@gcp-1", "kv_capacity_tokens": None, "last_report_at": now + timedelta(hours=1)},
    )

    def want(uow: UnitOfWork) -> None:
        uow.nodes.put(node(cordoned=True, cordon_reason="moving"))
        uow.placements.put(placement())
        uow.placements.put(placement("new@gcp-1"))

    await database.run(want)
    new, llama, stray = sorted(
        await _look(database, "SELECT * FROM fleet_now"), key=lambda row: str(row["state"]) + row["engine_id"]
    )
    assert (new["engine_id"], new["state"], new["desired_state"], new["age_seconds"]) == (
        "new@gcp-1",
        None,
        "running",
        None,
    )
    assert (new["node"], new["provider"], new["model"]) == ("gcp-1", "gcp", "meta/llama")
    assert (llama["engine_id"], llama["state"], llama["kv_used_ratio"]) == ("llama@gcp-1", "ready", 0.25)
    assert 30 <= float(llama["age_seconds"]) < 300
    assert (bool(llama["node_cordoned"]), llama["node_cordon_reason"], llama["node_simulated_by"]) == (
        True,
        "moving",
        "",
    )
    assert (stray["desired_state"], stray["kv_used_ratio"], float(stray["age_seconds"])) == (None, None, 0)


async def test_quotients_are_null_where_nothing_is_known_or_happened(database: Database) -> None:
    shared = {**GCP, "state": "ready", "samples_count": 6, "processes_count": 1}
    await _put(
        database,
        "rolled_engine_minutes",
        {**shared, "minute_at": T0, "covered_seconds": 60.0, "steps_count": 0, "step_tokens": 0, "busy_seconds": 15.0},
        {**shared, "minute_at": at(60), "prompt_tokens": 7, "inside_steps_count": 4, "inside_running_count": 6},
    )
    first, second = await _look(database, "SELECT * FROM engine_minutes ORDER BY minute_at")
    assert (first["batch_tokens_per_step"], first["busy_ratio"], first["prompt_tokens"]) == (None, 0.25, None)
    assert (second["batch_requests_per_step"], second["busy_ratio"], second["prompt_tokens"]) == (1.5, None, 7)
    assert second["prefix_hit_ratio"] is None


async def test_pressure_is_any_of_three_and_says_which(database: Database) -> None:
    minute = {**GCP, "state": "ready", "samples_count": 6, "processes_count": 1}
    figures: list[dict[str, Any]] = [
        {"kv_used_ratio_max": 0.9, "waiting_count_max": 0},
        {"kv_used_ratio_max": 0.89, "waiting_count_max": 1},
        {"kv_used_ratio_max": None, "preemptions_count": 2},
        {"kv_used_ratio_max": 0.5, "waiting_count_max": 0, "preemptions_count": 0},
        {},
    ]
    rows = [{**minute, **each, "minute_at": at(60 * place)} for place, each in enumerate(figures)]
    await _put(database, "rolled_engine_minutes", *rows)
    found = await _look(database, "SELECT * FROM kv_pressure_minutes ORDER BY minute_at")
    assert [(row["kv_full"], row["requests_waited"], row["requests_preempted"]) for row in found] == [
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
    ]


async def test_device_hours_whose_work_is_not_known_are_neither_busy_nor_wasted(database: Database) -> None:
    hour = {"hour_at": T0, "device_kind": "H100", "samples_count": 1, "covered_seconds": 3600.0}
    place = {name: AWS[name] for name in ("node", "provider", "region", "engine_id", "model")}
    await _put(
        database,
        "rolled_device_hours",
        {**place, **hour, "device_id": "0", "placed_seconds": 3600.0, "busy_seconds": None},
        {**place, **hour, "device_id": "1", "placed_seconds": 1800.0, "busy_seconds": 900.0},
    )
    (found,) = await _look(database, "SELECT * FROM gpu_hours_by_provider")
    hours = [found[f"{name}_device_hours"] for name in ("covered", "placed", "busy", "wasted", "unknown")]
    assert [float(each) for each in hours] == [2, 1.5, 0.25, 0.75, 1]
    assert (found["wasted_ratio"], found["price_per_device_hour"], found["cost"]) == (0.75, None, None)


async def test_leases_of_two_currencies_have_no_mean_price(database: Database) -> None:
    await database.run(fill)
    (before,) = await _look(
        database, "SELECT price_per_device_hour, currency FROM gpu_hours_by_provider WHERE provider = 'gcp'"
    )
    assert before == {"price_per_device_hour": 2, "currency": "USD"}
    await database.run(
        lambda uow: uow.samples._connection.execute(text("UPDATE leases SET provider = 'gcp' WHERE lease_id = 'l2'"))
    )
    (after,) = await _look(database, "SELECT cost, currency FROM gpu_hours_by_provider WHERE provider = 'gcp'")
    assert after == {"cost": None, "currency": None}


async def test_the_calendar_tells_what_is_left(database: Database) -> None:
    await database.run(fill)
    running, ended = await _look(
        database, "SELECT * FROM lease_calendar WHERE lease_id IN ('l1', 'l3') ORDER BY lease_id"
    )
    assert (running["state"], ended["state"], ended["days_left"], ended["device_hours_left"]) == (
        "running",
        "ended",
        0,
        0,
    )
    assert 9.9 < float(running["days_left"]) < 10.01
    assert float(running["cost_left"]) == pytest.approx(float(running["days_left"]) * 24 * 2, rel=1e-3)
    assert (float(ended["device_hours"]), ended["cost"], ended["nodes"]) == (48, None, "[]")


async def test_admission_adds_up_over_daemons(database: Database) -> None:
    await database.run(fill)
    (minute,) = await _look(database, "SELECT * FROM admission_minutes")
    counts = [minute[f"{name}_count"] for name in ("offered", "admitted", "refused", "left", "waiting", "failed")]
    assert counts == [10, 6, 2, 1, 1, 1]
    (refused,) = await _look(database, "SELECT * FROM refusal_minutes")
    assert (refused["reason"], refused["refused_count"]) == ("no_capacity", 2)


async def test_capacity_events_leave_out_what_is_no_capacity(database: Database) -> None:
    await database.run(fill)
    found = await _look(database, "SELECT kind FROM capacity_events ORDER BY event_id")
    assert "job_failed" not in {row["kind"] for row in found}
    assert len(found) == 5
