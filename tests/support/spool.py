"""Records and statuses with as little to say as possible."""

from datetime import UTC, datetime, timedelta
from typing import Any

from node_agent.session.facts import EngineCounters, EngineGauges, EngineState, EngineStatus, Histogram
from node_agent.session.records import EngineSample, RequestOutcome, RequestRecord

T0 = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)
HOUR = 3600.0


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def request(name: str = "r1", **changes: Any) -> RequestRecord:
    fields: dict[str, Any] = {
        "request_id": name,
        "engine_id": "llama@gcp-1",
        "instance_id": "i1",
        "model": "llama",
        "tenant": "acme",
        "started_at": at(0),
        "finished_at": at(1),
        "outcome": RequestOutcome.COMPLETED,
        "status_code": 200,
        "prompt_tokens": 10,
        "ttft_seconds": 0.25,
    }
    return RequestRecord(**{**fields, **changes})


def numbered(*numbers: int) -> list[tuple[int, RequestRecord]]:
    """Requests as a plug-in numbers them."""
    return [(number, request(f"r{number}")) for number in numbers]


def status(**changes: Any) -> EngineStatus:
    fields: dict[str, Any] = {
        "engine_id": "llama@gcp-1",
        "generation": 1,
        "instance_id": "i1",
        "model": "llama",
        "state": EngineState.READY,
        "state_since": at(-60),
        "gauges": EngineGauges(kv_capacity_tokens=1000, running=2),
        "counters": EngineCounters(prompt_tokens=7, flops=1e15, ttft_seconds=Histogram((0.1,), (3, 1), 0.9)),
    }
    return EngineStatus(**{**fields, **changes})


def sample(seconds: float = 0.0, **changes: Any) -> EngineSample:
    return EngineSample(at(seconds), status(**changes))
