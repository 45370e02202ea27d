"""Canaries leave no trace in the counters."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from node_agent.engines.engine import CanaryAnswer
from node_agent.session.facts import EngineCounters, Histogram
from node_agent.supervisor.accounting import add, canary_share, subtract

BOUNDS = (0.01, 0.1, 1.0)
ANSWER = CanaryAnswer(prompt_tokens=3, generation_tokens=1, cached_tokens=0)


def histogram(*counts: int) -> Histogram:
    return Histogram(BOUNDS, counts, 0.05 * sum(counts))


def counters(
    prompt: int, generation: int, *, steps: int, requests: int, ttft: tuple[int, int, int, int]
) -> EngineCounters:
    return EngineCounters(
        prompt_tokens=prompt,
        generation_tokens=generation,
        steps=steps,
        step_tokens=prompt + generation,
        prefix_query_tokens=prompt,
        prefix_hit_tokens=0,
        preemptions=0,
        requests_finished=requests,
        flops=1e9 * steps,
        bytes=1e6 * steps,
        ttft_seconds=histogram(*ttft),
        inter_token_seconds=histogram(0, generation, 0, 0),
    )


def test_a_canary_alone_is_taken_out_whole() -> None:
    before = counters(100, 50, steps=50, requests=5, ttft=(0, 5, 0, 0))
    after = counters(103, 51, steps=51, requests=6, ttft=(0, 6, 0, 0))
    share = canary_share(before, after, ANSWER, 0.05)
    assert subtract(after, share) == before


def test_a_canary_in_company_takes_its_tokens_and_leaves_the_shared_step() -> None:
    before = counters(100, 50, steps=50, requests=5, ttft=(0, 5, 0, 0))
    after = counters(143, 91, steps=90, requests=8, ttft=(1, 6, 1, 0))
    rest = subtract(after, canary_share(before, after, ANSWER, 0.05))
    assert (rest.prompt_tokens, rest.generation_tokens, rest.requests_finished) == (140, 90, 7)
    assert rest.step_tokens == 230
    assert (rest.steps, rest.flops, rest.bytes) == (after.steps, after.flops, after.bytes)
    assert rest.ttft_seconds is not None
    assert rest.ttft_seconds.counts == (1, 5, 1, 0)


def test_unknown_stays_unknown_and_backwards_is_unknown() -> None:
    whole = counters(10, 5, steps=5, requests=1, ttft=(1, 0, 0, 0))
    assert subtract(replace(whole, flops=None), whole).flops is None
    assert subtract(whole, replace(whole, flops=None)).flops is None
    assert subtract(whole, replace(whole, prompt_tokens=11)).prompt_tokens is None
    assert subtract(whole, replace(whole, ttft_seconds=histogram(2, 0, 0, 0))).ttft_seconds is None
    other_bounds = Histogram((1.0,), (1, 0), 0.5)
    assert add(whole, replace(whole, ttft_seconds=other_bounds)).ttft_seconds is None


def test_what_one_reading_did_not_tell_is_not_lost_for_good() -> None:
    before = counters(100, 50, steps=50, requests=5, ttft=(0, 5, 0, 0))
    after = replace(counters(103, 51, steps=51, requests=6, ttft=(0, 6, 0, 0)), flops=None)
    share = canary_share(before, after, ANSWER, 0.05)
    assert share.flops == 0
    assert share.prompt_tokens == 3


COUNTS = st.integers(0, 10**9)


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.tuples(COUNTS, COUNTS, COUNTS, COUNTS))
def test_adding_and_taking_away_cancel(
    prompt: int, generation: int, steps: int, requests: int, ttft: tuple[int, int, int, int]
) -> None:
    one = counters(prompt, generation, steps=steps, requests=requests, ttft=ttft)
    nothing = subtract(one, one)
    assert nothing.prompt_tokens == 0
    assert nothing.ttft_seconds == Histogram(BOUNDS, (0, 0, 0, 0), 0.0)
    assert subtract(add(one, one), one).step_tokens == one.step_tokens
