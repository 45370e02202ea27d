"""The columns of the table of nodes, over a node and the sums of its engines. Pure cells, no state."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from console.model.fleet_view import DeviceRow, FleetView, NodeRow
from console.model.format import UNKNOWN, clean, memory, quantity, text_or_unknown
from console.model.hardware import faults_of
from console.model.overview import Moment, NodeState, is_stale, node_state
from console.model.select import node_fields, node_memory_bytes
from console.model.summaries import Totals, totals_by_node
from console.widgets.bars import bar_with_percent, known_or_dash
from console.widgets.columns import Column
from console.widgets.spans import CROSS, Line, Tone, elided, say, span
from console.widgets.states import NODE_LOOKS, age_and_trust, in_words


@dataclass(frozen=True, slots=True)
class NodeLine:
    node: NodeRow
    totals: Totals
    state: NodeState


def node_states(view: FleetView, moment: Moment) -> dict[str, NodeState]:
    return {name: node_state(row, moment) for name, row in view.nodes.items()}


def node_lines(view: FleetView, states: Mapping[str, NodeState]) -> dict[str, NodeLine]:
    totals = totals_by_node(view)
    return {name: NodeLine(row, totals[name], states[name]) for name, row in view.nodes.items()}


def line_fields(line: NodeLine) -> dict[str, str]:
    return node_fields(line.node, line.state)


def line_is_stale(line: NodeLine, moment: Moment) -> bool:
    return is_stale(line.node, moment)


def kind_in_words(kind: str) -> str:
    """The vendor's name without the vendor. That a node is simulated is said of the node, not of its devices again."""
    return clean(kind).removeprefix("simulated ").removeprefix("NVIDIA ").removeprefix("AMD Instinct ")


def devices_in_words(devices: tuple[DeviceRow, ...]) -> str:
    """How many of which."""
    if not devices:
        return UNKNOWN
    kinds = Counter(kind_in_words(device.kind) for device in devices)
    return ", ".join(f"{count}{CROSS} {kind}" for kind, count in kinds.items())


def _devices(line: NodeLine, _moment: Moment, width: int) -> Line:
    """A simulated node says so first: nobody is to take it for a machine."""
    text = devices_in_words(line.node.devices)
    return say(elided(f"simulated {text}" if line.node.simulated else text, width))


def _state(line: NodeLine, _moment: Moment, _width: int) -> Line:
    """A node that is shown as something else, and has a faulty device, is marked."""
    mark = (span(f" {CROSS}", Tone.BAD),) if line.state is not NodeState.FAULTY and faults_of(line.node.health) else ()
    return (*in_words(NODE_LOOKS[line.state]), *mark)


def _engines(line: NodeLine, _moment: Moment, _width: int) -> Line:
    if line.totals.engines == 0:
        return say("none", Tone.DIM)
    short = line.totals.routable < line.totals.engines
    mark = span("!", Tone.WARN) if short else span(" ")
    return (span(f"{line.totals.routable}/{line.totals.engines}", Tone.WARN if short else Tone.PLAIN), mark)


def _why(line: NodeLine, _moment: Moment, _width: int) -> Line:
    return say(line.node.cordon_reason if line.node.cordoned else "", Tone.DIM)


COLUMNS: tuple[Column[NodeLine], ...] = (
    Column("node", "node", lambda line, _, width: say(elided(line.node.name, width), Tone.STRONG), 16, 0, grow=16,
           order=lambda line: line.node.name, sort_key="N"),
    Column("state", "state", _state, 10, 1, grow=2),
    Column("kv", "KV cache", lambda line, _, width: bar_with_percent(line.totals.kv_used_ratio, width), 11, 3, grow=22,
           right=True, order=lambda line: line.totals.kv_used_ratio, sort_key="K"),
    Column("running", "run", lambda line, *_: known_or_dash(quantity(line.totals.running)), 4, 9, right=True,
           order=lambda line: line.totals.running, sort_key="R"),
    Column("waiting", "wait", lambda line, *_: known_or_dash(quantity(line.totals.waiting)), 4, 6, right=True,
           order=lambda line: line.totals.waiting, sort_key="W"),
    Column("engines", "engines ", _engines, 8, 4, right=True, order=lambda line: line.totals.engines, sort_key="E"),
    Column("provider", "provider", lambda line, *_: say(text_or_unknown(line.node.provider)), 8, 5, grow=8,
           order=lambda line: line.node.provider, sort_key="P"),
    Column("region", "region", lambda line, *_: say(text_or_unknown(line.node.region)), 14, 7, grow=6,
           order=lambda line: line.node.region, sort_key="C"),
    Column("devices", "devices", _devices, 18, 8, grow=16),
    Column("age", "age  ", lambda line, moment, width: age_and_trust(line.node, moment, width), 8, 2, grow=8, right=True),
    Column("memory", "memory", lambda line, *_: known_or_dash(memory(node_memory_bytes(line.node))), 9, 12, right=True,
           order=lambda line: node_memory_bytes(line.node)),
    Column("zone", "zone", lambda line, *_: say(text_or_unknown(line.node.zone), Tone.DIM), 14, 14, grow=8),
    Column("agent", "agent", lambda line, *_: say(text_or_unknown(line.node.agent_version), Tone.DIM), 8, 13, grow=6),
    Column("why", "why cordoned", _why, 20, 15, grow=200),
)  # fmt: skip
