"""The quick encoding is the ordinary one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from controlplane.proto.stoker.v1 import agent_pb2
from node_agent.link.codec import agent_message
from node_agent.link.report_encoding import ReportEncoder
from node_agent.session.commands import Report
from node_agent.session.facts import Device, EngineCounters, EngineGauges, EngineState, EngineStatus, Histogram
from node_agent.session.inside import ModelShape

AT = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
ENGINE = EngineStatus(
    "e1",
    3,
    "i1",
    "m",
    EngineState.READY,
    AT,
    endpoint="127.0.0.1:1",
    served_paths=("/v1/completions",),
    gauges=EngineGauges(100, 0, 1, None),
    counters=EngineCounters(1, 2, flops=3.5, ttft_seconds=Histogram((0.1, 1.0), (1, 0, 2), 3.0)),
    measured_at=AT,
    shape=ModelShape(parameters=8, kv_bytes_per_token=131072.0),
)


def test_every_report_of_a_series_reads_as_if_encoded_anew() -> None:
    encoder = ReportEncoder()
    moved = replace(ENGINE, gauges=EngineGauges(100, 50, None, 7), measured_at=AT + timedelta(seconds=1))
    counted = replace(moved, counters=replace(ENGINE.counters, generation_tokens=9, inter_token_seconds=None))
    series = (
        Report(1, AT, (ENGINE,), (Device("cuda:0", "simulated H100", "cuda"),)),
        Report(2, AT + timedelta(seconds=1), (moved, replace(ENGINE, engine_id="e2"))),
        Report(3, AT, (counted,)),
        Report(4, AT, (replace(ENGINE, state=EngineState.FAILED, reason="x" * 300, measured_at=None),)),
        Report(5, AT, (replace(ENGINE, counters=EngineCounters(generation_tokens=-1)),)),
        Report(6, AT, ()),
    )
    for report in series:
        assert agent_pb2.AgentMessage.FromString(encoder.encode(report)) == agent_message(report)
