"""What changed of an engine's resident prefixes, on its way to the wire. Called by `codec` only; never raises."""

from controlplane.proto.stoker.v1 import agent_pb2
from node_agent.link.codec_values import text
from node_agent.session.inside import ResidencyUpdate, ResidencyWanted


def residency_update_message(update: ResidencyUpdate) -> agent_pb2.ResidencyUpdate:
    return agent_pb2.ResidencyUpdate(
        engine_id=text(update.engine_id),
        instance_id=text(update.instance_id),
        version=update.version,
        whole=update.whole,
        added=update.added,
        removed=update.removed,
        checksum=update.checksum,
        chunks_count=update.chunks,
        base_version=update.base_version,
    )


def residency_wanted(message: agent_pb2.ResidencyWanted) -> ResidencyWanted:
    return ResidencyWanted(message.engine_id)
