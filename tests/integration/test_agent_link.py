"""The agent's session against a real gRPC server over real TLS: reports, commands, losing the link and finding it."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controlplane.proto.stoker.v1 import agent_pb2, fleet_pb2
from node_agent.errors import AgentError
from node_agent.link.identity import IdentityStore
from node_agent.link.session_link import LinkEnd, SessionLink
from node_agent.session.facts import Device, NodeEvent
from node_agent.session.values import Severity
from tests.fakes.control_plane import FakeControlPlane, eventually
from tests.fakes.linked_agent import CLOCK, enrol, running

SPEC = fleet_pb2.EngineSpec(model="tiny", source="/models/tiny", engine_args=["--seed", "1"])
START = agent_pb2.StartEngine(spec=SPEC)


async def test_hello_then_whole_reports_at_the_interval_of_the_welcome(
    plane: FakeControlPlane, store: IdentityStore, tmp_path: Path
) -> None:
    await enrol(plane, store)
    plane.welcome.report_interval_seconds = 0.2
    async with running(plane, store, tmp_path) as agent:
        await eventually(lambda: len(plane.received.reports) >= 4, "four reports")
        hello = plane.received.hellos[0]
        assert (hello.agent_version, hello.boot_id, hello.os) == ("0.1.0", "boot-1", "linux")
        assert [device.device_id for device in hello.devices] == ["cpu:0"]
        reports = plane.received.reports
        assert [report.sequence for report in reports] == list(range(1, len(reports) + 1))
        assert all(not report.devices for report in reports)
        beats = [report.sent_at.ToNanoseconds() / 1e9 for report in reports[1:4]]
        assert beats[-1] - beats[0] == pytest.approx(0.4, abs=0.15)

        agent.devices = (Device("cuda:0", "a GPU", "cuda", 80 * 2**30),)
        await eventually(lambda: plane.received.reports[-1].devices or len(reports) > 20, "devices told once")
        told = [report for report in plane.received.reports if report.devices]
        assert [device.device_id for device in told[0].devices] == ["cuda:0"]
        assert agent.statuses == [f"connected to {plane.address}"]


async def test_commands_are_carried_out_once_and_their_outcomes_told(
    plane: FakeControlPlane, store: IdentityStore, tmp_path: Path
) -> None:
    await enrol(plane, store)
    async with running(plane, store, tmp_path) as agent:
        await eventually(lambda: plane.sessions_count, "a session")
        for _ in range(3):
            plane.command("c1", "tiny@gcp-1", generation=2, start=START)
        await eventually(lambda: plane.received.finals("c1"), "the outcome of the start")
        await eventually(lambda: any(report.engines for report in plane.received.reports), "the engine in a report")
        assert [spec.generation for spec in agent.engines.started] == [2]
        assert agent.engines.started[0].engine_args == ("--seed", "1")
        assert plane.received.reports[-1].engines[0].engine_id == "tiny@gcp-1"

        plane.command("c2", "tiny@gcp-1", generation=1, start=START)
        plane.command("c3", "tiny@gcp-1", generation=2)
        plane.command("c4", "tiny@gcp-1", generation=2, stop=agent_pb2.StopEngine(drain_seconds_max=5, forget=True))
        await eventually(lambda: plane.received.finals("c4"), "the outcome of the stop")
        statuses = {said.command_id: (said.status, said.message) for said in plane.received.outcomes}
        assert statuses["c1"][0] == agent_pb2.COMMAND_STATUS_SUCCEEDED
        assert statuses["c2"][0] == agent_pb2.COMMAND_STATUS_REFUSED
        assert "this agent is too old: upgrade" in statuses["c3"][1]
        assert statuses["c4"][0] == agent_pb2.COMMAND_STATUS_SUCCEEDED
        assert (len(agent.engines.started), agent.engines.stopped) == (1, ["tiny@gcp-1"])


async def test_a_failed_start_tells_why_and_a_broken_supervisor_ends_nothing(
    plane: FakeControlPlane, store: IdentityStore, tmp_path: Path
) -> None:
    await enrol(plane, store)
    async with running(plane, store, tmp_path) as agent:
        await eventually(lambda: plane.sessions_count, "a session")
        agent.engines.fail_with = AgentError("no port is free: give more in engines.port_last")
        agent.engines.crash_on_statuses = True
        plane.command("c1", "tiny@gcp-1", start=START)
        await eventually(lambda: plane.received.finals("c1"), "the outcome")
        assert plane.received.finals("c1")[0].status == agent_pb2.COMMAND_STATUS_FAILED
        assert plane.received.finals("c1")[0].message == "no port is free: give more in engines.port_last"
        agent.engines.crash_on_statuses = False
        reports = len(plane.received.reports)
        await eventually(lambda: len(plane.received.reports) > reports, "reports go on")


async def test_the_agent_returns_to_a_control_plane_that_was_away_and_repeats_what_it_did(
    plane: FakeControlPlane, store: IdentityStore, tmp_path: Path
) -> None:
    await enrol(plane, store)
    async with running(plane, store, tmp_path) as agent:
        await eventually(lambda: plane.sessions_count, "a session")
        plane.command("c0", "tiny@gcp-1", start=START)
        await eventually(lambda: plane.received.finals("c0"), "the engine runs")
        agent.engines.hold.clear()
        plane.command("c1", "tiny@gcp-1", stop=agent_pb2.StopEngine(drain_seconds_max=60))
        await eventually(lambda: agent.engines.stopped, "the stop has begun")

        await plane.vanish()
        await eventually(lambda: not agent.runner.connected, "the loss is seen")
        agent.engines.hold.set()
        agent.runner.raise_event(NodeEvent("metrics_unreadable", "odd", Severity.WARNING, CLOCK.now()))
        assert len(agent.engines.statuses()) == 1
        plane.acknowledges = False
        await plane.start()

        await eventually(lambda: len(plane.received.finals("c1")) == 1, "the outcome after the return")
        await eventually(lambda: len(plane.received.events) > 1, "the events after the return")
        kinds = [event.kind for event in plane.received.events]
        assert kinds == ["link_restored", "metrics_unreadable"]
        await plane.vanish()
        plane.acknowledges = True
        await plane.start()
        await eventually(lambda: len(plane.received.finals("c1")) == 2, "the outcome once more, unacknowledged")
        await eventually(lambda: plane.sessions_count, "the session")
        await plane.vanish()
        await plane.start()
        await eventually(lambda: len(plane.received.hellos) == 4, "the last session")
        reports = len(plane.received.reports)
        await eventually(lambda: len(plane.received.reports) > reports + 1, "a report after it")
        assert len(plane.received.finals("c1")) == 2
        assert len(plane.received.finals("c0")) == 1
        assert agent.engines.stopped == ["tiny@gcp-1"]


async def test_an_older_leader_is_refused_even_after_a_restart_of_the_agent(
    plane: FakeControlPlane, store: IdentityStore, tmp_path: Path
) -> None:
    await enrol(plane, store)
    async with running(plane, store, tmp_path):
        await eventually(lambda: plane.sessions_count, "a session")
        plane.command("c1", "tiny@gcp-1", epoch=7, start=START)
        await eventually(lambda: plane.received.finals("c1"), "the outcome")
    await eventually(lambda: not plane.sessions_count, "the session has ended")
    async with running(plane, store, tmp_path) as agent:
        await eventually(lambda: plane.sessions_count, "a session")
        assert plane.received.hellos[-1].leader_epoch_seen == 7
        plane.command("c2", "tiny@gcp-1", epoch=6, generation=9, start=START)
        await eventually(lambda: plane.received.finals("c2"), "the outcome")
        assert plane.received.finals("c2")[0].status == agent_pb2.COMMAND_STATUS_REFUSED
        assert "another control plane leads now" in plane.received.finals("c2")[0].message
        assert agent.engines.started == []


async def test_a_refused_session_and_another_protocol_are_said_once_and_retried_slowly(
    plane: FakeControlPlane, store: IdentityStore, tmp_path: Path
) -> None:
    await enrol(plane, store)
    plane.refuse_session = "node gcp-1 was forgotten: join it again"
    with capture_logs() as logs:
        async with running(plane, store, tmp_path) as agent:
            await eventually(lambda: len(agent.statuses) >= 2, "two refusals")
            assert agent.statuses[0].endswith("refused by the control plane: node gcp-1 was forgotten: join it again")
            plane.refuse_session = None
            plane.welcome.protocol_version = 9
            await eventually(lambda: len(plane.received.hellos) >= 2, "two attempts")
            plane.welcome.protocol_version = 1
            await eventually(lambda: agent.runner.connected, "the session in the end")
    kinds = [entry["event"] for entry in logs]
    assert kinds.count("link_refused") == 1
    assert kinds.count("protocol_incompatible") == 1
    [incompatible] = [entry for entry in logs if entry["event"] == "protocol_incompatible"]
    assert "upgrade stoker-agent on this node" in incompatible["message"]


async def test_a_control_plane_that_never_welcomes_is_left(
    plane: FakeControlPlane, store: IdentityStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await enrol(plane, store)
    monkeypatch.setattr(plane, "_listen", lambda *_: asyncio.sleep(60))
    link = SessionLink(
        address=plane.address,
        store=store,
        clock=CLOCK,
        on_open=lambda: None,
        on_heard=lambda _: None,
        welcome_seconds_max=0.2,
    )
    ended = await link.run()
    assert isinstance(ended, LinkEnd)
    assert "sent no welcome" in ended.message
