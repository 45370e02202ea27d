"""One routing decision: filter, cost, order. Pure; called by `services.decide_request`."""

from collections.abc import Sequence
from dataclasses import dataclass

from controlplane.policies.decision import Cost, Rejection
from controlplane.policies.routing.candidates import Candidate
from controlplane.policies.routing.costs import cost
from controlplane.policies.routing.filters import reject
from controlplane.policies.routing.pickers import order


@dataclass(frozen=True, slots=True)
class Route:
    """The engines to try, best first, and why the others were left out."""

    ranked: tuple[Cost, ...]
    rejections: tuple[Rejection, ...]


def route(candidates: Sequence[Candidate], path: str, draws: Sequence[float], fresh_seconds: float) -> Route:
    """Order the engines that may take a request of `path`. `draws`: a number in [0, 1) for each candidate."""
    kept: dict[str, Candidate] = {}
    kept_draws: list[float] = []
    rejections: list[Rejection] = []
    for candidate, draw in zip(candidates, draws, strict=True):
        rejection = reject(candidate, path)
        if rejection is None:
            kept[candidate.engine_id] = candidate
            kept_draws.append(draw)
        else:
            rejections.append(rejection)
    costs = [cost(candidate, fresh_seconds) for candidate in kept.values()]
    return Route(order(kept, costs, kept_draws), tuple(rejections))
