"""What a simulated engine is asked, and what it tells of it. Frozen values; `simulated_engine` makes the events."""

from dataclasses import dataclass

_MASK = (1 << 64) - 1


def block_name(seed: int, index: int) -> int:
    """The name of a prefix's block: one 64-bit number for every (seed, index), well spread. Not a secret."""
    value = (seed * 0x9E3779B97F4A7C15 + (index + 1) * 0xD1B54A32D192ED03) & _MASK
    value ^= value >> 29
    value = (value * 0xBF58476D1CE4E5B9) & _MASK
    return value ^ (value >> 32)


def prefix_names(seed: int, first: int, count: int) -> tuple[int, ...]:
    """The blocks `first` … of the prefix that `seed` stands for."""
    return tuple(block_name(seed, index) for index in range(first, first + count))


@dataclass(frozen=True, slots=True)
class SimulatedRequest:
    request_id: str
    prompt_tokens: int
    output_tokens: int
    # Names of the prompt's full blocks, each standing for the whole prefix up to its end; two requests that begin alike
    # begin with the same names. Blocks beyond these are named after `tail`, which no other request may have.
    prefix: tuple[int, ...] = ()
    tail: int = 0
    tenant: str = ""

    def __post_init__(self) -> None:
        if self.prompt_tokens < 1 or self.output_tokens < 1:
            raise ValueError("a request has at least one token in its prompt and asks for at least one")

    def names(self, first: int, end: int) -> tuple[int, ...]:
        """Of the blocks from `first` up to, not including, `end`."""
        known = self.prefix[first:end]
        start = first + len(known)
        return known + prefix_names(self.tail, start, end - start) if start < end else known


@dataclass(frozen=True, slots=True)
class FirstToken:
    """The prompt is computed and the first token is out. Times are seconds of the engine's own virtual time."""

    request: SimulatedRequest
    at_seconds: float
    queue_seconds: float
    ttft_seconds: float
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class Finished:
    """All tokens are out, or the client left."""

    request: SimulatedRequest
    arrived_at_seconds: float
    at_seconds: float
    generated_tokens: int
    cached_tokens: int
    queue_seconds: float | None  # None: it never ran
    ttft_seconds: float | None  # None: there was no token
    aborted: bool = False

    @property
    def inter_token_seconds_mean(self) -> float | None:
        if self.ttft_seconds is None or self.generated_tokens < 2:
            return None
        after_first = self.at_seconds - self.arrived_at_seconds - self.ttft_seconds
        return after_first / (self.generated_tokens - 1)


EngineEvent = FirstToken | Finished
