"""What `stoker engine ID` says of an engine's memory, its inside and its recompute bill, as lines of name and value."""

from collections.abc import Iterator

from console.model import format as fmt
from console.model.fleet_view import EngineRow, FleetView
from console.model.hardware import headroom_of, memory_sums
from console.model.inside import BillRow, InsideRow, whole_bill
from console.model.ledgers import ledgers_of

USE_WORDS = {
    "weights": "weights",
    "kv_cache": "KV cache",
    "activations": "activations and graphs",
    "other": "others",
    "free": "free",
}


def memory_facts(engine: EngineRow, view: FleetView) -> Iterator[tuple[str, str]]:
    ledgers = ledgers_of(engine, view.nodes.get(engine.node))
    if not ledgers:
        yield "memory", fmt.UNKNOWN
        return
    sums = memory_sums(ledgers, engine.engine_id)
    devices = f"{sums.devices} devices" if sums.devices > 1 else "one device"
    yield "memory", f"{fmt.memory(sums.total_bytes)} on {devices}, {fmt.age(sums.measured_at, view.now)} old"
    for use, size in sums.bytes_by_use.items():
        yield "", f"{fmt.memory(size):>10}  {USE_WORDS[use]} ({fmt.text_or_unknown(sums.sources[use])})"
    found = headroom_of(ledgers, engine.engine_id)
    if found is not None:
        room, _ = found
        tokens, requests = fmt.tokens(room.tokens), fmt.quantity(room.requests_count)
        yield "KV headroom", f"{tokens} tokens, {requests} requests more ({fmt.text_or_unknown(room.source)})"


def inside_facts(engine: EngineRow, view: FleetView) -> Iterator[tuple[str, str]]:
    yield "inside", inside_text(engine.inside)
    if engine.inside is not None and engine.inside.measured_at is not None:
        yield "", f"told {fmt.age(engine.inside.measured_at, view.now)} ago"
    if engine.inside is not None and engine.inside.records_dropped_total:
        yield "records dropped", fmt.quantity(engine.inside.records_dropped_total)
    if engine.residency is not None:
        complete = "" if engine.residency.complete else ", incomplete: events were lost"
        yield (
            "prefixes",
            f"{fmt.quantity(engine.residency.chunks_count)} chunks resident{complete}, {agreement(engine)}",
        )
    if engine.adapters:
        yield "adapters", ", ".join(engine.adapters)
    whole = whole_bill(engine.recompute)
    yield "recomputed", bill_text(whole) if whole is not None else fmt.UNKNOWN
    for bill in engine.recompute:
        yield "", f"{bill.tenant or '(other tenants)'}: {bill_text(bill)}"


def inside_text(inside: InsideRow | None) -> str:
    """ "active, plug-in 0.1.0"; "degraded: …"."""
    if inside is None:
        return "nothing listens inside this engine"
    version = f", plug-in {inside.plugin_version}" if inside.plugin_version else ""
    return f"{inside.state.value}{version}" + (f": {inside.note}" if inside.note else "")


def agreement(engine: EngineRow) -> str:
    """Whether routing knows what the engine holds."""
    if engine.residency_agrees is None:
        return "the control plane's own copy is unknown"
    held = fmt.quantity(engine.residency_held_chunks_count)
    return f"the control plane knows {held} of them" + ("" if engine.residency_agrees else ", and they differ")


def bill_text(bill: BillRow) -> str:
    """ "12.0k tokens, 3.4 TFLOP, 1.2 s (measured)"."""
    flops = fmt.flops(bill.flops_total)
    source = f" ({bill.seconds_source})" if bill.seconds_source and bill.seconds_total is not None else ""
    return f"{fmt.quantity(bill.tokens_total)} tokens, {flops}, {fmt.seconds(bill.seconds_total)}{source}"
