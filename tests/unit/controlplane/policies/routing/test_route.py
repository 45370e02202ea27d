"""One routing decision as a whole: who is kept, and in which order."""

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.fleet.observed import EngineState, Trust, WorkingPoint
from controlplane.policies.routing.candidates import Candidate
from controlplane.policies.routing.costs import cost
from controlplane.policies.routing.filters import reject
from controlplane.policies.routing.pickers import SAME_SECONDS
from controlplane.policies.routing.route import Route, route
from tests.support.candidates import candidate

PATH = "/v1/chat/completions"


@st.composite
def fleets(draw: st.DrawFn) -> list[Candidate]:
    size = draw(st.integers(0, 8))
    return [
        candidate(
            f"e{index}",
            node=f"n{draw(st.integers(0, 3))}",
            provider=draw(st.sampled_from(["gcp", "aws", "azure"])),
            region=draw(st.sampled_from(["west", "east"])),
            state=draw(st.sampled_from([EngineState.READY, EngineState.READY, EngineState.STARTING])),
            trust=draw(st.sampled_from([Trust.FRESH, Trust.FRESH, Trust.AGEING, Trust.STALE])),
            wanted=draw(st.sampled_from([True, True, True, False])),
            waiting=draw(st.integers(0, 5)),
            running=draw(st.integers(0, 3)),
            inflight=draw(st.integers(0, 3)),
        )
        for index in range(size)
    ]


def key(item: Candidate) -> tuple[int, int]:
    return round(cost(item, 3.0).total_seconds / SAME_SECONDS), item.inflight


@settings(deadline=None)
@given(fleets(), st.randoms(use_true_random=False), st.data())
def test_the_order_of_the_candidates_does_not_matter(
    fleet: list[Candidate], random: Random, data: st.DataObject
) -> None:
    draws = {item.engine_id: random.random() for item in fleet}
    shuffled = data.draw(st.permutations(fleet))

    def decide(candidates: list[Candidate]) -> Route:
        return route(candidates, PATH, [draws[item.engine_id] for item in candidates], 3.0)

    one, other = decide(fleet), decide(shuffled)
    assert one.ranked == other.ranked
    assert set(one.rejections) == set(other.rejections)


@settings(deadline=None)
@given(fleets(), st.randoms(use_true_random=False))
def test_what_every_decision_keeps_to(fleet: list[Candidate], random: Random) -> None:
    decided = route(fleet, PATH, [random.random() for _ in fleet], 3.0)
    by_id = {item.engine_id: item for item in fleet}
    ranked = [by_id[found.engine_id] for found in decided.ranked]
    kept = [item for item in fleet if reject(item, PATH) is None]
    assert all(reject(item, PATH) is None for item in ranked)
    assert {rejection.engine_id for rejection in decided.rejections} == set(by_id) - {k.engine_id for k in kept}
    assert len(ranked) == min(4, len(kept)) == len({item.engine_id for item in ranked})
    if not ranked:
        return
    best = ranked[0]
    assert key(best) == min(key(item) for item in kept)
    elsewhere = [item for item in kept if item.provider != best.provider and item.node != best.node]
    if elsewhere and len(ranked) > 1:
        assert ranked[1].provider != best.provider, "the first fallback is in another failure domain"
        assert key(ranked[1]) == min(key(item) for item in elsewhere)


def test_fallbacks_go_from_far_to_near() -> None:
    fleet = [
        candidate("best", node="n1"),
        candidate("same node", node="n1", waiting=1),
        candidate("same region", node="n2", waiting=2),
        candidate("same provider", node="n3", region="east", waiting=3),
        candidate("elsewhere", node="n4", provider="aws", waiting=4),
    ]
    decided = route(fleet, PATH, [0.5] * 5, 3.0)
    assert [found.engine_id for found in decided.ranked] == ["best", "elsewhere", "same provider", "same region"]


def test_within_a_hundredth_of_a_second_the_one_with_fewer_requests_goes_first() -> None:
    point = WorkingPoint(10.0, inter_token_seconds_p50=0.02)
    near = [
        candidate("a", running=1, working_point=point, inflight=3),
        candidate("b", running=1, working_point=point, waiting=4, request_seconds_mean=0.001),
    ]
    assert [found.engine_id for found in route(near, PATH, [0.1, 0.9], 3.0).ranked] == ["b", "a"]


def test_the_draws_break_ties_evenly() -> None:
    random = Random(7)  # noqa: S311 - a test's dice
    fleet = [candidate(name, node=name) for name in ("a", "b", "c")]
    first = Counter(route(fleet, PATH, [random.random() for _ in fleet], 3.0).ranked[0].engine_id for _ in range(3000))
    assert all(900 < first[name] < 1100 for name in "abc"), first
