"""The engine in virtual time: exact to its model, whatever the pieces in which time goes by."""

from dataclasses import astuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.simulation.engine_model import DeviceCeilings, EngineLimits, EngineModel, ModelShape, StepCosts
from controlplane.simulation.requests import EngineEvent, Finished, FirstToken, SimulatedRequest, prefix_names
from controlplane.simulation.simulated_engine import SimulatedEngine
from controlplane.simulation.step_series import series

SHAPE = ModelShape(8_000_000_000, 32, 32, 8, 128, 4096, 128_256)
DEVICE = DeviceCeilings(989e12, 3.35e12, 80_000_000_000)


def model(sequences: int = 4, budget: int = 64, block: int = 4) -> EngineModel:
    return EngineModel(SHAPE, DEVICE, EngineLimits(sequences, budget, block), StepCosts())


def request(name: str, prompt: int, output: int, prefix: int = 0, tail: int | None = None) -> SimulatedRequest:
    names = prefix_names(prefix, 0, prompt // 4) if prefix else ()
    return SimulatedRequest(name, prompt, output, names, hash(name) if tail is None else tail)


def run_dry(engine: SimulatedEngine) -> list[EngineEvent]:
    return engine.advance(engine.now + 1e6)


def state(engine: SimulatedEngine) -> tuple[object, ...]:
    return (
        astuple(engine.counters),
        engine.gauges,
        engine.generated(),
        engine.blocks.free_count,
        engine.blocks.cached_count,
        frozenset(engine.blocks.resident()),
    )


def test_one_request_takes_what_the_model_says() -> None:
    engine = SimulatedEngine(model(budget=8192, block=16))
    engine.submit(SimulatedRequest("a", 1000, 3))
    [first, finished] = run_dry(engine)
    assert isinstance(first, FirstToken)
    assert isinstance(finished, Finished)
    prefill = engine.model.prefill_seconds(1000)
    assert first.at_seconds == pytest.approx(prefill)
    decode = engine.model.decode_step_seconds(1, 1000) + engine.model.decode_step_seconds(1, 1001)
    assert finished.at_seconds == pytest.approx(prefill + decode)
    assert finished.inter_token_seconds_mean == pytest.approx(decode / 2)


def test_what_was_given_up_and_computed_again_is_counted_while_it_is_remembered() -> None:
    engine = SimulatedEngine(model(budget=8192), blocks_count=300)
    # How many others take the whole cache in between, and what all has been computed twice by then.
    for number, (others, expected) in enumerate(((0, 0), (1, 1000), (4, 1000))):
        for other in range(others):
            engine.submit(request("b", 1199, 1, tail=100 * number + other + 10))
            run_dry(engine)
        engine.submit(request("a", 1001, 1, prefix=7, tail=number))
        run_dry(engine)
        assert engine.counters.recomputed.tokens == expected
    assert engine.counters.recomputed.by_tenant[""].flops == pytest.approx(engine.model.prefill_flops(1000))


def test_a_prefix_that_is_there_is_not_computed_again() -> None:
    engine = SimulatedEngine(model(budget=8192, block=4))
    engine.submit(request("a", 1000, 2, prefix=7))
    run_dry(engine)
    flops = engine.counters.flops
    engine.submit(request("b", 1000, 2, prefix=7))
    events = run_dry(engine)
    assert isinstance(events[0], FirstToken)
    assert events[0].cached_tokens == 996  # all but the last block: something must be computed to sample from
    assert engine.counters.flops - flops < flops / 10
    assert (engine.counters.prefix_query_tokens, engine.counters.prefix_hit_tokens) == (2000, 996)


def test_old_prefixes_make_room_for_new_ones() -> None:
    engine = SimulatedEngine(model(block=4), blocks_count=20)
    engine.submit(request("a", 40, 2, prefix=1))
    run_dry(engine)
    engine.submit(request("b", 60, 2, prefix=2))
    run_dry(engine)
    engine.submit(request("c", 40, 2, prefix=1))
    [first, _] = run_dry(engine)
    assert isinstance(first, FirstToken)
    assert 0 < first.cached_tokens < 36  # the end of the prefix was given up before its beginning


def test_what_does_not_fit_waits_and_what_has_no_more_room_is_computed_again() -> None:
    engine = SimulatedEngine(model(sequences=8, block=4), blocks_count=16)
    for name in "abc":
        engine.submit(request(name, 16, 30))
    events = run_dry(engine)
    assert engine.counters.preemptions > 0
    assert [event.generated_tokens for event in events if isinstance(event, Finished)] == [30, 30, 30]
    assert engine.counters.generation_tokens == 90
    assert engine.idle


def test_a_request_that_can_never_be_served_is_refused_at_once() -> None:
    engine = SimulatedEngine(model(), blocks_count=4)
    with pytest.raises(ValueError, match="longer than"):
        engine.submit(request("a", 16, 1))


def test_a_client_that_leaves_frees_its_blocks() -> None:
    engine = SimulatedEngine(model(sequences=1))
    engine.submit(request("a", 10, 1000))
    engine.submit(request("b", 10, 2))
    engine.advance(0.05)
    engine.abort("a")
    events = run_dry(engine)
    ended = {event.request.request_id: event for event in events if isinstance(event, Finished)}
    assert ended["a"].aborted
    assert not ended["b"].aborted
    assert engine.gauges.kv_used_tokens == 0
    assert engine.counters.requests_finished == 1


def test_a_slow_device_takes_longer_from_the_next_step_on() -> None:
    plain, slow = SimulatedEngine(model()), SimulatedEngine(model(), pace=3.0)
    ends = []
    for engine in (plain, slow):
        engine.submit(request("a", 10, 50))
        ends.append(run_dry(engine)[-1].at_seconds)
    assert ends[1] == pytest.approx(3 * ends[0])


ARRIVALS = st.lists(
    st.tuples(
        st.floats(0, 0.4),
        st.integers(1, 60),  # prompt
        st.integers(1, 60),  # output
        st.integers(0, 3),  # shared prefix, 0: none
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=120, deadline=None)
@given(ARRIVALS, st.lists(st.floats(0, 0.6), max_size=25), st.integers(31, 80), st.integers(1, 6))
def test_pieces_of_time_change_nothing(
    arrivals: list[tuple[float, int, int, int]], pieces: list[float], blocks: int, sequences: int
) -> None:
    """Also: blocks are never more than there are, and no token is lost or made up."""
    whole = SimulatedEngine(model(sequences), blocks_count=blocks)
    pieced = SimulatedEngine(model(sequences), blocks_count=blocks)
    made = [
        (at, request(f"r{number}", prompt, output, prefix, tail=number + 1000))
        for number, (at, prompt, output, prefix) in enumerate(sorted(arrivals))
    ]
    moments = sorted([(at, None) for at in pieces] + [(at, each) for at, each in made], key=lambda item: item[0])
    seen: list[EngineEvent] = []
    for at, arriving in moments:
        seen += pieced.advance(at)
        assert 0 <= pieced.gauges.kv_used_tokens <= pieced.gauges.kv_capacity_tokens
        if arriving is not None:
            pieced.submit(arriving)
    told: list[EngineEvent] = []
    for at, arriving in made:
        told += whole.advance(at)
        whole.submit(arriving)
    for end in (0.7, 2.0, 1e6):
        told += whole.advance(end)
        seen += pieced.advance(end)
        assert state(whole) == state(pieced)
    assert told == seen
    counters = whole.counters
    assert counters.generation_tokens == sum(each.output_tokens for _, each in made)
    assert counters.prompt_tokens == sum(each.prompt_tokens for _, each in made)
    assert counters.requests_finished == len(made)
    assert sum(counters.ttft.counts) == len(made)
    assert sum(counters.inter_token.counts) == counters.generation_tokens - len(made)
    assert whole.idle
    assert whole.blocks.held_count == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 400), st.integers(2, 300), st.floats(0.01, 50))
