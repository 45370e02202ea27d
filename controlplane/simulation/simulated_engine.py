"""One engine in virtual time: requests in, tokens out, at the pace of its `EngineModel`. Pure: it waits for nobody.

Driven by the agent's simulated nodes, and by what-ifs. `advance` brings it to a moment, `submit` and `abort` happen at the
moment that it was brought to. It does not cost by the token: while nothing joins or leaves the batch, any number of steps
is one closed form, which is exact to the step model; so it does not matter in how many pieces time is advanced.
"""

from collections import deque

from controlplane.simulation.batch import Batch, Sequence, next_batch, steps_until_full
from controlplane.simulation.engine_model import EngineModel
from controlplane.simulation.kv_blocks import KvBlocks, KvChanges
from controlplane.simulation.requests import EngineEvent, Finished, FirstToken, SimulatedRequest
from controlplane.simulation.step_series import StepSeries, series
from controlplane.simulation.tallies import Counters, Gauges


class _Stretch:
    """Equal steps in a row: of one batch, from one moment on. What was counted before it is kept, to add to."""

    def __init__(self, batch: Batch, steps: StepSeries, began_at: float, counters: Counters) -> None:
        self.batch = batch
        self.steps = steps
        self.began_at = began_at
        self.count_max = 1  # steps that are sure to come; the caller extends it
        self.done = 0
        self.flops, self.read_bytes = counters.flops, counters.read_bytes
        self.write_bytes, self.busy_seconds = counters.write_bytes, counters.busy_seconds
        self.inter_token_seconds = counters.inter_token.sum

    @property
    def scheduled(self) -> int:
        """Steps that have begun."""
        return min(self.done + 1, self.count_max)

    def ends_at(self) -> float:
        return self.began_at + self.steps.seconds(self.count_max)


