"""Keys and the daemon's own description, to the wire. Called by `rpc.operator_service`."""

from controlplane.fleet.access import ApiKey
from controlplane.proto.stoker.v1 import operator_pb2
from controlplane.rpc.timestamps import to_wire
from controlplane.services.describe_server import ServerDescription


def key_to_wire(key: ApiKey) -> operator_pb2.Key:
    return operator_pb2.Key(
        key_id=key.key_id,
        tenant=key.tenant,
        note=key.note,
        created_at=to_wire(key.created_at),
        expires_at=to_wire(key.expires_at),
        revoked_at=to_wire(key.revoked_at),
        created_by=key.created_by,
    )


def server_to_wire(server: ServerDescription) -> operator_pb2.Server:
    return operator_pb2.Server(
        boot_id=server.boot_id,
        version=server.version,
        leader_epoch=server.leader_epoch,
        started_at=to_wire(server.started_at),
        database=server.database,
        gateway_address=server.gateway_address,
        gateway_state=server.gateway_state,
        caller_name=server.caller_name,
        caller_role=server.caller_role,
        samples_waiting_count=server.health.samples_waiting_count,
        samples_dropped_total=server.health.samples_dropped_total,
        fresh_seconds=server.fresh_seconds,
        stale_seconds=server.stale_seconds,
        lost_seconds=server.lost_seconds,
        database_away_since=to_wire(server.health.away_since),
        database_problem=server.health.problem,
        events_waiting_count=server.health.events_waiting_count,
        events_dropped_total=server.health.events_dropped_total,
    )
