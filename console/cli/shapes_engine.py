"""The JSON of one engine: its row, with what its node knows of its memory and its roofs. Called by `stoker engine(s)`.

Every figure that is not simply told by the engine's own report says its source, when it was measured, and its age.
"""

from datetime import datetime, timedelta
from typing import Any

from console.cli.shapes import shape
from console.model.fleet_view import EngineRow, FleetView, NodeRow
from console.model.format import age_seconds
from console.model.hardware import MemoryLedgerRow, headroom_of
from console.model.inside import whole_bill
from console.model.ledgers import ceiling_of, ledgers_of


def engine_shape(engine: EngineRow, view: FleetView) -> dict[str, Any]:
    node = view.nodes.get(engine.node)
    ledgers = ledgers_of(engine, node)
    inside = shape(engine.inside)
    if engine.inside is not None:
        inside |= _aged(engine.inside.measured_at, node, view.now)
    return {
        **shape(engine),
        "kv_used_ratio": shape(engine.kv_used_ratio),
        "age_seconds": age_seconds(engine.last_report_at, view.now),
        "inside": inside,
        "intensity": _intensity(engine, node, view.now),
        "ridge": _ridge(engine, node, view.now),
        "memory": [_ledger(ledger, engine.engine_id, node, view.now) for ledger in ledgers],
        "kv_headroom": _headroom(ledgers, engine, node, view.now),
        "recompute": _bill(engine, node, view.now),
    }


def _aged(measured_at: datetime | None, node: NodeRow | None, now: datetime | None) -> dict[str, Any]:
    """Nodes' times are by their own clocks: their error is taken out of the age, as far as it is known."""
    error = node.clock_error_seconds if node is not None else None
    at = measured_at - timedelta(seconds=error) if measured_at is not None and error is not None else measured_at
    return {"measured_at": shape(measured_at), "age_seconds": age_seconds(at, now)}


def _intensity(engine: EngineRow, node: NodeRow | None, now: datetime | None) -> dict[str, Any] | None:
    point = engine.working_point
    if point is None or point.intensity_flops_per_byte is None:
        return None
    inside = engine.inside if point.source == "plugin" else None
    return {
        "flops_per_byte": shape(point.intensity_flops_per_byte),
        "source": point.source or None,
        "window_seconds": point.window_seconds,
        **_aged(inside.measured_at if inside is not None else engine.measured_at, node, now),
    }


def _ridge(engine: EngineRow, node: NodeRow | None, now: datetime | None) -> dict[str, Any] | None:
    if engine.ridge_flops_per_byte is None:
        return None
    ceiling = ceiling_of(engine, node)
    return {
        "flops_per_byte": shape(engine.ridge_flops_per_byte),
        "dtype": engine.dtype,
        "source": engine.ridge_source or None,
        **_aged(ceiling.measured_at if ceiling is not None else None, node, now),
    }


def _ledger(ledger: MemoryLedgerRow, engine_id: str, node: NodeRow | None, now: datetime | None) -> dict[str, Any]:
    told = shape(ledger)
    told["headroom"] = [room for room in told["headroom"] if room["engine_id"] == engine_id]
    return {**told, **_aged(ledger.measured_at, node, now)}


def _headroom(
    ledgers: tuple[MemoryLedgerRow, ...], engine: EngineRow, node: NodeRow | None, now: datetime | None
) -> dict[str, Any] | None:
    found = headroom_of(ledgers, engine.engine_id)
    if found is None:
        return None
    room, ledger = found
    told = {key: value for key, value in shape(room).items() if key != "engine_id"}
    return {**told, "device_id": ledger.device_id, **_aged(ledger.measured_at, node, now)}


def _bill(engine: EngineRow, node: NodeRow | None, now: datetime | None) -> dict[str, Any] | None:
    """Since the start of the engine's process."""
    whole = whole_bill(engine.recompute)
    if whole is None:
        return None
    return {
        "tokens_total": whole.tokens_total,
        "flops_total": shape(whole.flops_total),
        "seconds_total": shape(whole.seconds_total),
        "source": whole.seconds_source or None,
        **_aged(engine.measured_at, node, now),
        "tenants": [shape(bill) for bill in engine.recompute],
    }
