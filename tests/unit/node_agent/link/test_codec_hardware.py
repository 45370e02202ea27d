"""How devices are doing and where their memory is, on the way to the wire."""

from dataclasses import fields
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from controlplane.proto.stoker.v1 import agent_pb2, fleet_pb2
from node_agent.link.codec import agent_message
from node_agent.session.commands import Report
from node_agent.session.facts import NodeEvent
from node_agent.session.hardware import DeviceHealth, Fault, KvHeadroom, MemoryLedger, MemoryPortion, MemoryUse
from node_agent.session.values import Severity, Source

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
FAULT = Fault("xid", Severity.ERROR, "XID 79: the GPU has fallen off the bus", "power-cycle the node", NOW)


def told(*, health: tuple[DeviceHealth, ...] = (), memory: tuple[MemoryLedger, ...] = ()) -> agent_pb2.Report:
    message = agent_message(Report(7, NOW, (), health=health, memory=memory)).SerializeToString()
    return agent_pb2.AgentMessage.FromString(message).report


def test_each_reading_of_a_device_has_its_own_field() -> None:
    plain = [name.name for name in fields(DeviceHealth)][2:]
    values = {name: number for number, name in enumerate(plain, 1)}
    values |= {"throttle_reasons": ("power_cap",), "recent_xids": (79, -1, 48), "faults": (FAULT,)}  # type: ignore[dict-item]
    [health] = told(health=(DeviceHealth("cuda:0", NOW, **values),)).health  # type: ignore[arg-type]
    unset = {field.name for field in health.DESCRIPTOR.fields} - {field.name for field, _ in health.ListFields()}
    assert unset == set()
    numbers = [value for field, value in health.ListFields() if field.name in plain and isinstance(value, int | float)]
    assert len(set(numbers)) == len(numbers)
    assert list(health.recent_xids) == [79, 48], "what is no XID is left out"
    assert (health.faults[0].action, health.faults[0].severity) == ("power-cycle the node", fleet_pb2.SEVERITY_ERROR)


def test_a_device_that_tells_nothing_leaves_it_all_unset() -> None:
    [health] = told(health=(DeviceHealth("cpu:0", NOW),)).health
    assert [field.name for field, _ in health.ListFields()] == ["device_id", "measured_at"]


def test_the_ledger_with_the_source_of_each_portion() -> None:
    portions = tuple(MemoryPortion(use, 10, Source.MEASURED, "a@n") for use in MemoryUse)
    headroom = (KvHeadroom("a@n", 10, None, 1.5, Source.ASSUMED), KvHeadroom("b@n", -1, 1, 1.0, Source.TABLE))
    [ledger] = told(memory=(MemoryLedger("cuda:0", NOW, 80, portions, headroom),)).memory
    assert {portion.use for portion in ledger.portions} == set(fleet_pb2.MemoryUse.values()) - {0}
    [room] = ledger.headroom
    assert (room.HasField("tokens"), room.requests_count, room.source) == (False, 1.5, fleet_pb2.SOURCE_ASSUMED)


def test_an_event_names_its_device_and_what_to_do() -> None:
    event = agent_message(NodeEvent("device_fault", "m", Severity.ERROR, NOW, "", "cuda:0", "drain it")).event
    assert (event.device_id, event.action) == ("cuda:0", "drain it")


@given(st.floats(), st.integers(), st.text(max_size=20))
def test_no_reading_makes_a_report_unsendable(real: float, whole: int, text: str) -> None:
    health = DeviceHealth(text, NOW, whole, real, power_watts=real, rows_remapped_count=whole, recent_xids=(whole,))
    ledger = MemoryLedger(text, NOW, whole, (MemoryPortion(MemoryUse.FREE, whole, Source.MEASURED, text),))
    told(health=(health,), memory=(ledger,))
