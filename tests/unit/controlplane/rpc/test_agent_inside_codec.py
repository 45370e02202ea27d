"""What agents tell from inside engines: nonsense becomes unknown, and all that is known reaches an operator."""

from dataclasses import fields

import pytest

from controlplane.fleet.inside import (
    EngineInside,
    InsideState,
    ModelShape,
    RecomputeBill,
    ResidencySummary,
    StepTotals,
)
from controlplane.fleet.sources import Source
from controlplane.proto.stoker.v1 import fleet_pb2
from controlplane.rpc import agent_inside_codec as codec
from controlplane.rpc import fleet_inside_codec as outward
from tests.support.fleet import at


def test_all_of_it_survives_the_way_through() -> None:
    shape = ModelShape(*range(1, 1 + len(fields(ModelShape))))
    inside = EngineInside(InsideState.DEGRADED, "no perf_stats", "0.1.0", StepTotals(*range(1, 13)), at(3), 7)
    bills = (RecomputeBill("acme", 9, 1e9, None, Source.MEASURED), RecomputeBill("", 1, None, 0.5, Source.ASSUMED))
    residency = ResidencySummary(4, 3, 2, 2**64 - 1, complete=True)
    status = fleet_pb2.EngineStatus(
        shape=outward.shape_to_wire(shape),
        inside=outward.inside_to_wire(inside),
        recompute=map(outward.bill_to_wire, bills),
        residency=outward.residency_to_wire(residency),
    )
    assert codec.shape_from(status) == shape
    assert codec.inside_from(status) == inside
    assert codec.recompute_from(status.recompute) == bills
    assert codec.residency_from(status) == residency


def test_what_is_not_told_is_unknown() -> None:
    status = fleet_pb2.EngineStatus()
    assert (codec.shape_from(status), codec.inside_from(status), codec.residency_from(status)) == (None, None, None)
    assert (outward.shape_to_wire(None), outward.inside_to_wire(None), outward.residency_to_wire(None)) == (None,) * 3
    assert codec.shape_from(fleet_pb2.EngineStatus(shape=fleet_pb2.ModelShape())) == ModelShape()


@pytest.mark.parametrize(
    "steps",
    [
        fleet_pb2.StepTotals(steps_total=2**60),
        fleet_pb2.StepTotals(flops_total=float("nan")),
        fleet_pb2.StepTotals(busy_seconds_total=-1),
    ],
)
def test_totals_that_cannot_be_are_not_taken(steps: fleet_pb2.StepTotals) -> None:
    inside = codec.inside_from(fleet_pb2.EngineStatus(inside=fleet_pb2.EngineInside(steps=steps)))
    assert inside == EngineInside(InsideState.SILENT)


def test_a_bill_of_nonsense_is_left_out_and_the_tenants_are_bounded() -> None:
    bill = fleet_pb2.RecomputeBill(tenant="t\x1b[2J", tokens_total=1, flops_total=float("inf"))
    taken = codec.recompute_from([fleet_pb2.RecomputeBill(tokens_total=2**60), *[bill] * 100])
    assert len(taken) == codec.TENANTS_MAX - 1
    assert taken[0] == RecomputeBill("t [2J", 1, None, None, Source.ASSUMED)
