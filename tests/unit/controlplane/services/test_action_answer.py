"""What an operator is answered is what the audit keeps as the plan."""

from controlplane.fleet.node_commands import COMMANDS_CAPABILITY
from controlplane.runtime.agent_sessions import CommandStatus, Outcome
from controlplane.services.action_answer import ActionAnswer
from controlplane.services.change_adapters import AdapterOrder, ChangeAdapters
from controlplane.services.place_model import PlaceOrder
from controlplane.services.probe_node import ProbeNode
from controlplane.services.restart_engine import RestartEngine, RestartOrder
from controlplane.services.send_to_node import SendToNode
from controlplane.services.set_report_interval import SetReportInterval
from controlplane.services.stop_placement import Target
from tests.support.plane import ANN, Plane

ENGINE = "llama@gcp-1"
LORA = PlaceOrder("llama", "gcp-1", "/models/llama", ("--enable-lora",))


def test_a_plan_is_a_line_a_step() -> None:
    assert ActionAnswer(("first this", "then that")).plan == "first this\nthen that"
    assert ActionAnswer(()).plan == ""


async def test_the_audit_keeps_the_plan_of_every_action(fleet: Plane) -> None:
    restart = RestartEngine(fleet.desired, fleet.store, fleet.events, fleet.clock)
    adapters = ChangeAdapters(fleet.desired, fleet.store, fleet.events, fleet.clock)
    answers = [
        await fleet.place(LORA, ANN, dry_run=False),
        await restart(RestartOrder(ENGINE, ("--enable-lora", "--seed", "1")), ANN, dry_run=False),
        await adapters.load(AdapterOrder(ENGINE, "law", "/lora/law"), ANN, dry_run=False),
        await adapters.unload(AdapterOrder(ENGINE, "law"), ANN, dry_run=False),
        await adapters.unload(AdapterOrder(ENGINE, "law"), ANN, dry_run=False),  # it is so already
        await fleet.stop.drain(Target(node="gcp-1"), ANN, dry_run=False),
        await fleet.stop.resume(Target(placement_id=ENGINE), ANN, dry_run=False),
        await fleet.stop.remove(Target(placement_id=ENGINE), ANN, dry_run=False),
        await fleet.forget("aws-1", ANN, dry_run=False),
    ]
    audit = await fleet.audit()
    assert [entry.plan for entry in audit] == [answer.plan for answer in answers]
    assert all(entry.plan for entry in audit)


async def test_a_command_that_is_sent_once_is_named_and_its_outcome_names_it_again(fleet: Plane) -> None:
    session = fleet.connect("gcp-1", capabilities=(COMMANDS_CAPABILITY,))
    send = SendToNode(fleet.sessions, fleet.database, fleet.events, fleet.clock)
    probed = await ProbeNode(fleet.sessions, fleet.store, send)("gcp-1", ANN, force=False, dry_run=False)
    heard = await SetReportInterval(fleet.sessions, fleet.store, send)("gcp-1", 2.0, ANN, dry_run=False)
    probe, _ = await fleet.audit()
    assert [entry.plan for entry in await fleet.audit()] == [probed.plan, heard.plan]
    name = probe.detail.partition("; ")[2]
    assert name.startswith("command /gcp-1/probe-")
    outcome = Outcome(name.removeprefix("command "), CommandStatus.REFUSED, "an engine runs")
    for _ in range(2):  # agents repeat until they are heard
        fleet.ingest.command_ended(session, outcome)
    await fleet.written()
    ended = (await fleet.audit())[2:]
    assert [(entry.actor, entry.action, entry.target, entry.detail, entry.outcome) for entry in ended] == [
        ("agent:gcp-1", "command_ended", "gcp-1", name, "refused: an engine runs")
    ]


async def test_the_outcome_of_an_engines_command_names_the_engine(fleet: Plane) -> None:
    session = fleet.connect("gcp-1")
    fleet.ingest.command_ended(session, Outcome(f"{ENGINE}/3/start", CommandStatus.ACCEPTED, ""))
    fleet.ingest.command_ended(session, Outcome(f"{ENGINE}/3/start", CommandStatus.SUCCEEDED, ""))
    await fleet.written()
    [ended] = await fleet.audit()
    assert (ended.target, ended.detail, ended.outcome) == (ENGINE, f"command {ENGINE}/3/start", "succeeded")
