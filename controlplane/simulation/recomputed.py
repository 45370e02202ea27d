"""What computing again cost that had been cached before, by tenant: counted as a simulated engine does it. Pure.

Kept in `tallies.Counters`, written by `simulated_engine`. FLOPs are those of the engine model; the seconds are what they
take of a step that arithmetic bounds, as prefills do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from controlplane.simulation.engine_model import EngineModel

_TENANTS_MAX = 1024  # whose names come from outside when the engine answers requests


@dataclass(slots=True)
class RecomputedSum:
    tokens: int = 0
    flops: float = 0.0
    seconds: float = 0.0


@dataclass(slots=True)
class Recomputed:
    """Since the engine's start. The tenant "" is all those beyond the first thousand, and requests without one."""

    tokens: int = 0  # in all
    by_tenant: dict[str, RecomputedSum] = field(default_factory=dict)

    def add(self, tenant: str, blocks: Sequence[int], model: EngineModel, pace: float) -> None:
        """These blocks of a request, counted from the start of its prefix, had been there and were given up."""
        if tenant not in self.by_tenant and len(self.by_tenant) >= _TENANTS_MAX:
            tenant = ""
        known = self.by_tenant.setdefault(tenant, RecomputedSum())
        tokens = model.limits.block_tokens
        flops = sum(model.prefill_flops(tokens, block * tokens) for block in blocks)
        known.tokens += tokens * len(blocks)
        known.flops += flops
        known.seconds += pace * flops / model.reached_flops_per_second
        self.tokens += tokens * len(blocks)
