"""From the wire: what is not set is unknown, and what is not understood does no harm."""

from google.protobuf.timestamp_pb2 import Timestamp

from console.link import codec
from console.model.fleet_view import DesiredState, EngineState, Severity, Trust
from controlplane.proto.stoker.v1 import fleet_pb2, operator_pb2
from tests.fakes import fleet
from tests.fakes.operator_wire import update_to_wire, whole_update


def test_nothing_set_is_unknown_and_never_zero() -> None:
    row = codec.engine_from_wire(operator_pb2.Engine())
    optional = (
        row.kv_capacity_tokens,
        row.kv_used_tokens,
        row.running,
        row.waiting,
        row.working_point,
        row.last_report_at,
    )
    assert set(optional) == {None}
    assert (row.state, row.trust, row.kv_used_ratio, row.ridge_source) == (EngineState.UNKNOWN, Trust.UNKNOWN, None, "")
    assert codec.placement_from_wire(operator_pb2.Placement()).desired is DesiredState.UNKNOWN
    assert codec.event_from_wire(operator_pb2.Event()).severity is Severity.INFO
    assert codec.node_from_wire(operator_pb2.Node()).last_report_at is None


def test_zero_that_is_set_stays_zero() -> None:
    gauges = fleet_pb2.EngineGauges(kv_capacity_tokens=0, running_count=0)
    row = codec.engine_from_wire(operator_pb2.Engine(status=fleet_pb2.EngineStatus(gauges=gauges)))
    assert (row.kv_capacity_tokens, row.running, row.kv_used_ratio) == (0, 0, None)


def test_numbers_of_a_newer_release_become_unknown() -> None:
    newer = operator_pb2.Engine(trust=99, status=fleet_pb2.EngineStatus(state=99))  # type: ignore[arg-type]
    row = codec.engine_from_wire(newer)
    assert (row.trust, row.state) == (Trust.UNKNOWN, EngineState.UNKNOWN)


def test_a_moment_out_of_range_is_unknown() -> None:
    message = operator_pb2.Node(last_report_at=Timestamp(seconds=2**62))
    assert codec.node_from_wire(message).last_report_at is None


def test_every_sample_fleet_survives_the_wire() -> None:
    for view in (fleet.small(), fleet.mixed(), fleet.hostile(), fleet.unknown(), fleet.empty()):
        update = whole_update(view)
        assert codec.update_from_wire(update_to_wire(update)) == update
