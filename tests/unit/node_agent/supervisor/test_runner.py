"""What goes wrong with an engine, on real processes: deaths, stuck work, bad metrics, floods."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from node_agent.session.facts import EngineState
from node_agent.supervisor.process import session_members
from tests.fakes.supervised import POLICY, Bench, engine_spec


async def started(bench: Bench, *args: str) -> None:
    await bench.supervisor.start(engine_spec("one", *args))
    await bench.until_state(EngineState.READY)


async def test_a_crash_is_restarted_as_a_new_instance(bench: Bench) -> None:
    await started(bench, "--fake-child")
    first = bench.status()
    await bench.command(exit=3)
    crashed = await bench.until_state(EngineState.BACKING_OFF, seconds_a_round=0.001)
    assert crashed.reason == "the engine ended with exit code 3"
    assert crashed.retry_at is not None
    assert (crashed.retry_at - crashed.state_since).total_seconds() == POLICY.backoff_seconds_first
    assert (crashed.pid, crashed.endpoint, crashed.instance_id) == (0, "", first.instance_id)
    assert session_members(first.pid) == (), "its workers died with it"
    again = await bench.until_state(EngineState.READY)
    assert again.instance_id != first.instance_id
    assert (again.restart_count, again.endpoint, again.log_tail) == (1, first.endpoint, ())


async def test_a_death_at_start_shows_its_last_lines(bench: Bench) -> None:
    await bench.supervisor.start(engine_spec("one", "--fake-exit", "1"))
    crashed = await bench.until_state(EngineState.BACKING_OFF)
    assert crashed.reason == "the engine ended with exit code 1: ValueError: the fake was told to die at once"
    assert crashed.log_tail[-1] == "ValueError: the fake was told to die at once"
    failed = await bench.until_state(EngineState.FAILED, seconds_a_round=1.0)
    assert failed.log_tail
    assert "died" in failed.reason


async def test_a_program_that_does_not_exist_fails_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    await bench.supervisor.start(engine_spec())
    assert bench.status().state is EngineState.FAILED
    assert bench.status().reason == "cannot start the engine: /nonexistent/python does not exist"


async def test_a_state_directory_that_cannot_be_written_is_tried_again(bench: Bench) -> None:
    bench.state_dir.write_text("a file where a directory should be")
    await bench.supervisor.start(engine_spec())
    assert bench.status().state is EngineState.BACKING_OFF
    assert "cannot prepare" in bench.status().reason


async def test_a_start_that_never_answers_is_ended(bench: Bench) -> None:
    await bench.supervisor.start(engine_spec("one", "--fake-never-ready"))
    await bench.until(lambda: bench.status().stage == "loading weights")
    pid = bench.status().pid
    ended = await bench.until_state(EngineState.BACKING_OFF, seconds_a_round=100)
    assert "did not answer within 1800 s of its start (last stage: loading weights)" in ended.reason
    assert session_members(pid) == ()


async def test_health_alone_does_not_make_an_engine_ready(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(policy=replace(POLICY, canary_seconds_max=0.05))
    await bench.supervisor.start(engine_spec())
    await bench.until(lambda: bench.status().stage == "listening")
    await bench.command(mute=True)
    await bench.until(lambda: "waiting for its first answer; /v1/completions" in bench.status().stage)
    await bench.command(mute=False)
    await bench.until_state(EngineState.READY)


async def test_stuck_work_brings_a_canary_and_then_a_restart(bench: Bench) -> None:
    await started(bench)
    first = bench.status()
    await bench.command(mute=True, running=2)
    stuck = await bench.until_state(EngineState.BACKING_OFF, seconds_a_round=0.3)
    assert stuck.reason.startswith("no progress for ")
    assert stuck.reason.endswith("while 2 requests were running")
    assert session_members(first.pid) == ()


async def test_a_canary_that_is_answered_clears_the_suspicion_and_is_not_counted(bench: Bench) -> None:
    await started(bench)
    first = bench.status()
    await bench.command(running=1, generation_tokens=500)
    await bench.pass_time(5 * POLICY.stuck_seconds, seconds_a_round=2.0)
    now = bench.status()
    assert (now.state, now.instance_id) == (EngineState.READY, first.instance_id)
    assert now.counters.generation_tokens == 499, "500 less the first canary; the later ones are out"
    assert (now.counters.prompt_tokens, now.counters.requests_finished) == (0, 0)


async def test_a_busy_engine_is_left_alone(bench: Bench) -> None:
    await started(bench)
    first = bench.status()
    await bench.command(running=4, mute=True)
    for tokens in range(1, 6):
        await bench.command(generation_tokens=tokens * 100)
        await bench.pass_time(0.8 * POLICY.stuck_seconds, seconds_a_round=3.0)
    assert (bench.status().state, bench.status().instance_id) == (EngineState.READY, first.instance_id)


async def test_a_missing_metric_is_unknown_and_told_once(bench: Bench) -> None:
    await started(bench)
    await bench.command(hidden=["vllm:num_preemptions_total", "vllm:kv_cache_usage_perc"], running=1)
    await bench.until(lambda: bench.status().gauges.running == 1)
    await bench.pass_time(10, seconds_a_round=0.5)
    assert bench.status().counters.preemptions is None
    assert bench.status().gauges.kv_used_tokens is None
    assert bench.status().counters.prompt_tokens == 0
    assert [(event.kind, event.engine_id) for event in bench.events] == [("metric_missing", "one")]
    assert "kv_used_tokens, preemptions" in bench.events[0].message


async def test_garbage_instead_of_metrics_is_contained(bench: Bench) -> None:
    await started(bench)
    known = bench.status().measured_at
    await bench.command(metrics="\x00<html>{{{ vllm: nan\n" * 1000)
    await bench.pass_time(30, seconds_a_round=0.5)
    assert bench.status().state is EngineState.READY
    assert [event.kind for event in bench.events] == ["metrics_unreadable"]
    assert known is not None
    await bench.command(metrics=None)
    await bench.until(lambda: (bench.status().measured_at or known) > known)


async def test_a_flooded_log_is_bounded(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(policy=replace(POLICY, log_bytes_max=100_000))
    await started(bench)
    log = bench.state_dir / "engines/one/log"
    for _ in range(5):
        await bench.command(log="x" * 90_000)
        await bench.until(lambda: log.stat().st_size <= 100_000)
    await bench.until(lambda: log.stat().st_size <= 100_000)
    assert log.with_name("log.1").stat().st_size <= 100_000
    assert bench.status().state is EngineState.READY
