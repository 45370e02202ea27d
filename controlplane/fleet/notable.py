"""What is worth a line in the event log, in sentences for people. Pure; called by `fleet.apply` only."""

from datetime import datetime

from controlplane.fleet.history import FleetEvent
from controlplane.fleet.observed import EngineReport, EngineState, Severity, Trust
from controlplane.fleet.snapshot import EngineObserved, NodeObserved

_SEVERITY = {
    EngineState.FAILED: Severity.ERROR,
    EngineState.BACKING_OFF: Severity.WARNING,
}
_SENTENCE = {
    EngineState.STARTING: "is starting",
    EngineState.READY: "is ready",
    EngineState.DRAINING: "is draining",
    EngineState.STOPPING: "is stopping",
    EngineState.STOPPED: "has stopped",
    EngineState.BACKING_OFF: "died and will be started again",
    EngineState.FAILED: "failed and will not be started again by itself",
}


def node_connected(node: str, at: datetime, agent_version: str) -> FleetEvent:
    message = f"{node} connected" + (f" (agent {agent_version})" if agent_version else "")
    return FleetEvent(at, Severity.INFO, "node_connected", message, node=node, actor=f"agent:{node}")


def node_disconnected(node: str, at: datetime, reason: str) -> FleetEvent:
    message = f"{node} disconnected" + (f": {reason}" if reason else "")
    return FleetEvent(at, Severity.WARNING, "node_disconnected", message, node=node)


def node_trust(before: NodeObserved, after: NodeObserved, at: datetime) -> list[FleetEvent]:
    """Falling to stale, being lost, and coming back are told; the first reports after our start are not."""
    found = []
    if after.lost and not before.lost:
        found.append(
            FleetEvent(at, Severity.ERROR, "node_lost", f"{after.name} is lost: no report within its lease", after.name)
        )
    elif after.trust is Trust.STALE and before.heard_since_boot and not after.lost:
        message = f"{after.name} is stale: its last report is too old to decide by"
        found.append(FleetEvent(at, Severity.WARNING, "node_stale", message, after.name))
    elif (
        after.trust is Trust.FRESH
        and before.trust is Trust.STALE
        and before.last_report_at is not None
        and before.heard_since_boot
    ):
        found.append(FleetEvent(at, Severity.INFO, "node_recovered", f"{after.name} reports again", after.name))
    return found


def engine_state(node: str, report: EngineReport, at: datetime) -> FleetEvent:
    message = f"{report.engine_id} {_SENTENCE[report.state]}" + (f": {report.reason}" if report.reason else "")
    return FleetEvent(
        at,
        _SEVERITY.get(report.state, Severity.INFO),
        f"engine_{report.state.value}",
        message,
        node=node,
        engine_id=report.engine_id,
        model=report.model,
        actor=f"agent:{node}",
    )


def engine_gone(engine: EngineObserved, at: datetime) -> FleetEvent:
    return FleetEvent(
        at,
        Severity.INFO,
        "engine_gone",
        f"{engine.engine_id} is no longer on {engine.node}",
        node=engine.node,
        engine_id=engine.engine_id,
        model=engine.report.model,
        actor=f"agent:{engine.node}",
    )


def brake(*, on: bool, at: datetime) -> FleetEvent:
    if on:
        message = "most nodes fell silent at once: suspecting our own network, nothing is removed until they report"
        return FleetEvent(at, Severity.ERROR, "brake_on", message)
    return FleetEvent(at, Severity.INFO, "brake_off", "enough nodes report again: the brake is off")
