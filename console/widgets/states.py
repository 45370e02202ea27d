"""How states read: a symbol, a word and a tone each, the same on every screen.

Column modules and panels call these. The symbol and the word say all that the tone says.
"""

from collections.abc import Mapping
from types import MappingProxyType

from console.model.fleet_view import Connection, DesiredState, EngineRow, EngineState, NodeRow, Severity, Trust
from console.model.format import UNKNOWN, age
from console.model.overview import Moment, NodeState, is_stale, trust_now
from console.model.overview import node_state as state_of_node
from console.widgets.spans import CROSS, Line, Tone, span

Look = tuple[str, str, Tone]  # symbol, word, tone

ENGINE_LOOKS: Mapping[EngineState, Look] = MappingProxyType(
    {
        EngineState.STARTING: ("◐", "starting", Tone.ACCENT),
        EngineState.READY: ("●", "ready", Tone.GOOD),
        EngineState.DRAINING: ("◒", "draining", Tone.WARN),
        EngineState.STOPPING: ("◒", "stopping", Tone.DIM),
        EngineState.STOPPED: ("□", "stopped", Tone.DIM),
        EngineState.BACKING_OFF: ("↻", "back-off", Tone.WARN),
        EngineState.FAILED: (CROSS, "failed", Tone.BAD),
        EngineState.UNKNOWN: ("?", "unknown", Tone.DIM),
    }
)
NODE_LOOKS: Mapping[NodeState, Look] = MappingProxyType(
    {
        NodeState.UP: ("●", "up", Tone.GOOD),
        NodeState.FAULTY: (CROSS, "faulty", Tone.BAD),
        NodeState.CORDONED: ("∅", "cordoned", Tone.WARN),
        NodeState.CUT_OFF: ("○", "cut off", Tone.WARN),
        NodeState.STALE: ("○", "stale", Tone.WARN),
        NodeState.LOST: (CROSS, "lost", Tone.BAD),
        NodeState.SILENT: ("?", "silent", Tone.WARN),
    }
)
SEVERITY_LOOKS: Mapping[Severity, Look] = MappingProxyType(
    {
        Severity.ERROR: (CROSS, "error", Tone.BAD),
        Severity.WARNING: ("▲", "warning", Tone.WARN),
        Severity.INFO: ("·", "info", Tone.DIM),
    }
)
CONNECTION_LOOKS: Mapping[Connection, Look] = MappingProxyType(
    {
        Connection.CONNECTING: ("○", "CONNECTING", Tone.WARN),
        Connection.LIVE: ("●", "LIVE", Tone.GOOD),
        Connection.LOST: (CROSS, "LOST", Tone.BAD),
        Connection.REFUSED: (CROSS, "REFUSED", Tone.BAD),
    }
)
DESIRED_LOOKS: Mapping[DesiredState, Look] = MappingProxyType(
    {
        DesiredState.RUNNING: ("●", "running", Tone.PLAIN),
        DesiredState.DRAINED: ("◒", "drained", Tone.WARN),
        DesiredState.REMOVED: ("□", "removed", Tone.DIM),
        DesiredState.UNKNOWN: ("?", "unknown", Tone.DIM),
    }
)
TRUST_MARKS: Mapping[Trust, str] = MappingProxyType(
    {Trust.FRESH: " ", Trust.AGEING: "~", Trust.STALE: "!", Trust.UNSUPPORTED: UNKNOWN, Trust.UNKNOWN: "?"}
)


def in_words(look: Look) -> Line:
    symbol, word, tone = look
    return span(f"{symbol} ", tone), span(
        word, Tone.DIM if tone is Tone.DIM else tone if tone is not Tone.GOOD else Tone.PLAIN
    )


def engine_state(row: EngineRow, moment: Moment) -> Line:
    """A ready engine that gets no requests is shown hollow."""
    symbol, word, tone = ENGINE_LOOKS[row.state]
    if row.state is EngineState.READY and (not row.routable or is_stale(row, moment.last_known)):
        symbol, tone = "○", Tone.WARN
    return in_words((symbol, word, tone))


def node_state(row: NodeRow, moment: Moment) -> Line:
    return in_words(NODE_LOOKS[state_of_node(row, moment)])


def age_and_trust(row: NodeRow | EngineRow, moment: Moment, width: int) -> Line:
    """How old the figures are, and a mark for how far to trust them; the word too where there is room."""
    trust = trust_now(row.trust, row.last_report_at, moment)
    text = age(row.last_report_at, moment.now)
    tone = Tone.WARN if trust in (Trust.STALE, Trust.AGEING) else Tone.DIM
    word = f" {trust.value}" if width >= 14 and trust is not Trust.FRESH and text != UNKNOWN else ""
    return span(f"{text}{word} ", tone), span(TRUST_MARKS[trust], tone)
