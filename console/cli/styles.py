"""Colours of states, trusts and severities: always beside the word itself. Called by commands that show rows."""

from collections.abc import Mapping
from types import MappingProxyType

from console.cli.output import Cell
from console.model import format as fmt
from console.model.fleet_view import EngineRow, EngineState, Severity, Trust
from console.model.overview import NodeState

_STATES: Mapping[EngineState, str] = MappingProxyType(
    {
        EngineState.READY: "green",
        EngineState.STARTING: "cyan",
        EngineState.DRAINING: "yellow",
        EngineState.STOPPING: "yellow",
        EngineState.BACKING_OFF: "bold red",
        EngineState.FAILED: "bold red",
        EngineState.STOPPED: "dim",
    }
)
_TRUSTS: Mapping[Trust, str] = MappingProxyType(
    {Trust.FRESH: "", Trust.AGEING: "yellow", Trust.STALE: "bold red", Trust.UNSUPPORTED: "dim", Trust.UNKNOWN: "dim"}
)
_SEVERITIES: Mapping[Severity, str] = MappingProxyType(
    {Severity.INFO: "", Severity.WARNING: "yellow", Severity.ERROR: "bold red"}
)
_NODE_STATES: Mapping[NodeState, str] = MappingProxyType(
    {
        NodeState.UP: "green",
        NodeState.FAULTY: "bold red",
        NodeState.CORDONED: "yellow",
        NodeState.CUT_OFF: "yellow",
        NodeState.STALE: "yellow",
        NodeState.LOST: "bold red",
        NodeState.SILENT: "yellow",
    }
)


def state_cell(engine: EngineRow) -> Cell:
    text = engine.state.value.replace("_", " ")
    if engine.stage and engine.state is EngineState.STARTING:
        text += f" ({engine.stage})"
    elif engine.state is EngineState.READY and not engine.routable:
        text += " (not used)"
    return Cell(text, _STATES.get(engine.state, ""))


def trust_cell(trust: Trust | None) -> Cell:
    return Cell(fmt.UNKNOWN) if trust is None else Cell(trust.value, _TRUSTS[trust])


def severity_cell(severity: Severity) -> Cell:
    return Cell(severity.value, _SEVERITIES[severity])


def node_state_cell(state: NodeState) -> Cell:
    return Cell(state.value, _NODE_STATES[state])


def ratio_cell(ratio: float | None, width: int = 10) -> Cell:
    style = "" if ratio is None else "bold red" if ratio >= 0.95 else "yellow" if ratio >= 0.8 else ""
    return Cell(fmt.bar_percent(ratio, width), style)
