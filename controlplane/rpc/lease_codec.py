"""Leases to and from the wire. Called by `rpc.operator_service`."""

from controlplane.fleet.leases import Lease
from controlplane.proto.stoker.v1 import operator_pb2
from controlplane.rpc.timestamps import from_wire, to_wire
from controlplane.services.keep_leases import LeaseOrder


def lease_to_wire(lease: Lease) -> operator_pb2.Lease:
    return operator_pb2.Lease(
        lease_id=lease.lease_id,
        provider=lease.provider,
        region=lease.region,
        device_kind=lease.device_kind,
        devices_count=lease.devices_count,
        starts_at=to_wire(lease.starts_at),
        ends_at=to_wire(lease.ends_at),
        price_per_device_hour=lease.price_per_device_hour,
        currency=lease.currency,
        note=lease.note,
        created_at=to_wire(lease.created_at),
        created_by=lease.created_by,
        nodes=lease.nodes,
    )


def order_from_wire(message: operator_pb2.Lease) -> LeaseOrder:
    return LeaseOrder(
        lease_id=message.lease_id,
        provider=message.provider,
        region=message.region,
        device_kind=message.device_kind,
        devices_count=message.devices_count,
        starts_at=from_wire(message, "starts_at"),
        ends_at=from_wire(message, "ends_at"),
        price_per_device_hour=message.price_per_device_hour if message.HasField("price_per_device_hour") else None,
        currency=message.currency,
        note=message.note,
        nodes=tuple(message.nodes),
    )
