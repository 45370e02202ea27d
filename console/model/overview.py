"""What the console concludes from a view before it draws: the moment, trust, what is wrong, where a roofline point lies.

Screens and widgets call it at every update and once a second. Pure: `now` comes in with the `Moment`, nothing is drawn and
nothing is asked of the control plane.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from console.model.fleet_view import (
    Connection,
    EngineRow,
    EngineState,
    EventRow,
    FleetView,
    NodeRow,
    ServerRow,
    Severity,
    Trust,
)
from console.model.format import age_seconds, clean, duration, quantity
from console.model.hardware import faults_of


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, by the daemon's clock, and how good the link is: what ages and trust are judged by."""

    now: datetime | None = None  # None: no word from the daemon yet
    connection: Connection = Connection.CONNECTING
    note: str = ""  # what the link says of itself
    as_of: datetime | None = None  # the daemon's clock at the last update
    stale_seconds: float | None = None  # the daemon's own limits; None until it told
    lost_seconds: float | None = None

    @property
    def live(self) -> bool:
        return self.connection is Connection.LIVE

    @property
    def lost(self) -> bool:
        """What is shown is only what was known last."""
        return self.connection in (Connection.LOST, Connection.REFUSED)

    @property
    def last_known(self) -> "Moment":
        """The moment to judge states by: with a lost link that of the last update, since the silence is then our own."""
        return replace(self, now=self.as_of) if self.lost else self


class Topic(Enum):
    """What a problem is about, and so where a key press on it leads."""

    ENGINE = "engine"
    NODE = "node"
    MODEL = "model"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Problem:
    severity: Severity
    topic: Topic
    subject: str  # an engine's id, a node's or a model's name; "" for the control plane itself
    state: str  # one or two words: "failed", "no engine"
    detail: str  # a sentence for people; may be ""
    since: datetime | None

    @property
    def key(self) -> str:
        return f"{self.topic.value}:{self.subject}:{self.state}"


class NodeState(Enum):
    """How a node is, in the word that every screen and command uses for it. The first that holds, from below."""

    UP = "up"
    FAULTY = "faulty"  # something is wrong with a device of it
    CORDONED = "cordoned"  # takes no new placements
    CUT_OFF = "cut off"  # its stream is cut, and its last report is young
    STALE = "stale"  # silent for longer than the daemon's stale_seconds
    LOST = "lost"  # silent for longer than its lost_seconds
    SILENT = "silent"  # no report since the daemon started


class Bound(Enum):
    """What limits an engine's steps."""

    MEMORY = "memory"
    COMPUTE = "compute"


def trust_now(trust: Trust, last_report_at: datetime | None, moment: Moment) -> Trust:
    """The daemon's word on a row, or stale when its age says so by now (a lost link tells of no change)."""
    seconds = age_seconds(last_report_at, moment.now)
    if trust in (Trust.FRESH, Trust.AGEING) and seconds is not None and moment.stale_seconds:
        return Trust.STALE if seconds >= moment.stale_seconds else trust
    return trust


def is_stale(row: NodeRow | EngineRow, moment: Moment) -> bool:
    return trust_now(row.trust, row.last_report_at, moment) in (Trust.STALE, Trust.UNKNOWN)


def moment_of(view: FleetView) -> Moment:
    """The moment of a view that the control plane has just answered with."""
    server = view.server
    return Moment(
        now=view.now,
        connection=Connection.LIVE,
        as_of=view.now,
        stale_seconds=server.stale_seconds if server else None,
        lost_seconds=server.lost_seconds if server else None,
    )


def node_state(row: NodeRow, moment: Moment) -> NodeState:
    """With a lost link: as it was when the link went."""
    moment = moment.last_known
    silent_seconds = age_seconds(row.last_report_at, moment.now)
    if silent_seconds is None:
        return NodeState.SILENT
    if moment.lost_seconds and silent_seconds >= moment.lost_seconds:
        return NodeState.LOST
    if is_stale(row, moment):
        return NodeState.STALE
    if not row.connected:
        return NodeState.CUT_OFF
    if row.cordoned:
        return NodeState.CORDONED
    return NodeState.FAULTY if faults_of(row.health) else NodeState.UP


def bound(intensity: float | None, ridge: float | None) -> Bound | None:
    if intensity is None or ridge is None or ridge <= 0:
        return None
    return Bound.MEMORY if intensity < ridge else Bound.COMPUTE


def problems(view: FleetView, moment: Moment) -> tuple[Problem, ...]:
    """All that is wrong now, worst first, then newest first; always in the same order for the same facts.

    With a lost link: all that was wrong when it went. Nodes do not count as silent because this console is.
    """
    moment = moment.last_known
    found = [
        *_server_problems(view.server),
        *_node_problems(view, moment),
        *_engine_problems(view),
        *_model_problems(view),
    ]
    worst = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}

    def rank(problem: Problem) -> tuple[int, float, str]:
        return worst[problem.severity], -(problem.since.timestamp() if problem.since else 0.0), problem.key

    return tuple(sorted(found, key=rank))