def test_the_closed_form_is_the_sum_of_the_steps(
    sequences: int, prompt: int, output: int, bandwidth_share: float
) -> None:
    """Beside a loop over every step, also where the limit changes from memory to arithmetic on the way."""
    device = DeviceCeilings(989e9, 3.35e12 * bandwidth_share, 80_000_000_000)
    engine = SimulatedEngine(EngineModel(SHAPE, device, EngineLimits(8, 8192, 16)))
    for number in range(sequences):
        engine.submit(SimulatedRequest(str(number), prompt, output, tail=number))
    end = run_dry(engine)[-1].at_seconds
    assert end == pytest.approx(looped_seconds(engine.model, sequences, prompt, output), rel=1e-9)


def looped_seconds(each: EngineModel, sequences: int, prompt: int, output: int) -> float:
    """The first prompt is computed alone, since it came first; the others in the next step, beside its second token."""
    total = each.prefill_seconds(prompt)
    if sequences == 1:
        return total + sum(each.decode_step_seconds(1, prompt + step) for step in range(output - 1))
    total += series(each, 1, prompt, tuple((prompt, 0) for _ in range(sequences - 1))).seconds(1)
    for step in range(output - 2):
        total += each.decode_step_seconds(sequences, sequences * (prompt + step) + 1)
    return total + each.decode_step_seconds(sequences - 1, (sequences - 1) * (prompt + output - 2))
