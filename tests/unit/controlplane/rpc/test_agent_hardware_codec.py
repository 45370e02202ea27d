"""What agents tell of their devices: nonsense becomes unknown, and all that is known reaches an operator."""

from controlplane.fleet.hardware import DeviceHealth, Fault, KvHeadroom, MemoryLedger, MemoryPortion, MemoryUse
from controlplane.fleet.observed import Severity
from controlplane.fleet.sources import Source
from controlplane.proto.stoker.v1 import fleet_pb2
from controlplane.rpc import agent_hardware_codec as codec
from controlplane.rpc import fleet_hardware_codec as outward
from tests.support.fleet import at


def test_all_of_it_survives_the_way_through() -> None:
    faults = tuple(Fault("xid", severity, "XID 79", "power-cycle it", at(1)) for severity in Severity)
    clocks = (5, -3.0, 90.0, 300.0, 700.0, 1.4e9, 2e9, 2.6e9)
    links = (3, 5, 16, 16, 17, 18)
    health = DeviceHealth("cuda:0", at(2), *clocks, ("power_cap",), 1, 0, 2, *links, (79, 48), faults)
    assert codec.health_from([outward.health_to_wire(health)]) == (health,)
    ledger = MemoryLedger(
        "cuda:0",
        at(2),
        80,
        tuple(MemoryPortion(use, 16, Source.MEASURED, "a@n") for use in MemoryUse),
        (KvHeadroom("a@n", 8, None, 1.5, Source.ASSUMED),),
    )
    assert codec.memory_from([outward.memory_to_wire(ledger)]) == (ledger,)


def test_what_is_not_told_is_unknown_and_never_zero() -> None:
    [health] = codec.health_from([fleet_pb2.DeviceHealth(device_id="cpu:0")])
    assert health == DeviceHealth("cpu:0", None)
    told = outward.health_to_wire(health)
    assert [field.name for field, _ in told.ListFields()] == ["device_id"]


def test_nonsense_is_left_out() -> None:
    odd = fleet_pb2.DeviceHealth(device_id="cuda:0", power_watts=-1, temperature_celsius=float("nan"))
    odd.faults.add(kind="", severity=99, message="a\nb")
    [health] = codec.health_from([odd, fleet_pb2.DeviceHealth()])
    assert (health.power_watts, health.temperature_celsius) == (None, None)
    assert health.faults == (Fault("unknown", Severity.WARNING, "a b", ""),)
    portions = [fleet_pb2.MemoryPortion(use=99, bytes=1), fleet_pb2.MemoryPortion(use=5, bytes=2**60)]  # type: ignore[arg-type]
    [ledger] = codec.memory_from([fleet_pb2.MemoryLedger(device_id="cuda:0", portions=portions)])
    assert ledger == MemoryLedger("cuda:0", None)