def quiet_since(view: FleetView) -> datetime | None:
    """When the last warning or error happened, as far as the kept events tell; None: none of them is one."""
    return next((event.at for event in reversed(view.events) if event.severity is not Severity.INFO), None)


def oldest_report_seconds(view: FleetView, moment: Moment) -> float | None:
    """The age of the oldest report that the screen shows; None when nothing was reported."""
    rows: list[NodeRow | EngineRow] = [*view.nodes.values(), *view.engines.values()]
    ages = [age_seconds(row.last_report_at, moment.now) for row in rows]
    return max((seconds for seconds in ages if seconds is not None), default=None)


def events_about(view: FleetView, *, node: str = "", engine_id: str = "") -> tuple[EventRow, ...]:
    """The events of a node, with those of its engines, or of one engine; oldest first."""
    on_node = {row.engine_id for row in view.engines.values() if node and row.node == node}
    return tuple(
        event
        for event in view.events
        if (node and (event.node == node or event.engine_id in on_node)) or (engine_id and event.engine_id == engine_id)
    )


def _server_problems(server: ServerRow | None) -> Iterator[Problem]:
    if server is None:
        return
    if server.gateway_state != "serving":
        severity = Severity.WARNING if server.gateway_state == "starting" else Severity.ERROR
        detail = "clients cannot send requests" if severity is Severity.ERROR else "clients have to wait"
        yield Problem(severity, Topic.SERVER, "", "gateway", f"{clean(server.gateway_state)}: {detail}", None)
    if server.database_away_since is not None:
        waiting = (
            f"{quantity(server.samples_waiting)} samples and {quantity(server.events_waiting)} events wait in memory"
        )
        detail = f"{clean(server.database_problem)}. Requests are served; {waiting}"
        yield Problem(Severity.ERROR, Topic.SERVER, "", "database away", detail, server.database_away_since)
    if server.samples_dropped_total:
        detail = f"{quantity(server.samples_dropped_total)} never reached the history: is the database slow?"
        yield Problem(Severity.WARNING, Topic.SERVER, "", "samples dropped", detail, None)
    if server.events_dropped_total:
        detail = f"{quantity(server.events_dropped_total)} never reached the event log: is the database slow?"
        yield Problem(Severity.WARNING, Topic.SERVER, "", "events dropped", detail, None)


def _node_problems(view: FleetView, moment: Moment) -> Iterator[Problem]:
    for row in view.nodes.values():
        yield from _fault_problems(row)
        state = node_state(row, moment)
        heard = f"last heard {duration(age_seconds(row.last_report_at, moment.now))} ago"
        if state is NodeState.SILENT:
            severity, detail = Severity.WARNING, "no report since the daemon started"
        elif state is NodeState.LOST:
            severity, detail = Severity.ERROR, f"{heard}; its engines may still run"
        elif state is NodeState.STALE:
            severity, detail = Severity.WARNING, heard + ("" if row.connected else ", its stream is cut")
        elif state is NodeState.CUT_OFF:
            severity, detail = Severity.WARNING, "its stream is cut"
        else:
            continue
        yield Problem(severity, Topic.NODE, row.name, state.value, detail, row.last_report_at)


def _fault_problems(row: NodeRow) -> Iterator[Problem]:
    """One for each device: its worst fault, and how many more it has."""
    faults = faults_of(row.health)
    for device_id in sorted({device_id for device_id, _ in faults}):
        worst, *others = [fault for device, fault in faults if device == device_id]
        more = f" (and {len(others)} more)" if others else ""
        detail = f"{worst.message}{more}" + (f": {worst.action}" if worst.action else "")
        severity = Severity.ERROR if worst.severity == "error" else Severity.WARNING
        yield Problem(severity, Topic.NODE, row.name, f"fault {device_id}", detail, worst.since)


def _engine_problems(view: FleetView) -> Iterator[Problem]:
    for row in view.engines.values():
        if row.state is EngineState.FAILED:
            yield Problem(Severity.ERROR, Topic.ENGINE, row.engine_id, "failed", row.reason, row.state_since)
        elif row.state is EngineState.BACKING_OFF:
            yield Problem(Severity.WARNING, Topic.ENGINE, row.engine_id, "backing off", row.reason, row.state_since)


def _model_problems(view: FleetView) -> Iterator[Problem]:
    for row in view.models.values():
        if row.engines_routable == 0:
            detail = f"none of its {row.engines_total} can be used" if row.engines_total else "nothing is placed for it"
            yield Problem(Severity.ERROR, Topic.MODEL, row.name, "no engine", detail, None)
