"""A small history with known figures, written straight into the tables that the views read.

Two engines of one model: `llama@gcp-1` on a node with one device, busy half the time, and `llama@aws-1` on a node with two, of
which one stands empty. At 14:05 the one at gcp is full and then drained.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import insert

from controlplane.clock import SystemClock
from controlplane.fleet.history import AuditEntry
from controlplane.fleet.leases import Lease
from controlplane.fleet.node_records import RequestOutcome, RequestRecord, RequestRow
from controlplane.fleet.observed import Severity
from controlplane.storage import tables
from controlplane.storage.unit_of_work import UnitOfWork
from tests.contract.storage.facts import T0, at, event, node, placement, sample

GCP = {"engine_id": "llama@gcp-1", "node": "gcp-1", "provider": "gcp", "region": "europe-west4", "model": "meta/llama"}
AWS = {"engine_id": "llama@aws-1", "node": "aws-1", "provider": "aws", "region": "us-east-1", "model": "meta/llama"}
_PLACE = ("node", "provider", "region")


def fill(uow: UnitOfWork) -> None:
    """All of it, in the transaction of `uow`."""
    _engines(uow)
    _devices(uow)
    _requests(uow)
    _what_happened(uow)
    uow.nodes.put(node())
    uow.placements.put(placement())
    readings = {"kv_capacity_tokens": 100, "kv_used_tokens": 30, "running_count": 2, "waiting_count": 0}
    uow.samples.append_many(
        [sample(10 * n, generation_tokens_total=20 * n, preemptions_total=0, **readings) for n in (1, 2)]
    )


def _insert(uow: UnitOfWork, table: str, *rows: dict[str, Any]) -> None:
    for row in rows:
        uow.samples._connection.execute(insert(tables.metadata.tables[table]).values(**row))


def _engines(uow: UnitOfWork) -> None:
    shared = {"state": "ready", "samples_count": 6, "processes_count": 1, "kv_capacity_tokens": 1000}
    worked = {"steps_count": 10, "prefix_query_tokens": 100, "flops": 6e12, "bytes": 2e12}
    hour = {**shared, **worked, "covered_seconds": 3600.0, "ready_seconds": 3600.0, "hour_at": T0}
    _insert(
        uow,
        "rolled_engine_hours",
        {**GCP, **hour, "device_seconds": 3600.0, "prompt_tokens": 1500, "generation_tokens": 500, "step_tokens": 80,
         "prefix_hit_tokens": 25, "busy_seconds": 1800.0, "kv_used_ratio_max": 0.95, "kv_headroom_tokens_min": 200,
         "preemptions_count": 3},
        {**AWS, **hour, "device_seconds": 3600.0, "prompt_tokens": 6000, "generation_tokens": 2000, "step_tokens": 40,
         "prefix_hit_tokens": 0, "busy_seconds": 900.0, "kv_used_ratio_max": 0.5, "kv_headroom_tokens_min": 0,
         "preemptions_count": 0},
    )  # fmt: skip
    minute = {**shared, "covered_seconds": 60.0, "device_seconds": 60.0}
    for number, ready, ratio, waiting in (
        (4, 60.0, 0.5, 0),
        (5, 45.0, 0.95, 3),
        (6, 0.0, None, None),
        (7, 60.0, 0.2, 0),
    ):
        kv = {"kv_used_ratio_max": ratio, "waiting_count_max": waiting, "preemptions_count": 3 if waiting else 0}
        _insert(
            uow, "rolled_engine_minutes", {**GCP, **minute, "minute_at": at(60 * number), "ready_seconds": ready, **kv}
        )


def _devices(uow: UnitOfWork) -> None:
    shared = {"device_kind": "H100", "samples_count": 360, "hour_at": T0, "covered_seconds": 3600.0}
    empty = {"placed_seconds": 0.0, "serving_seconds": 0.0, "engine_id": "", "model": ""}
    placed = {"placed_seconds": 3600.0, "serving_seconds": 3600.0}
    held = {
        name: {key: engine[key] for key in (*_PLACE, "engine_id", "model")}
        for name, engine in (("gcp", GCP), ("aws", AWS))
    }
    _insert(
        uow,
        "rolled_device_hours",
        {**held["gcp"], **shared, **placed, "device_id": "0", "busy_seconds": 1800.0, "energy_joules": 1.8e6},
        {**held["aws"], **shared, **placed, "device_id": "0", "busy_seconds": 900.0, "energy_joules": 0.9e6,
         "throttled_seconds": 60.0, "temperature_celsius_max": 92.0, "faults_count_max": 1},
        {**held["aws"], **shared, **empty, "device_id": "1", "busy_seconds": None, "energy_joules": 0.9e6},
    )  # fmt: skip
    for engine, devices, connected in ((GCP, 1, 3600.0), (AWS, 2, 2700.0)):
        _insert(
            uow,
            "rolled_node_hours",
            {**{key: engine[key] for key in _PLACE}, "hour_at": T0, "trust": "fresh", "agent_version": "1", "connected": True,
             "cordoned": False, "simulated": False, "samples_count": 360, "covered_seconds": 3600.0,
             "connected_seconds": connected, "device_seconds": 3600.0 * devices, "placed_device_seconds": 3600.0},
        )  # fmt: skip
    now = SystemClock().now()
    lease = Lease("l1", "gcp", "H100", 1, at(-86400), now + timedelta(days=10), at(0), "operator:ann")
    for changes in (
        {"price_per_device_hour": 2.0, "currency": "USD"},
        {"lease_id": "l2", "provider": "aws", "ends_at": now + timedelta(days=100), "price_per_device_hour": 3.0,
         "currency": "EUR"},
        {"lease_id": "l3", "ends_at": T0, "starts_at": at(-172800)},
    ):  # fmt: skip
        uow.leases.put(_changed(lease, changes))


def _changed(lease: Lease, changes: dict[str, Any]) -> Lease:
    return Lease(**{**{name: getattr(lease, name) for name in Lease.__slots__}, **changes})


def _requests(uow: UnitOfWork) -> None:
    none = dict.fromkeys(("aborted_count", "refused_count", "failed_count", "unknown_count"), 0)
    acme = {**GCP, **none, "tenant": "acme", "requests_count": 10, "completed_count": 10}
    beta = {**GCP, **none, "tenant": "beta", "requests_count": 2, "completed_count": 1, "aborted_count": 1}
    far = {**AWS, **none, "tenant": "acme", "requests_count": 10, "completed_count": 10}
    tokens = {"prompt_tokens": 1000, "cached_tokens": 250, "output_tokens": 100}
    times = {
        "queue_seconds_sum": 5.0,
        "queue_count": 10,
        "ttft_seconds_sum": 2.0,
        "ttft_count": 10,
        "inter_token_count": 10,
    }
    bill = {"recompute_tokens": 100, "recompute_seconds": 36.0}
    _insert(
        uow,
        "rolled_request_hours",
        {**acme, **tokens, **times, **bill, "hour_at": T0, "inter_token_seconds_sum": 4.0},
        {**beta, "hour_at": T0, "prompt_tokens": 500, "cached_tokens": 0, "output_tokens": 10},
        {**far, **tokens, **times, "hour_at": T0, "inter_token_seconds_sum": 0.4},
    )
    for row, prompt in ((acme, 1000), (beta, 9000)):
        _insert(
            uow, "rolled_request_minutes", {**row, "minute_at": at(300), "prompt_tokens": prompt, "output_tokens": 10}
        )
    for row, bucket, count in ((acme, 40, 99), (far, 40, 100), (acme, 50, 1), (far, 50, 2)):
        key = {name: row[name] for name in ("engine_id", "tenant", "model")}
        counted = {"hour_at": T0, "measure": "ttft_seconds", "bucket": bucket, "requests_count": count}
        _insert(uow, "rolled_latency_hours", {**key, **counted})
    zero = dict.fromkeys(
        ("offered_count", "admitted_count", "refused_count", "left_count", "completed_count", "failed_count"), 0
    )
    for boot, counts in (
        ("b1", {"offered_count": 8, "admitted_count": 6, "left_count": 1, "completed_count": 5, "failed_count": 1}),
        ("b2", {"offered_count": 2, "refused_count": 2, "reason": "no_capacity"}),
    ):
        key = {"minute_at": at(300), "boot_id": boot, "tenant": "acme", "model": "meta/llama", "reason": ""}
        _insert(uow, "admission_counts", {**key, **zero, **counts})
    for number, seconds in ((1, 2), (2, 20)):
        told = RequestRecord(
            f"r{number}", GCP["engine_id"], "i1", GCP["model"], "acme", at(60), at(60 + seconds), RequestOutcome.COMPLETED, 200,
            prompt_tokens=100, cached_tokens=25, output_tokens=10, queue_seconds=0.5, ttft_seconds=1.5,
        )  # fmt: skip
        uow.request_records.append_many([RequestRow("gcp-1", "s1", number, "gcp", "europe-west4", told)])


def _what_happened(uow: UnitOfWork) -> None:
    about = {"node": "gcp-1", "engine_id": "llama@gcp-1", "model": "meta/llama", "actor": "agent:gcp-1"}
    uow.events.append(
        [
            event(305, event_id=1, kind="engine_draining", message="llama@gcp-1 is draining", **about),
            event(330, event_id=2, kind="engine_starting", message="starting", **about),
            event(340, event_id=3, kind="engine_backing_off", message="died", severity=Severity.WARNING, **about),
            event(350, event_id=4, kind="engine_starting", message="starting", **about),
            event(420, event_id=5, kind="engine_ready", message="llama@gcp-1 is ready", **about),
            event(430, event_id=6, kind="job_failed", message="a job failed", severity=Severity.ERROR),
        ]
    )
    drain = AuditEntry(
        at(304), "operator:ann", "drain", "llama@gcp-1", "", "1 changed", "10.0.0.9", "llama@gcp-1 drains"
    )
    uow.audit.append(drain)
