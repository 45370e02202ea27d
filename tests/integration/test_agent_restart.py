"""Commands over a restart of the agent, over a real link: none forgotten, none begun twice, each outcome once."""

from pathlib import Path

from controlplane.proto.stoker.v1 import agent_pb2, fleet_pb2
from node_agent.link.identity import IdentityStore
from tests.fakes.control_plane import FakeControlPlane, eventually
from tests.fakes.linked_agent import enrol, running

START = agent_pb2.StartEngine(spec=fleet_pb2.EngineSpec(model="tiny", source="/models/tiny"))
STOP = agent_pb2.StopEngine(drain_seconds_max=60)


async def test_an_interrupted_command_is_carried_on_by_the_next_agent(
    plane: FakeControlPlane, store: IdentityStore, tmp_path: Path
) -> None:
    await enrol(plane, store)
    async with running(plane, store, tmp_path) as first:
        await eventually(lambda: plane.sessions_count, "a session")
        first.engines.hold.clear()
        plane.command("c1", "tiny@gcp-1", stop=STOP)
        plane.command("c2", "tiny@gcp-1", generation=2, start=START)
        await eventually(lambda: first.engines.stopped, "the stop has begun")
        await eventually(lambda: len(plane.received.outcomes) == 2, "both are accepted")
    await eventually(lambda: not plane.sessions_count, "the session has ended")
    async with running(plane, store, tmp_path) as second:
        await eventually(lambda: plane.received.finals("c2"), "the outcome of the second command")
        # Nothing runs there, so the stop is over; the start behind it was not forgotten.
        assert (second.engines.stopped, [spec.generation for spec in second.engines.started]) == ([], [2])
    assert [len(plane.received.finals(command_id)) for command_id in ("c1", "c2")] == [1, 1]
    assert plane.received.finals("c1")[0].status == agent_pb2.COMMAND_STATUS_SUCCEEDED


async def test_an_outcome_that_nobody_acknowledged_is_told_again_as_the_same_one(
    plane: FakeControlPlane, store: IdentityStore, tmp_path: Path
) -> None:
    await enrol(plane, store)
    plane.acknowledges = False
    async with running(plane, store, tmp_path):
        await eventually(lambda: plane.sessions_count, "a session")
        plane.command("c1", "../bad", start=START)
        await eventually(lambda: plane.received.finals("c1"), "the outcome")
    await eventually(lambda: not plane.sessions_count, "the session has ended")
    plane.acknowledges = True
    async with running(plane, store, tmp_path) as agent:
        await eventually(lambda: len(plane.received.finals("c1")) == 2, "the outcome again")
        assert agent.engines.started == []
        first, again = plane.received.finals("c1")
        assert first == again, "by its moment it is known as the same"
        await eventually(lambda: '"commands": []' in (tmp_path / "commands.json").read_text(), "it is settled on disk")
    await eventually(lambda: not plane.sessions_count, "the session has ended")
    async with running(plane, store, tmp_path):
        reports = len(plane.received.reports)
        await eventually(lambda: len(plane.received.reports) > reports + 1, "a report of the third agent")
    assert len(plane.received.finals("c1")) == 2


async def test_a_broken_file_is_an_event_and_the_agent_goes_on(
    plane: FakeControlPlane, store: IdentityStore, tmp_path: Path
) -> None:
    await enrol(plane, store)
    (tmp_path / "commands.json").write_text("{")
    async with running(plane, store, tmp_path):
        await eventually(lambda: plane.received.events, "the event")
        assert plane.received.events[0].kind == "commands_unreadable"
        plane.command("c1", "tiny@gcp-1", start=START)
        await eventually(lambda: plane.received.finals("c1"), "the outcome")
    assert (tmp_path / "commands.unreadable").exists()


async def test_logs_adapters_probes_and_intervals_over_a_session(
    plane: FakeControlPlane, store: IdentityStore, tmp_path: Path
) -> None:
    await enrol(plane, store)
    async with running(plane, store, tmp_path) as agent:
        await eventually(lambda: plane.sessions_count, "a session")
        assert "commands.v2" in plane.received.hellos[0].capabilities
        plane.command("a1", "tiny@gcp-1", load_adapter=agent_pb2.LoadAdapter(name="law", source="/lora/law"))
        plane.command("a2", "tiny@gcp-1", unload_adapter=agent_pb2.UnloadAdapter(name="law"))
        plane.command("p1", "", generation=0, probe=agent_pb2.ProbeDevices(force=True))
        plane.command("r1", "", generation=0, report_interval=agent_pb2.SetReportInterval(seconds=0.3))
        for command_id in ("a1", "a2", "p1", "r1"):
            await eventually(lambda c=command_id: plane.received.finals(c), command_id)  # type: ignore[misc]
        assert agent.engines.adapters == [("tiny@gcp-1", "law", "/lora/law"), ("tiny@gcp-1", "law", "")]
        assert plane.received.finals("p1")[0].message == "this agent has no probe"
        assert "every 0.3 s" in plane.received.finals("r1")[0].message

        agent.engines.logs["tiny@gcp-1"] = tuple(f"line {number} {'x' * 300}" for number in range(5000))
        for request_id, engine_id, count in (("l1", "tiny@gcp-1", 2), ("l2", "nobody", 2), ("l3", "tiny@gcp-1", 5000)):
            wanted = agent_pb2.LogWanted(request_id=request_id, engine_id=engine_id, lines_max=count)
            plane.send(agent_pb2.ControlMessage(log_wanted=wanted))
        await eventually(lambda: len(plane.received.logs) == 3, "three answers")
    answers = {answer.request_id: answer for answer in plane.received.logs}
    assert [line.split()[1] for line in answers["l1"].lines] == ["4998", "4999"]
    assert (list(answers["l2"].lines), answers["l2"].problem) == ([], "there is no engine nobody on this node")
    assert answers["l3"].lines[-1].startswith("line 4999")
    assert 200 * 1024 < answers["l3"].ByteSize() <= 257 * 1024
