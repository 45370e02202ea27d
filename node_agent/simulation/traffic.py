"""The requests of one simulated engine: when they come and what they look like. Seeded, so that a run can be repeated.

Made by `fleet` for every engine; `engine_process` asks for what arrives between two moments. It knows no clock.
"""

import math
import random
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from controlplane.simulation.requests import SimulatedRequest, prefix_names
from node_agent.simulation.scenario import Lengths, Traffic
from node_agent.simulation.traces import TracedRequest

_CONVERSATIONS_KEPT = 32  # that somebody may go on with


def rate_at(traffic: Traffic, at: float) -> float:
    """Requests a second for the model, on all its engines."""
    phase = 2 * math.pi * (at - traffic.wave_peak_at_seconds) / traffic.wave_seconds
    return traffic.requests_per_second * (1 + traffic.wave_ratio * math.cos(phase))


@dataclass(slots=True)
class Share:
    """Over how many engines a model's traffic is spread now; kept by `fleet`."""

    serving_count: int = 0


@dataclass(slots=True)
class _Conversation:
    names: tuple[int, ...]
    tokens: int


@dataclass(slots=True)
class EngineTraffic:
    """`ordinal` of `engines_count`: which of a trace's requests are this engine's."""

    traffic: Traffic
    share: Share
    random: random.Random
    block_tokens: int
    context_tokens_max: int
    trace: tuple[TracedRequest, ...] = ()
    ordinal: int = 0
    engines_count: int = 1
    _made_count: int = 0
    _conversations: list[_Conversation] = field(default_factory=list)

    def arrivals(self, since: float, until: float) -> Iterator[tuple[float, SimulatedRequest]]:
        if self.trace:
            yield from self._traced(since, until)
            return
        rate = rate_at(self.traffic, (since + until) / 2) / max(1, self.share.serving_count)
        if rate <= 0:
            return
        at = since
        while (at := at + self.random.expovariate(rate)) < until:
            yield at, self._request()

    def _request(self) -> SimulatedRequest:
        traffic, draw = self.traffic, self.random
        names: tuple[int, ...] = ()
        tokens = 0
        if self._conversations and draw.random() < traffic.followup_ratio:
            earlier = self._conversations.pop(draw.randrange(len(self._conversations)))
            names, tokens = earlier.names, earlier.tokens
        elif traffic.shared_prefixes_count and traffic.shared_prefix_tokens:
            # The first prefixes are asked for most, as system prompts are.
            which = int(traffic.shared_prefixes_count * draw.random() ** 2)
            tokens = traffic.shared_prefix_tokens
            names = prefix_names(which + 1, 0, tokens // self.block_tokens)
        return self._made(tokens + self._length(traffic.prompt), self._length(traffic.output), names)

    def _made(self, prompt: int, output: int, names: tuple[int, ...]) -> SimulatedRequest:
        output = min(output, self.context_tokens_max - 1)
        prompt = min(prompt, self.context_tokens_max - output)
        self._made_count += 1
        tail = self.random.getrandbits(63)
        tenants = self.traffic.tenants
        tenant = tenants[int(len(tenants) * self.random.random() ** 2)] if tenants else ""
        names = names[: prompt // self.block_tokens]
        request = SimulatedRequest(f"sim-{tail:016x}", prompt, output, names, tail, tenant)
        if self.traffic.followup_ratio and prompt + output < self.context_tokens_max // 2:
            whole = request.names(0, (prompt + output - 1) // self.block_tokens)
            self._conversations.append(_Conversation(whole, prompt + output))
            del self._conversations[:-_CONVERSATIONS_KEPT]
        return request

    def _length(self, lengths: Lengths) -> int:
        sigma = lengths.spread
        mean = math.log(lengths.mean_tokens) - sigma * sigma / 2
        drawn = self.random.lognormvariate(mean, sigma) if sigma else lengths.mean_tokens
        return max(1, min(int(drawn), lengths.tokens_max))

    def _traced(self, since: float, until: float) -> Iterator[tuple[float, SimulatedRequest]]:
        """The trace, over and over."""
        length = self.trace[-1].at_seconds + 1.0
        speed = self.traffic.trace_speed
        lap = math.floor(since * speed / length)
        while lap * length / speed < until:
            first = bisect_left(self.trace, since * speed - lap * length - 1.0, key=_moment)
            end = bisect_left(self.trace, until * speed - lap * length + 1.0, key=_moment)
            for number in range(first, end):
                row = self.trace[number]
                at = (lap * length + row.at_seconds) / speed
                if number % self.engines_count != self.ordinal:
                    continue
                if since <= at < until:
                    per_block = max(1, row.tokens_per_hash // self.block_tokens)
                    names = tuple(
                        name for part in row.hash_ids for name in prefix_names(part + 1_000_000, 0, per_block)
                    )
                    yield at, self._made(row.prompt_tokens, row.output_tokens, names)
            lap += 1


def _moment(row: TracedRequest) -> float:
    return row.at_seconds
