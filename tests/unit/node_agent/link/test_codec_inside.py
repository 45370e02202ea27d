"""What is known from inside an engine, on its way to the wire."""

from dataclasses import fields, replace
from datetime import UTC, datetime

from controlplane.proto.stoker.v1 import fleet_pb2
from node_agent.link.codec_engines import engine_message
from node_agent.link.codec_inside import TENANTS_MAX, inside_message
from node_agent.session.facts import EngineState, EngineStatus
from node_agent.session.inside import (
    EngineInside,
    InsideState,
    ModelShape,
    RecomputeBill,
    ResidencySummary,
    StepTotals,
)
from node_agent.session.values import Source

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
BARE = EngineStatus("a@n", 3, "", "tiny", EngineState.READY, NOW)
STEPS = StepTotals(*range(1, 1 + len(fields(StepTotals))))


def told(**inside: object) -> fleet_pb2.EngineStatus:
    wire = engine_message(replace(BARE, **inside)).SerializeToString()  # type: ignore[arg-type]
    return fleet_pb2.EngineStatus.FromString(wire)


def test_an_engine_that_tells_nothing_from_inside_leaves_it_all_unset() -> None:
    message = told()
    assert not any(message.HasField(name) for name in ("shape", "inside", "residency"))
    assert (list(message.recompute), list(message.adapters)) == ([], [])
    assert told(shape=ModelShape()).shape.ListFields() == []


def test_each_figure_of_the_shape_and_the_steps_has_its_own_field() -> None:
    shape = ModelShape(*range(1, 1 + len(fields(ModelShape))))
    assert [value for _, value in told(shape=shape).shape.ListFields()] == list(range(1, 16))
    inside = told(inside=EngineInside(InsideState.ACTIVE, "", "0.1.0", STEPS, NOW, 4)).inside
    assert [value for _, value in inside.steps.ListFields()] == list(range(1, 13))
    assert (inside.records_dropped_total, inside.plugin_version) == (4, "0.1.0")
    assert inside.measured_at.ToDatetime(UTC) == NOW


def test_every_state_of_the_plug_in_has_its_own_value() -> None:
    states = {told(inside=EngineInside(state)).inside.state for state in InsideState}
    assert states == set(fleet_pb2.InsideState.values()) - {0}


def test_totals_of_which_one_is_no_number_are_not_told() -> None:
    for broken in (replace(STEPS, flops=float("nan")), replace(STEPS, running=-1)):
        message = inside_message(EngineInside(InsideState.ACTIVE, steps=broken))
        assert message is not None
        assert not message.HasField("steps")


def test_the_bill_keeps_what_is_unknown_unset_and_does_not_grow_with_tenants() -> None:
    bills = (RecomputeBill("acme", 7, None, None, Source.ASSUMED), RecomputeBill("", 3, 0.0, 0.5, Source.MEASURED))
    first, second = told(recompute=bills).recompute
    assert (first.tenant, first.tokens_total, first.HasField("flops_total")) == ("acme", 7, False)
    assert (second.HasField("flops_total"), second.seconds_total) == (True, 0.5)
    assert second.seconds_source == fleet_pb2.SOURCE_MEASURED
    assert len(told(recompute=bills * 100).recompute) == TENANTS_MAX


def test_residency_and_adapters() -> None:
    message = told(residency=ResidencySummary(9, 4, 5, 2**64 + 3, complete=False), adapters=("legal", "code"))
    assert (message.residency.version, message.residency.chunks_count, message.residency.checksum) == (9, 4, 3)
    assert message.HasField("residency")
    assert list(message.adapters) == ["legal", "code"]