class SimulatedEngine:
    def __init__(
        self,
        model: EngineModel,
        *,
        blocks_count: int | None = None,
        changes: KvChanges | None = None,
        pace: float = 1.0,
    ) -> None:
        """`blocks_count` None: what fits beside the weights. Raises ValueError when there is room for none."""
        count = model.kv_blocks_count if blocks_count is None else blocks_count
        if count < 1:
            raise ValueError("the model does not fit: its weights leave no room for KV blocks")
        self.model = model
        self.blocks = KvBlocks(count, changes)
        self.counters = Counters()
        self.now = 0.0
        self._pace = pace
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []
        self._stretch: _Stretch | None = None
        self._events: list[EngineEvent] = []

    @property
    def gauges(self) -> Gauges:
        tokens = self.model.limits.block_tokens
        return Gauges(
            self.blocks.blocks_count * tokens, self.blocks.held_count * tokens, len(self._running), len(self._waiting)
        )

    @property
    def idle(self) -> bool:
        return not self._running and not self._waiting

    def fits(self, request: SimulatedRequest) -> bool:
        """Whether it could ever be served: alone in the engine, and within the model's context."""
        tokens = request.prompt_tokens + request.output_tokens
        return (
            tokens <= self.model.shape.context_tokens_max and self.model.blocks_for(tokens) <= self.blocks.blocks_count
        )

    def next_step_ends_at(self) -> float | None:
        """When the step under way ends, which is when something next happens. None: nothing is under way."""
        if self._stretch is None:
            return None
        return self._stretch.began_at + self._stretch.steps.seconds(self._stretch.done + 1)

    def generated(self) -> dict[str, int]:
        """Tokens that are out, of every request that runs."""
        return {sequence.request.request_id: sequence.generated for sequence in self._running}

    def set_pace(self, pace: float) -> None:
        """How much slower than its model the device works from the next step on; 1.0 is as fast."""
        if pace != self._pace:
            self._pace = pace
            self._cut()

    def submit(self, request: SimulatedRequest) -> None:
        """It arrives now. Raises ValueError when it could never be served."""
        if not self.fits(request):
            raise ValueError(f"{request.request_id} is longer than the model's context or than the whole KV cache")
        self._waiting.append(Sequence(request, self.now))
        if len(self._waiting) == 1 and len(self._running) < self.model.limits.sequences_max:
            self._cut()  # it may join at the next step; those behind it could not join before it
        if self._stretch is None:
            self._begin(self.now)

    def abort(self, request_id: str) -> None:
        """Its client left; what runs is dropped when the step under way ends. Unknown ids are ignored."""
        for sequence in self._waiting:
            if sequence.request.request_id == request_id:
                self._waiting.remove(sequence)
                self._finish(sequence, self.now, aborted=True)
                return
        for sequence in self._running:
            if sequence.request.request_id == request_id:
                sequence.aborted = True
                self._cut()

    def advance(self, until: float) -> list[EngineEvent]:
        """Bring the engine to this moment; what happened on the way, in order."""
        while self._stretch is not None:
            stretch = self._stretch
            done = stretch.steps.count_within(until - stretch.began_at, stretch.count_max)
            if done > stretch.done:
                self._do(stretch, done)
            if stretch.done < stretch.count_max:
                break
            self._end(stretch)
        self.now = max(self.now, until)
        events, self._events = self._events, []
        return events

    def _cut(self) -> None:
        """After the step under way the batch is put together anew."""
        if self._stretch is not None:
            self._stretch.count_max = self._stretch.scheduled

    def _begin(self, at: float) -> None:
        batch = next_batch(self.model, self.blocks, self._running, self._waiting, at)
        self.counters.preemptions += len(batch.preempted)
        for sequence in batch.admitted:
            if sequence.generated == 0 and sequence.admitted_at == at:
                self.counters.prefix_query_tokens += sequence.request.prompt_tokens
                self.counters.prefix_hit_tokens += sequence.cached_tokens or 0
        if not batch:
            self._stretch = None
            return
        contexts = sum(sequence.computed for sequence in batch.decoding)
        prefills = tuple((tokens, sequence.computed) for sequence, tokens in batch.prefills)
        steps = series(self.model, len(batch.decoding), contexts, prefills, pace=self._pace)
        self._stretch = stretch = _Stretch(batch, steps, at, self.counters)
        if not prefills and not batch.preempted:
            shortest = min(sequence.left for sequence in batch.decoding)
            stretch.count_max = steps_until_full(self.model, self.blocks, batch.decoding, shortest)
        for sequence, tokens in batch.prefills:
            self._name(sequence, sequence.computed + tokens)
        for sequence in batch.decoding:
            self._name(sequence, sequence.computed + 1)

    def _do(self, stretch: _Stretch, done: int) -> None:
        """The stretch's steps up to `done` have ended, and the next one of it has begun."""
        counters, batch, steps = self.counters, stretch.batch, stretch.steps
        since, stretch.done = stretch.done, done
        work, seconds, decoding = steps.work(done), steps.seconds(done), len(batch.decoding)
        counters.flops = stretch.flops + work.flops
        counters.read_bytes = stretch.read_bytes + work.read_bytes
        counters.write_bytes = stretch.write_bytes + work.write_bytes
        counters.busy_seconds = stretch.busy_seconds + seconds
        counters.steps += done - since
        counters.generation_tokens += decoding * (done - since)
        counters.step_tokens += decoding * (done - since) + sum(tokens for _, tokens in batch.prefills)
        if decoding:
            counters.inter_token.count_steps(steps, since, done, decoding)
            counters.inter_token.sum = stretch.inter_token_seconds + decoding * seconds
        begun = stretch.scheduled - done
        for sequence in batch.decoding:
            sequence.computed += done - since
            sequence.generated += done - since
            self._hold(sequence, sequence.computed + begun)
        for sequence, tokens in batch.prefills:
            sequence.computed += tokens

    def _end(self, stretch: _Stretch) -> None:
        at = stretch.ends_at()
        for sequence in stretch.batch.decoding:
            sequence.last_token_at = at
        for sequence, _ in stretch.batch.prefills:
            if sequence.decoding:
                self._sampled(sequence, at)
        for sequence in [*self._running]:
            if sequence.left <= 0 or sequence.aborted:
                self._running.remove(sequence)
                self.blocks.release(sequence.holding)
                self._finish(sequence, at, aborted=sequence.left > 0)
        self._begin(at)

    def _sampled(self, sequence: Sequence, at: float) -> None:
        """A prefill has ended, with a token."""
        counters, request = self.counters, sequence.request
        counters.generation_tokens += 1
        if sequence.first_token_at is None:
            counters.prompt_tokens += request.prompt_tokens
            sequence.first_token_at = at
            ttft = at - sequence.arrived_at
            counters.ttft.add(ttft)
            queued = (sequence.admitted_at or 0.0) - sequence.arrived_at
            self._events.append(FirstToken(request, at, queued, ttft, sequence.cached_tokens or 0))
        else:
            counters.inter_token.add(at - (sequence.last_token_at or at))
        sequence.generated += 1
        sequence.last_token_at = at

    def _finish(self, sequence: Sequence, at: float, *, aborted: bool) -> None:
        if not aborted:
            self.counters.requests_finished += 1
        arrived, admitted, first = sequence.arrived_at, sequence.admitted_at, sequence.first_token_at
        self._events.append(
            Finished(
                sequence.request,
                arrived,
                at,
                sequence.generated,
                sequence.cached_tokens or 0,
                None if admitted is None else admitted - arrived,
                None if first is None else first - arrived,
                aborted,
            )
        )

    def _hold(self, sequence: Sequence, tokens: int) -> None:
        wanted = self.model.blocks_for(tokens) - sequence.holding.count
        if wanted > 0:
            self.blocks.grow(sequence.holding, wanted)
            self._name(sequence, tokens)
        elif tokens % self.model.limits.block_tokens == 0:
            self._name(sequence, tokens)

    def _name(self, sequence: Sequence, tokens: int) -> None:
        """Blocks that are full with so many tokens are known from now on."""
        first, end = len(sequence.holding.shared), tokens // self.model.limits.block_tokens
        if first < end and not sequence.holding.copied:
            again = self.blocks.name_full(sequence.holding, sequence.request.names(first, end))
            if again:
                blocks = [first + place for place in again]
                self.counters.recomputed.add(sequence.request.tenant, blocks, self.model, self._pace)
