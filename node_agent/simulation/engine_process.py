"""The life of one simulated engine: it starts by stages, serves, crashes, backs off, drains and stops, in virtual time.

Driven by `node`, which tells it the time. It gives the same facts as the supervisor does of a real engine; the tokens are
the engine model's. It waits for nothing and starts nothing.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from controlplane.simulation.engine_model import EngineModel
from controlplane.simulation.kv_blocks import KvChanges
from controlplane.simulation.requests import EngineEvent, SimulatedRequest
from controlplane.simulation.simulated_engine import SimulatedEngine
from controlplane.simulation.tallies import Tally
from node_agent.session.facts import EngineCounters, EngineGauges, EngineSpec, EngineState, EngineStatus, Histogram
from node_agent.session.inside import ModelShape, RecomputeBill
from node_agent.simulation.accounts import Holder, bills_of
from node_agent.simulation.traffic import EngineTraffic

ENGINE_VERSION = "simulated"
_LOAD_BYTES_PER_SECOND = 2.0e9  # from a local disk, on each device
_STAGES = (("starting the process", 12.0), ("compiling", 20.0), ("capturing graphs", 8.0))
_BACKOFF_SECONDS = (5.0, 15.0, 60.0)
_SERVED_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/models")
_STOP_SECONDS = 1.0
_REQUESTS_MIN = 10  # fewer say nothing of their length


@dataclass(frozen=True, slots=True)
class Plan:
    """What does not change while the placement's generation is the same."""

    spec: EngineSpec
    model: EngineModel
    device_ids: tuple[str, ...]
    start_speed: float
    traffic: Callable[[str], EngineTraffic | None]  # of an instance; None: nobody asks anything here
    facts: ModelShape  # the model, as it is reported
    pace: float = 1.0  # how much slower than its model it works from the start
    keeps_changes: bool = False  # of its KV blocks, for whoever publishes them


