"""What the fleet's engines have done since this daemon started: sums that only grow, though engines restart and go.

An engine counts from the start of its process; here growth is added up by model, provider and region. What it had counted
before we first heard of it is not ours and is left out; a process that begins while we watch counts from zero.

Read for metrics: `lend` on the event loop, `take` in a thread, `give_back` on the loop, one reader at a time. Between readings
it costs a look at what is notable anyway: `on_change` takes an engine's last reading before another process, or its end, hides
that. Nothing here does I/O.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import add, sub
from typing import NamedTuple

from controlplane.fleet.history import FleetEvent
from controlplane.fleet.observed import EngineReport, EngineState
from controlplane.fleet.snapshot import EngineObserved, FleetSnapshot
from controlplane.runtime.deployed_models import OTHER, DeployedModels

COUNTERS = (
    "prompt_tokens",
    "generation_tokens",
    "steps",
    "step_tokens",
    "prefix_query_tokens",
    "prefix_hit_tokens",
    "preemptions",
    "requests_finished",
    "flops",
    "moved_bytes",
    "busy_seconds",
    "recompute_tokens",
    "recompute_flops",
    "recompute_seconds",
)
_FLOPS, _MOVED = COUNTERS.index("flops"), COUNTERS.index("moved_bytes")
_COUNT = len(COUNTERS) + 2
Values = tuple[float | None, ...]
_NOTHING: Values = (None,) * _COUNT


class Group(NamedTuple):
    """What is added up together. Names are the fleet's own: `model` is a deployed one, or "other"."""

    model: str
    provider: str
    region: str


@dataclass(frozen=True, slots=True)
class Totals:
    """Of one group, in the order of COUNTERS. A value is None as long as nobody has told: that is not zero."""

    values: Values
    restarts: int


@dataclass(slots=True)
class _Sums:
    """Of one group. There are two more than counters: FLOPs and bytes as plug-ins tell them."""

    sums: list[float]
    told: list[bool]
    restarts: int = 0


@dataclass(slots=True)
class _Known:
    """How far one engine is taken in. Its report is not kept: the fleet's memory should hold one of each, not two."""

    instance_id: str
    values: Values
    dense: Sequence[float]  # the values, 0 where there is none
    unknown_count: int
    whole: bool  # its process began while we watched, so its first figure is growth


def group_of(snapshot: FleetSnapshot, engine: EngineObserved, models: frozenset[str]) -> Group:
    """`models`: those that are deployed."""
    node = snapshot.desired.nodes.get(engine.node)
    model = engine.report.model if engine.report.model in models else OTHER
    return Group(model, node.location.provider, node.location.region) if node else Group(model, "", "")


class EngineTotals:
    def __init__(self) -> None:
        self._models = DeployedModels()
        self._known: dict[str, _Known] = {}
        self._sums: dict[Group, _Sums] = {}
        self._lent = False
        self._meanwhile: list[tuple[Group, EngineObserved]] = []

    def on_change(self, before: FleetSnapshot, after: FleetSnapshot, notables: tuple[FleetEvent, ...]) -> None:
        """Take what is about to be hidden, and what is seen for the first time."""
        for event in notables:
            if not event.engine_id:
                continue
            for snapshot in (before, after):
                engine = snapshot.engines.get(event.engine_id)
                if engine is not None:
                    item = group_of(snapshot, engine, self._models.of(snapshot)), engine
                    if self._lent:
                        self._meanwhile.append(item)
                    else:
                        self._add(*item)

    def lend(self) -> None:
        """From here to `give_back` a thread may call `take`; what happens meanwhile waits."""
        self._lent = True

    def take(self, engines: Mapping[str, tuple[Group, EngineObserved]]) -> dict[Group, Totals]:
        """The totals with everything that the fleet's engines, by id, tell now. The caller gets copies."""
        for group, engine in engines.values():
            self._add(group, engine)
        for engine_id in self._known.keys() - engines.keys():
            del self._known[engine_id]
        return {group: _totals(sums) for group, sums in self._sums.items()}

    def give_back(self) -> None:
        self._lent = False
        waiting, self._meanwhile = self._meanwhile, []
        for group, engine in waiting:
            self._add(group, engine)

    def _add(self, group: Group, engine: EngineObserved) -> None:
        report = engine.report
        known = self._known.get(report.engine_id)
        if engine.restored or not report.instance_id:
            return
        sums = self._sums.get(group)
        if sums is None:
            sums = self._sums[group] = _Sums([0.0] * _COUNT, [False] * _COUNT)
        new = _values(report)
        if known is None:
            began = report.state is EngineState.STARTING
            known = self._known[report.engine_id] = _Known(
                report.instance_id, _NOTHING if began else new, (), -1, began
            )
        elif known.instance_id != report.instance_id:
            sums.restarts += 1
            known.instance_id, known.values, known.unknown_count, known.whole = report.instance_id, _NOTHING, -1, True
        elif _grow_at_once(sums, known, new):
            return
        _grow_one_by_one(sums, known, new)


