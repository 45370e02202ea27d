"""Candidates for routing, good ones unless told otherwise."""

from typing import Any

from controlplane.fleet.observed import EngineState, Trust
from controlplane.policies.routing.candidates import Candidate


def candidate(engine_id: str = "e1", **changes: Any) -> Candidate:
    fields: dict[str, Any] = {
        "engine_id": engine_id,
        "model": "llama",
        "endpoint": "10.0.0.1:8000",
        "node": "gcp-1",
        "provider": "gcp",
        "region": "west",
        "state": EngineState.READY,
        "trust": Trust.FRESH,
        "age_seconds": 0.5,
        "wanted": True,
        "placed_model": "llama",
        "cordoned": False,
        "served_paths": ("/v1/chat/completions",),
        "running": 0,
        "waiting": 0,
        "working_point": None,
    }
    return Candidate(**{**fields, **changes})
