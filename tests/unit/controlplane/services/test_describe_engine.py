"""What an engine's row shows beside its report."""

from dataclasses import replace

import pytest

from controlplane.fleet.events import DesiredChanged, ReportReceived
from controlplane.fleet.observed import Ceiling, Device, EngineReport
from controlplane.fleet.sources import Source
from controlplane.services.describe_engine import EngineDescription, describe_engine
from tests.support.fleet import Timeline, at, desired, enrolled, opened, placed, reported

FLOAT32 = Ceiling("float32", 1e12, 1e11, Source.MEASURED)
BFLOAT16 = Ceiling("bfloat16", 8e12, 1e11, Source.TABLE)
DEVICES = (
    Device("cuda:0", "H100", "cuda", ceilings=(FLOAT32, BFLOAT16)),
    Device("cuda:1", "L4", "cuda", ceilings=(Ceiling("bfloat16", 1e12, 1e11, Source.ASSUMED),)),
)


def described(engine: EngineReport, devices: tuple[Device, ...] = DEVICES) -> EngineDescription:
    line = Timeline(desired([enrolled("gcp-1")], [placed()]))
    line.step(1, ReportReceived("gcp-1", (engine,), at(1), devices=devices))
    return describe_engine(line.snapshot, line.snapshot.engines[engine.engine_id], at(1))


def test_one_that_gets_requests() -> None:
    assert described(reported(dtype="float32")) == EngineDescription(True, "", 10.0, Source.MEASURED)


@pytest.mark.parametrize(
    ("dtype", "devices", "ridge", "source"),
    [
        ("bfloat16", ("cuda:0",), 80.0, Source.TABLE),
        ("bfloat16", ("cuda:1",), 10.0, Source.ASSUMED),
        ("float32", ("cuda:1",), None, None),  # rather none than that of another device or dtype
        ("", (), None, None),
        ("float8", (), None, None),
    ],
)
def test_the_ridge_is_that_of_its_own_device_and_dtype(
    dtype: str, devices: tuple[str, ...], ridge: float | None, source: Source | None
) -> None:
    found = described(reported(dtype=dtype, device_ids=devices))
    assert (found.ridge_flops_per_byte, found.ridge_source) == (ridge, source)


def test_a_ceiling_of_which_a_half_is_unknown_has_no_ridge() -> None:
    device = Device("cuda:0", "H100", "cuda", ceilings=(replace(FLOAT32, bytes_per_second=None),))
    assert described(reported(dtype="float32"), (device,)).ridge_flops_per_byte is None


def test_one_that_nobody_placed_says_what_to_do() -> None:
    found = described(reported("stray@gcp-1"))
    assert not found.routable
    assert "remove it" in found.not_routable_reason


def test_a_silent_node_is_the_reason() -> None:
    line = Timeline(desired([enrolled("gcp-1")], [placed()]))
    line.step(0, opened("gcp-1", 0, reported()))
    line.step(20)
    found = describe_engine(line.snapshot, line.snapshot.engines["llama@gcp-1"], at(20))
    assert (found.routable, found.not_routable_reason) == (False, "nothing was heard from gcp-1 for 20 s")


def test_a_cordon_is_the_reason() -> None:
    line = Timeline(desired([enrolled("gcp-1")], [placed()]))
    line.step(0, opened("gcp-1", 0, reported()))
    line.step(1, DesiredChanged(desired([enrolled("gcp-1", cordoned=True)], [placed()])))
    assert "cordoned" in describe_engine(line.snapshot, line.snapshot.engines["llama@gcp-1"], at(1)).not_routable_reason
