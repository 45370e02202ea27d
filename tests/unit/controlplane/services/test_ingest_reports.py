"""What agents say becomes events of the fleet; sessions and requests in flight are kept in step."""

from controlplane.fleet.history import FleetEvent
from controlplane.fleet.observed import Severity
from tests.support.fleet import at, placed, reported
from tests.support.plane import Plane


async def test_a_session_opens_reports_and_closes(fleet: Plane) -> None:
    session = fleet.connect("gcp-1", reported())
    node = fleet.store.snapshot.nodes["gcp-1"]
    assert (node.connected, node.facts.agent_version) == (True, "0.1.0")
    fleet.clock.advance(1)
    fleet.report(session, reported())
    assert fleet.store.snapshot.engines["llama@gcp-1"].received_at == at(1)
    fleet.ingest.closed(session, "the stream ended")
    fleet.store.apply_now()
    assert not fleet.store.snapshot.nodes["gcp-1"].connected
    assert fleet.kinds() == ["node_connected", "engine_ready", "node_disconnected"]


async def test_an_old_session_that_ends_late_does_not_disconnect_the_new_one(fleet: Plane) -> None:
    old = fleet.connect("gcp-1")
    fleet.connect("gcp-1")
    fleet.ingest.closed(old, "a newer session took its place")
    fleet.store.apply_now()
    assert fleet.store.snapshot.nodes["gcp-1"].connected
    assert "node_disconnected" not in fleet.kinds()


async def test_a_report_contains_what_was_sent_before_it(fleet: Plane) -> None:
    await fleet.enrol(placements=(placed(),))
    session = fleet.connect("gcp-1", reported())
    fleet.inflight.sent("r1", "llama@gcp-1", 0.0)
    fleet.inflight.sent("r2", "llama@aws-1", 0.0)
    fleet.report(session, reported())
    assert (fleet.inflight.unreported("llama@gcp-1"), fleet.inflight.count("llama@gcp-1")) == (0, 1)
    assert fleet.inflight.unreported("llama@aws-1") == 1


async def test_what_an_agent_tells_is_logged(fleet: Plane) -> None:
    fleet.ingest.told(FleetEvent(at(0), Severity.WARNING, "metrics_unreadable", "no", node="gcp-1"))
    assert fleet.events.recent()[-1].kind == "metrics_unreadable"