def _totals(sums: _Sums) -> Totals:
    """Where both tell FLOPs and bytes, the engine's own /metrics count; but a group may have engines of both kinds."""
    values: list[float | None] = [
        value if told else None for value, told in zip(sums.sums[: len(COUNTERS)], sums.told, strict=False)
    ]
    for at, inside in ((_FLOPS, -2), (_MOVED, -1)):
        if sums.told[inside]:
            values[at] = (values[at] or 0.0) + sums.sums[inside]
    return Totals(tuple(values), sums.restarts)


def _grow_at_once(sums: _Sums, known: _Known, new: Values) -> bool:
    """The usual case, quickly: the same figures are told as before, and none went back. False: look at each."""
    unknown_count = new.count(None)
    if unknown_count != known.unknown_count:
        return False
    dense = _dense(new)
    growth = list(map(sub, dense, known.dense))
    if min(growth) < 0:
        return False
    sums.sums = list(map(add, sums.sums, growth))
    known.values, known.dense = new, dense
    return True


def _grow_one_by_one(sums: _Sums, known: _Known, new: Values) -> None:
    """A figure that went back is a fault of who tells it, and adds nothing; one that is not told now is as it was."""
    old = known.values
    for at, now, was in zip(range(_COUNT), new, old, strict=True):
        if (
            now is None
            or (at == _COUNT - 2 and old[_FLOPS] is not None)
            or (at == _COUNT - 1 and old[_MOVED] is not None)
        ):
            continue
        sums.told[at] = True
        if was is not None:
            sums.sums[at] += max(0.0, now - was)
        elif known.whole:
            sums.sums[at] += now
    known.values = tuple([was if now is None else now for now, was in zip(new, old, strict=True)])
    known.dense, known.unknown_count = _dense(known.values), new.count(None)


def _dense(values: Values) -> list[float]:
    return [0.0 if value is None else value for value in values]


def _values(report: EngineReport) -> Values:
    """In the order of COUNTERS, and behind them the plug-in's FLOPs and bytes where /metrics do not tell them."""
    counters = report.counters
    steps = report.inside.steps if report.inside is not None else None
    tokens = flops = seconds = None
    if report.recompute:
        tokens = sum(bill.tokens for bill in report.recompute)
        flops = _sum([bill.flops for bill in report.recompute])
        seconds = _sum([bill.seconds for bill in report.recompute])
    return (
        counters.prompt_tokens,
        counters.generation_tokens,
        counters.steps,
        counters.step_tokens,
        counters.prefix_query_tokens,
        counters.prefix_hit_tokens,
        counters.preemptions,
        counters.requests_finished,
        counters.flops,
        counters.bytes,
        None if steps is None else steps.busy_seconds,
        tokens,
        flops,
        seconds,
        None if steps is None or counters.flops is not None else steps.flops,
        None if steps is None or counters.bytes is not None else steps.read_bytes + steps.write_bytes,
    )


def _sum(parts: list[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if known else None