class EngineProcess:
    """`moment` turns simulated seconds into the node's own wall clock."""

    def __init__(
        self, plan: Plan, at: float, *, draw: random.Random, on_serving: Callable[[int], None], running: bool = False
    ) -> None:
        """`on_serving` is told +1 and -1 as it begins and ends to serve; `running`: it was there before we looked."""
        self.plan = plan
        self.restart_count = 0
        self.reason = ""
        self.state = EngineState.STARTING
        self.since = at
        self.retry_at: float | None = None
        self.engine: SimulatedEngine | None = None
        self.changes: KvChanges | None = None
        self.endpoint = ""
        self.on_events: Callable[[list[EngineEvent]], None] | None = None
        self._draw = draw
        self._on_serving = on_serving
        self._at = at
        self._born_at = at
        self._deadline: float | None = None
        self._pace = plan.pace
        self._traffic: EngineTraffic | None = None
        self._histograms: dict[str, tuple[str, int, Histogram]] = {}
        self._bills: tuple[str, int, tuple[RecomputeBill, ...]] = ("", 0, ())
        self._stages = self._stage_ends(at)
        self.instance_id = self._new_instance()
        if running:
            self._serve(at)

    @property
    def stage(self) -> str:
        if self.state is not EngineState.STARTING:
            return ""
        return next((name for name, end in self._stages if self._at < end), self._stages[-1][0])

    @property
    def serving(self) -> bool:
        return self.engine is not None

    @property
    def ended(self) -> bool:
        return self.state is EngineState.STOPPED

    def advance(self, until: float) -> None:
        while True:
            due = self._next_change()
            if due is None or due > until:
                break
            self._run(due)
            self._change(due)
        self._run(until)

    def stop(self, at: float, drain_seconds_max: float) -> None:
        """No new requests from now on; those that it has may finish until the deadline."""
        if self.state in (EngineState.STOPPED, EngineState.STOPPING):
            return
        if self.state in (EngineState.READY, EngineState.DRAINING):
            self._deadline = at + drain_seconds_max
            self._become(EngineState.DRAINING, at)
        else:
            self._become(EngineState.STOPPING, at)

    def crash(self, at: float, reason: str) -> None:
        if self.state not in (EngineState.READY, EngineState.STARTING, EngineState.DRAINING):
            return
        self._leave()
        self.reason = reason
        wait = _BACKOFF_SECONDS[min(self.restart_count, len(_BACKOFF_SECONDS) - 1)]
        self.retry_at = at + wait
        self._become(EngineState.BACKING_OFF, at)

    def set_pace(self, pace: float) -> None:
        self._pace = pace * self.plan.pace
        if self.engine is not None:
            self.engine.set_pace(self._pace)

    def submit(self, request: SimulatedRequest) -> None:
        """At the moment that it was advanced to. Raises ValueError when it serves nobody, or never could serve this."""
        if self.engine is None or self.state is not EngineState.READY:
            raise ValueError("the engine is not ready")
        self.engine.submit(request)

    def status(self, moment: Callable[[float], datetime], *, readable: bool = True) -> EngineStatus:
        """`readable` False: its metrics are garbage, so nothing is known of them."""
        spec, engine = self.plan.spec, self.engine
        shape = self.plan.model.shape
        gauges, counters = EngineGauges(), EngineCounters()
        bills: tuple[RecomputeBill, ...] = ()
        if engine is not None and readable:
            now = engine.gauges
            gauges = EngineGauges(now.kv_capacity_tokens, now.kv_used_tokens, now.running, now.waiting)
            counters = self._counters(engine)
            bills = self._recompute(engine)
        return EngineStatus(
            engine_id=spec.engine_id,
            generation=spec.generation,
            instance_id=self.instance_id,
            model=spec.model,
            state=self.state,
            state_since=moment(self.since),
            stage=self.stage,
            reason=self.reason,
            endpoint=self.endpoint,
            device_ids=self.plan.device_ids,
            engine_version=ENGINE_VERSION,
            restart_count=self.restart_count,
            retry_at=None if self.retry_at is None else moment(self.retry_at),
            context_tokens_max=shape.context_tokens_max,
            served_paths=_SERVED_PATHS if self.endpoint else (),
            dtype="bfloat16",
            gauges=gauges,
            counters=counters,
            measured_at=moment(self._at) if engine is not None and readable else None,
            shape=self.plan.facts,
            recompute=bills,
        )

    def holder(self) -> Holder | None:
        """What it holds of its devices' memory; None while it holds nothing."""
        if self.engine is None:
            return None
        counters, plan = self.engine.counters, self.plan
        mean = None
        if counters.requests_finished >= _REQUESTS_MIN:
            mean = (counters.prompt_tokens + counters.generation_tokens) / counters.requests_finished
        return Holder(plan.spec.engine_id, plan.device_ids, plan.model, plan.facts, mean)

    def _run(self, until: float) -> None:
        """Serve from where we are up to `until`."""
        engine = self.engine
        if engine is not None and until > self._at:
            if self._traffic is not None and self.state is EngineState.READY:
                for at, request in self._traffic.arrivals(self._at, until):
                    self._heard(engine.advance(at - self._born_at))
                    if engine.fits(request):
                        engine.submit(request)
            self._heard(engine.advance(until - self._born_at))
        self._at = max(self._at, until)

    def _heard(self, events: list[EngineEvent]) -> None:
        if events and self.on_events is not None:
            self.on_events(events)

    def _next_change(self) -> float | None:
        """When it goes on to another state by itself."""
        match self.state:
            case EngineState.STARTING:
                return self._stages[-1][1]
            case EngineState.BACKING_OFF:
                return self.retry_at
            case EngineState.STOPPING:
                return self.since + _STOP_SECONDS
            case EngineState.DRAINING if self.engine is not None and self.engine.idle:
                return self._at
            case EngineState.DRAINING:
                return self._deadline
        return None

    def _change(self, at: float) -> None:
        match self.state:
            case EngineState.STARTING:
                self._serve(at)
            case EngineState.BACKING_OFF:
                self.restart_count += 1
                self.retry_at, self.reason = None, ""
                self.instance_id = self._new_instance()
                self._stages = self._stage_ends(at)
                self._become(EngineState.STARTING, at)
            case EngineState.DRAINING:
                self._leave()
                self._become(EngineState.STOPPING, at)
            case EngineState.STOPPING:
                self._leave()
                self._become(EngineState.STOPPED, at)

    def _serve(self, at: float) -> None:
        self.changes = KvChanges() if self.plan.keeps_changes else None
        try:
            self.engine = SimulatedEngine(self.plan.model, changes=self.changes, pace=self._pace)
        except ValueError as error:
            self.reason = f"{error}; use more devices, or a smaller model"
            self._become(EngineState.FAILED, at)
            return
        self._born_at = at
        self._traffic = self.plan.traffic(self.instance_id)
        self._on_serving(1)
        self._become(EngineState.READY, at)

    def _leave(self) -> None:
        if self.engine is not None:
            self.engine.blocks.clear()
            self.engine = None
            self._on_serving(-1)

    def _become(self, state: EngineState, at: float) -> None:
        self.state, self.since = state, at

    def _stage_ends(self, at: float) -> tuple[tuple[str, float], ...]:
        limits = self.plan.model.limits
        load = self.plan.model.shape.weights_bytes / (_LOAD_BYTES_PER_SECOND * limits.tensor_parallel)
        stages = [_STAGES[0], ("loading weights", load), *_STAGES[1:]]
        ends = []
        for name, seconds in stages:
            at += seconds / self.plan.start_speed
            ends.append((name, at))
        return tuple(ends)

    def _new_instance(self) -> str:
        return f"{self._draw.getrandbits(64):016x}"

    def _counters(self, engine: SimulatedEngine) -> EngineCounters:
        counters = engine.counters
        return EngineCounters(
            prompt_tokens=counters.prompt_tokens,
            generation_tokens=counters.generation_tokens,
            steps=counters.steps,
            step_tokens=counters.step_tokens,
            prefix_query_tokens=counters.prefix_query_tokens,
            prefix_hit_tokens=counters.prefix_hit_tokens,
            preemptions=counters.preemptions,
            requests_finished=counters.requests_finished,
            flops=counters.flops,
            bytes=counters.read_bytes + counters.write_bytes,
            ttft_seconds=self._histogram("ttft", counters.ttft, counters.requests_finished + counters.prompt_tokens),
            inter_token_seconds=self._histogram("inter_token", counters.inter_token, counters.generation_tokens),
        )

    def _recompute(self, engine: SimulatedEngine) -> tuple[RecomputeBill, ...]:
        """The same object while nothing was added."""
        recomputed = engine.counters.recomputed
        if not recomputed.tokens:
            return ()
        if self._bills[:2] != (self.instance_id, recomputed.tokens):
            self._bills = (self.instance_id, recomputed.tokens, bills_of(recomputed))
        return self._bills[2]

    def _histogram(self, name: str, tally: Tally, mark: int) -> Histogram:
        """The same object while nothing was added: `mark` moves whenever something is."""
        known = self._histograms.get(name)
        if known is None or known[:2] != (self.instance_id, mark):
            known = (self.instance_id, mark, Histogram(tally.bounds, tuple(tally.counts), tally.sum))
            self._histograms[name] = known
        return known[2]


def model_facts(model: EngineModel) -> ModelShape:
    shape, limits = model.shape, model.limits
    return ModelShape(
        parameters=shape.parameters_count,
        active_parameters=shape.active_count,
        layers=shape.layers_count,
        hidden_size=shape.hidden_size,
        attention_heads=shape.attention_heads_count,
        kv_heads=shape.kv_heads_count,
        head_size=shape.head_size,
        vocabulary_size=shape.vocabulary_size,
        weights_bytes=int(shape.weights_bytes),
        kv_block_tokens=limits.block_tokens,
        kv_blocks=model.kv_blocks_count,
        kv_bytes_per_token=model.kv_bytes_per_token,
        sequences_max=limits.sequences_max,
        batched_tokens_max=limits.batched_tokens_max,
        tensor_parallel=limits.tensor_parallel,
    )
