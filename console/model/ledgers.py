"""What a node knows of an engine's devices: their memory, and the roofs that make its ridge. Pure; screens and commands ask."""

from console.model.fleet_view import CeilingRow, EngineRow, NodeRow
from console.model.hardware import MemoryLedgerRow


def ledgers_of(engine: EngineRow, node: NodeRow | None) -> tuple[MemoryLedgerRow, ...]:
    """Those of the engine's devices, in their order. An engine that was given none by name is where it holds memory."""
    if node is None:
        return ()
    if not engine.device_ids:
        return tuple(
            ledger for ledger in node.memory if any(part.engine_id == engine.engine_id for part in ledger.portions)
        )
    known = {ledger.device_id: ledger for ledger in node.memory}
    return tuple(known[device_id] for device_id in engine.device_ids if device_id in known)


def ceiling_of(engine: EngineRow, node: NodeRow | None) -> CeilingRow | None:
    """What makes the engine's ridge: the roofs of its first device for its dtype."""
    devices = node.devices if node is not None else ()
    mine = [device for device in devices if not engine.device_ids or device.device_id in engine.device_ids]
    roofs = (ceiling for device in mine for ceiling in device.ceilings if ceiling.dtype == engine.dtype)
    return next((roof for roof in roofs if roof.flops_per_second is not None and roof.bytes_per_second), None)
