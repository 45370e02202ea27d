"""Samples of devices and nodes, and tenants' recompute bills: written in bulk. People ask for them through the views."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from controlplane.fleet.history import DeviceSample, NodeSample, RecomputeSample
from controlplane.storage.repositories.bulk_rows import BulkRows
from controlplane.storage.rollups.marks import RECOMPUTE_MINUTES, mark_late
from controlplane.storage.tables import device_samples, node_samples, recompute_samples

_DEVICES = BulkRows(device_samples, DeviceSample)
_NODES = BulkRows(node_samples, NodeSample)
_BILLS = BulkRows(recompute_samples, RecomputeSample)


@dataclass(frozen=True, slots=True)
class ClockSeen:
    """A node's clock, as it was when the node was last known to be connected."""

    at: datetime  # by our clock
    error_seconds: float  # its clock minus ours


class DeviceSamples:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append_many(self, samples: Sequence[DeviceSample]) -> None:
        """Write samples; one that is there already (node, device and time) is left as it is."""
        _DEVICES.write(self._connection, samples)
        mark_late(self._connection, "device_minutes", [(each.node, each.sampled_at) for each in samples])


class NodeSamples:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append_many(self, samples: Sequence[NodeSample]) -> None:
        """Write samples; one that is there already (node and time) is left as it is."""
        _NODES.write(self._connection, samples)
        mark_late(self._connection, "node_minutes", [(each.node, each.sampled_at) for each in samples])

    def clock_last_seen(self, node: str) -> ClockSeen | None:
        """None: no sample tells."""
        table = node_samples.c
        told = select(table.sampled_at, table.clock_error_seconds).where(
            table.node == node, table.connected, table.clock_error_seconds.is_not(None)
        )
        row = self._connection.execute(told.order_by(table.sampled_at.desc()).limit(1)).first()
        return None if row is None else ClockSeen(row.sampled_at, row.clock_error_seconds)


class RecomputeSamples:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append_many(self, samples: Sequence[RecomputeSample]) -> None:
        """Write samples; one that is there already (process, tenant and time) is left as it is."""
        _BILLS.write(self._connection, samples)
        mark_late(self._connection, RECOMPUTE_MINUTES, [(each.engine_id, each.sampled_at) for each in samples])
