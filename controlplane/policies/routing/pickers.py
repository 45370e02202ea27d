"""From costs to an order. Pure: random draws are passed in; called by `policies.routing.route`.

Engines that cost the same within a hundredth of a second are the same to a client: among them the one with fewest requests
in flight goes first, then the draw decides, so that no herd forms. The list goes on in other failure domains: a fallback in
the provider that just failed would be no fallback.
"""

from collections.abc import Mapping, Sequence

from controlplane.policies.decision import Cost
from controlplane.policies.routing.candidates import Candidate

SAME_SECONDS = 0.01


def order(
    candidates: Mapping[str, Candidate], costs: Sequence[Cost], draws: Sequence[float], length_max: int = 4
) -> tuple[Cost, ...]:
    """Costs, best first, at most `length_max`; `draws` are as many numbers in [0, 1) as there are costs."""

    def key(item: tuple[Cost, float]) -> tuple[int, int, float]:
        cost, draw = item
        return round(cost.total_seconds / SAME_SECONDS), candidates[cost.engine_id].inflight, draw

    ranked = [cost for cost, _ in sorted(zip(costs, draws, strict=True), key=key)]
    if len(ranked) < 2:
        return tuple(ranked)
    best, rest = ranked[0], ranked[1:]
    home = candidates[best.engine_id]
    rest.sort(key=lambda cost: _nearness(home, candidates[cost.engine_id]))  # stable: by cost within each domain
    return (best, *rest[: length_max - 1])


def _nearness(home: Candidate, other: Candidate) -> int:
    if other.node == home.node:
        return 3
    if other.provider == home.provider:
        return 2 if other.region == home.region else 1
    return 0
