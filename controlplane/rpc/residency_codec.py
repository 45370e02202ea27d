"""What agents tell of resident prefixes, from the wire to facts. Called by `rpc.agent_service`."""

from controlplane.proto.stoker.v1 import agent_pb2
from controlplane.rpc.bounded import text
from controlplane.runtime.agent_sessions import ResidencyWanted
from controlplane.runtime.prefix_index import ResidencyUpdate

HASHES_MAX = 500_000  # of one message; no engine's cache has more chunks of text


def update_from(update: agent_pb2.ResidencyUpdate) -> ResidencyUpdate | None:
    """None when no agent could mean it."""
    if not update.engine_id or len(update.added) + len(update.removed) > HASHES_MAX:
        return None
    return ResidencyUpdate(
        engine_id=text(update.engine_id, 320),
        instance_id=text(update.instance_id, 64),
        base_version=update.base_version,
        version=update.version,
        whole=update.whole,
        added=update.added,
        removed=update.removed,
        checksum=update.checksum,
        chunks=update.chunks_count,
    )


def wanted_to_wire(wanted: ResidencyWanted) -> agent_pb2.ResidencyWanted:
    return agent_pb2.ResidencyWanted(engine_id=wanted.engine_id)
