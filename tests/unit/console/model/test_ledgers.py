"""Which memory, and which roof, belongs to an engine."""

from dataclasses import replace

from console.model.fleet_view import CeilingRow, EngineRow, NodeRow
from console.model.ledgers import ceiling_of, ledgers_of
from tests.fakes import fleet


def engine_on(devices: int, *device_ids: str, dtype: str = "bfloat16") -> tuple[EngineRow, NodeRow]:
    """An engine of the fleet, on these devices of a node that has so many, each with roofs of its own."""
    view = fleet.mixed()
    row = next(each for each in view.engines.values() if view.nodes[each.node].memory)
    host = view.nodes[row.node]
    (device, ledger), names = (host.devices[0], host.memory[0]), [f"cuda:{index}" for index in range(devices)]
    host = replace(
        host,
        devices=tuple(
            replace(device, device_id=name, ceilings=(CeilingRow("bfloat16", 1e14 + index, 1e12, "measured", None),))
            for index, name in enumerate(names)
        ),
        memory=tuple(replace(ledger, device_id=name) for name in names),
    )
    return replace(row, device_ids=device_ids, dtype=dtype), host


def test_an_engines_memory_is_that_of_its_devices_in_its_order() -> None:
    row, host = engine_on(4, "cuda:2", "cuda:0")
    assert [ledger.device_id for ledger in ledgers_of(row, host)] == ["cuda:2", "cuda:0"]
    assert [ledger.device_id for ledger in ledgers_of(replace(row, device_ids=("cuda:9", "cuda:1")), host)] == [
        "cuda:1"
    ]


def test_an_engine_that_was_given_no_device_by_name_is_where_it_holds_memory() -> None:
    row, host = engine_on(2)
    empty = replace(host.memory[1], portions=())
    assert ledgers_of(row, replace(host, memory=(host.memory[0], empty))) == (host.memory[0],)


def test_nothing_is_made_up_for_a_node_or_devices_that_are_not_known() -> None:
    row, host = engine_on(2)
    assert ledgers_of(row, None) == ()
    elsewhere = replace(row, engine_id="another@node")
    assert ledgers_of(elsewhere, host) == (), "an engine that does not say where it is, and holds no memory"
    assert ceiling_of(row, None) is None
    assert ceiling_of(replace(row, dtype="float8_e4m3"), host) is None, "another dtype's roof is none of its own"


def test_the_roof_is_that_of_its_first_device_for_its_dtype() -> None:
    row, host = engine_on(4, "cuda:2", "cuda:3")
    roof = ceiling_of(row, host)
    assert roof is not None
    assert (roof.dtype, roof.flops_per_second) == ("bfloat16", 1e14 + 2)


def test_half_a_roof_is_no_ridge() -> None:
    row, host = engine_on(2, "cuda:0", "cuda:1")
    first, second = host.devices
    half = replace(first, ceilings=(CeilingRow("bfloat16", 1e14, None, "table", None),))
    roof = ceiling_of(row, replace(host, devices=(half, second)))
    assert roof is not None
    assert roof.flops_per_second == 1e14 + 1
