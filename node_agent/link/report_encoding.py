"""Reports as bytes, at little cost: what did not change since a node's last report is not encoded again.

Used by `shared_link`, where one process tells of thousands of engines every second. The bytes are those of the ordinary
`Report` message: in protobuf, two encodings of parts of a message, one behind the other, are an encoding of the whole.
"""

from dataclasses import replace
from datetime import UTC, datetime
from operator import attrgetter

from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.proto.stoker.v1 import agent_pb2, fleet_pb2
from node_agent.link.codec import agent_message
from node_agent.link.codec_engines import counters_message, engine_message, gauges_message, histogram_message
from node_agent.session.commands import Report
from node_agent.session.facts import EngineCounters, EngineGauges, EngineStatus, Histogram

_MOVING = ("gauges", "counters", "measured_at")
_still = attrgetter(*(name for name in EngineStatus.__dataclass_fields__ if name not in _MOVING))
_NO_COUNTERS = EngineCounters()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REPORT_TAG = (agent_pb2.AgentMessage.REPORT_FIELD_NUMBER << 3 | 2).to_bytes(1, "big")
_ENGINE_TAG = (agent_pb2.Report.ENGINES_FIELD_NUMBER << 3 | 2).to_bytes(1, "big")


class ReportEncoder:
    """One for each node."""

    def __init__(self) -> None:
        self._still: dict[str, tuple[object, bytes]] = {}  # engine id → what does not move, and its encoding
        self._histograms: dict[str, tuple[Histogram | None, Histogram | None, bytes]] = {}

    def encode(self, report: Report) -> bytes:
        """An AgentMessage that carries the report."""
        if report.devices or report.health or report.memory:
            head = agent_message(replace(report, engines=())).report
        else:
            head = agent_pb2.Report(sequence=report.sequence, sent_at=_quick_timestamp(report.sent_at))
        parts = [head.SerializeToString()]
        for engine in report.engines:
            body = self._still_part(engine) + self._moving_part(engine)
            parts += (_ENGINE_TAG, _varint(len(body)), body)
        body = b"".join(parts)
        return b"".join((_REPORT_TAG, _varint(len(body)), body))

    def _still_part(self, engine: EngineStatus) -> bytes:
        still = _still(engine)
        known = self._still.get(engine.engine_id)
        if known is None or known[0] != still:
            bare = replace(engine, gauges=EngineGauges(), counters=_NO_COUNTERS, measured_at=None)
            known = (still, engine_message(bare).SerializeToString())
            self._still[engine.engine_id] = known
        return known[1]

    def _moving_part(self, engine: EngineStatus) -> bytes:
        message = fleet_pb2.EngineStatus(
            gauges=gauges_message(engine.gauges),
            counters=_plain_counters(engine.counters),
            measured_at=None if engine.measured_at is None else _quick_timestamp(engine.measured_at),
        )
        return message.SerializeToString() + self._histogram_part(engine.engine_id, engine.counters)

    def _histogram_part(self, engine_id: str, counters: EngineCounters) -> bytes:
        first, second = counters.ttft_seconds, counters.inter_token_seconds
        known = self._histograms.get(engine_id)
        if known is None or known[0] is not first or known[1] is not second:
            told = fleet_pb2.EngineCounters(
                ttft_seconds=histogram_message(first), inter_token_seconds=histogram_message(second)
            )
            known = (first, second, fleet_pb2.EngineStatus(counters=told).SerializeToString())
            self._histograms[engine_id] = known
        return known[2]


def _plain_counters(counters: EngineCounters) -> fleet_pb2.EngineCounters:
    """Without the histograms. Values come from the engine model, so they fit; what does not is left out as elsewhere."""
    try:
        return fleet_pb2.EngineCounters(
            prompt_tokens_total=counters.prompt_tokens,
            generation_tokens_total=counters.generation_tokens,
            steps_total=counters.steps,
            step_tokens_total=counters.step_tokens,
            prefix_query_tokens_total=counters.prefix_query_tokens,
            prefix_hit_tokens_total=counters.prefix_hit_tokens,
            preemptions_total=counters.preemptions,
            requests_finished_total=counters.requests_finished,
            flops_total=counters.flops,
            bytes_total=counters.bytes,
        )
    except (ValueError, TypeError):
        return counters_message(replace(counters, ttft_seconds=None, inter_token_seconds=None))


def _quick_timestamp(at: datetime) -> Timestamp:
    since = at - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
