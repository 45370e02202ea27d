"""Where a simulated node's memory is, and what its engines computed twice: as a real agent tells it, marked as assumed.

Called by `node` and `engine_process`. Pure. The ledger is the very one of real devices; only its readings are made up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from controlplane.simulation.engine_model import EngineModel
from controlplane.simulation.recomputed import Recomputed, RecomputedSum
from node_agent.hardware.engine_memory import EngineOnDevices
from node_agent.hardware.ledger import build_ledgers
from node_agent.hardware.readings import DeviceReading
from node_agent.inside.recompute import BILLS_MAX
from node_agent.session.facts import Device
from node_agent.session.hardware import DeviceHealth, MemoryLedger
from node_agent.session.inside import ModelShape, RecomputeBill
from node_agent.session.values import Source


@dataclass(frozen=True, slots=True)
class Holder:
    """An engine that serves, and so holds memory."""

    engine_id: str
    device_ids: tuple[str, ...]
    model: EngineModel
    facts: ModelShape
    request_tokens_mean: float | None  # None: too few requests to say


def ledgers_of(devices: Sequence[Device], holders: Sequence[Holder], at: datetime) -> tuple[MemoryLedger, ...]:
    """One for each device. Nothing beside the engines holds memory."""
    engines = [
        EngineOnDevices(
            engine_id=holder.engine_id,
            device_ids=holder.device_ids,
            pids=(number,),
            shape=holder.facts,
            request_tokens_mean=holder.request_tokens_mean,
        )
        for number, holder in enumerate(holders)
    ]
    readings = [_reading(device, holders, at) for device in devices]
    return tuple(_assumed(ledger) for ledger in build_ledgers(readings, engines))


def bills_of(recomputed: Recomputed) -> tuple[RecomputeBill, ...]:
    """One for each of the largest tenants, largest first, and one with tenant "" for all the rest."""
    by_tenant = recomputed.by_tenant
    named = sorted((tenant for tenant in by_tenant if tenant), key=lambda tenant: (-by_tenant[tenant].tokens, tenant))
    bills = [_bill(tenant, [by_tenant[tenant]]) for tenant in named[: BILLS_MAX - 1]]
    rest = [by_tenant[tenant] for tenant in ("", *named[BILLS_MAX - 1 :]) if tenant in by_tenant]
    return (*bills, _bill("", rest)) if rest else tuple(bills)


def _bill(tenant: str, sums: Sequence[RecomputedSum]) -> RecomputeBill:
    return RecomputeBill(
        tenant,
        sum(each.tokens for each in sums),
        sum(each.flops for each in sums),
        sum(each.seconds for each in sums),
        Source.ASSUMED,
    )


def _reading(device: Device, holders: Sequence[Holder], at: datetime) -> DeviceReading:
    held = {
        number: _held_bytes(holder) for number, holder in enumerate(holders) if device.device_id in holder.device_ids
    }
    used = min(sum(held.values()), device.memory_bytes or 0)
    return DeviceReading(device, DeviceHealth(device.device_id, at, memory_used_bytes=used), memory_by_pid=held)


def _held_bytes(holder: Holder) -> int:
    """On each of its devices."""
    model, devices = holder.model, len(holder.device_ids)
    kv_tokens = model.kv_blocks_count * model.limits.block_tokens
    return int((model.shape.weights_bytes + kv_tokens * model.kv_bytes_per_token) / devices + model.activations_bytes)


def _assumed(ledger: MemoryLedger) -> MemoryLedger:
    return replace(
        ledger,
        portions=tuple(replace(portion, source=Source.ASSUMED) for portion in ledger.portions),
        headroom=tuple(replace(room, source=Source.ASSUMED) for room in ledger.headroom),
    )
