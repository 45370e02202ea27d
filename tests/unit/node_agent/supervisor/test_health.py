"""Stuck, busy, idle and silent are told apart."""

from node_agent.probes.scrape import Scrape
from node_agent.session.facts import EngineCounters, EngineGauges
from node_agent.supervisor.health import Pulse, answered, first_pulse, observe, suspicion
from node_agent.supervisor.policy import SupervisorPolicy

POLICY = SupervisorPolicy(stuck_seconds=60, unresponsive_seconds=30)


def reading(tokens: int | None, *, running: int | None = 0, waiting: int | None = 0, steps: int | None = 0) -> Scrape:
    return Scrape(EngineGauges(running=running, waiting=waiting), EngineCounters(generation_tokens=tokens, steps=steps))


def watch(*readings: Scrape) -> tuple[Pulse, float]:
    """One reading a second from 0 on; the pulse and the time of the last one."""
    pulse, now = first_pulse(0.0), 0.0
    for now, scrape in enumerate(readings):
        pulse = observe(pulse, scrape, float(now))
    return pulse, float(now)


def test_busy_is_not_stuck() -> None:
    pulse, now = watch(*(reading(tokens, running=8) for tokens in range(200)))
    assert suspicion(pulse, now, POLICY) is None


def test_a_long_prefill_moves_steps_though_no_token_comes_out() -> None:
    pulse, now = watch(*(reading(0, running=1, steps=step) for step in range(200)))
    assert suspicion(pulse, now, POLICY) is None


def test_idle_is_not_stuck() -> None:
    pulse, now = watch(*(reading(5) for _ in range(200)))
    assert suspicion(pulse, now, POLICY) is None


def test_work_that_does_not_move_is_suspected_in_words() -> None:
    pulse, now = watch(*(reading(5, running=2, waiting=1) for _ in range(61)))
    assert suspicion(pulse, now, POLICY) == "no progress for 60 s while 2 requests were running and 1 waiting"
    waiting_only, now = watch(*(reading(5, waiting=3) for _ in range(61)))
    assert suspicion(waiting_only, now, POLICY) is not None


def test_idle_time_does_not_count_once_work_arrives() -> None:
    pulse, now = watch(*(reading(5) for _ in range(500)), *(reading(5, running=1) for _ in range(59)))
    assert suspicion(pulse, now, POLICY) is None


def test_a_silent_port_is_suspected_even_with_nothing_to_do() -> None:
    pulse, now = watch(reading(5))
    assert suspicion(pulse, now + 29, POLICY) is None
    assert suspicion(pulse, now + 30, POLICY) == "no answer from its port for 30 s"


def test_unknown_load_raises_no_suspicion_and_an_answer_clears_one() -> None:
    unknown, now = watch(*(reading(None, running=None, waiting=None, steps=None) for _ in range(100)))
    assert suspicion(unknown, now, POLICY) is None
    stuck, now = watch(*(reading(5, running=2) for _ in range(100)))
    assert suspicion(answered(stuck, now), now, POLICY) is None
