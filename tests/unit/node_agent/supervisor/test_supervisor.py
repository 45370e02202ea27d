"""The supervisor over real processes: starting, counting, stopping, replacing, finding again."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.engines.engine import EngineAccess
from node_agent.errors import EngineSpecError, StaleGenerationError
from node_agent.session.facts import EngineState
from node_agent.supervisor.process import session_members
from tests.fakes.supervised import Bench, engine_spec
from tests.fakes.throwaway_ca import engine_tls

COMPLETION: dict[str, object] = {"model": "tiny", "prompt": "x", "max_tokens": 5}


async def started(bench: Bench, *args: str) -> None:
    await bench.supervisor.start(engine_spec("one", *args))
    await bench.until_state(EngineState.READY)


async def test_an_engine_becomes_ready_and_its_canary_is_not_counted(bench: Bench) -> None:
    await bench.supervisor.start(engine_spec())
    assert bench.status().state is EngineState.STARTING
    ready = await bench.until_state(EngineState.READY)
    assert (ready.engine_version, ready.context_tokens_max, ready.dtype) == ("9.8.7", 2048, "bfloat16")
    assert ready.served_paths == ("/v1/chat/completions", "/v1/completions")
    assert (ready.counters.prompt_tokens, ready.counters.steps, ready.counters.requests_finished) == (0, 0, 0)
    assert ready.gauges.kv_capacity_tokens == 1000
    assert await bench.post("/v1/completions", COMPLETION) == 200
    await bench.command(kv_used_ratio=0.25, running=2)
    await bench.until(lambda: bench.status().gauges.running == 2)
    now = bench.status()
    assert (now.counters.prompt_tokens, now.counters.generation_tokens) == (3, 5)
    assert (now.gauges.kv_used_tokens, now.gauges.running) == (250, 2)
    assert now.counters.ttft_seconds is not None
    assert sum(now.counters.ttft_seconds.counts) == 1
    assert bench.events == []


async def test_an_embedding_engine_is_asked_for_an_embedding(bench: Bench) -> None:
    await started(bench, "--fake-pooling")
    assert bench.status().served_paths == ("/v1/embeddings",)
    assert bench.status().counters.requests_finished == 0


async def test_over_mutual_tls(make_bench: Callable[..., Bench], tmp_path: Path, access: EngineAccess) -> None:
    # The certificate names the host that the gateway uses; the agent itself connects to the local address.
    tls = engine_tls(tmp_path / "pki", hosts=("gpu-7.example",))
    bench = make_bench(access=replace(access, advertise_host="gpu-7.example", tls=tls))
    await started(bench)
    assert bench.status().endpoint == f"gpu-7.example:{access.port_first}"
    # A renewed certificate is taken up without a word.
    measured = bench.status().measured_at
    os.utime(tls.client_cert_path)
    await bench.until(lambda: bench.status().measured_at != measured)
    await stopped(bench)


async def test_starting_twice_is_starting_once_and_older_generations_are_refused(bench: Bench) -> None:
    await started(bench)
    before = bench.status()
    await bench.supervisor.start(engine_spec())
    assert bench.status() == before
    with pytest.raises(StaleGenerationError, match="generation 1 is already here"):
        await bench.supervisor.start(engine_spec(generation=0))


async def test_a_refused_spec_touches_nothing(bench: Bench) -> None:
    await started(bench)
    pid = bench.status().pid
    with pytest.raises(EngineSpecError, match="--port is refused"):
        await bench.supervisor.start(engine_spec("one", "--port", "1", generation=2))
    with pytest.raises(EngineSpecError, match="not valid"):
        await bench.supervisor.start(engine_spec("../../etc"))
    assert (bench.status().pid, bench.status().generation) == (pid, 1)
    assert [status.engine_id for status in bench.supervisor.statuses()] == ["one"]


async def test_a_newer_generation_drains_and_replaces_the_process(bench: Bench) -> None:
    await started(bench)
    old = bench.status()
    await bench.command(running=1)
    await bench.supervisor.start(engine_spec(generation=2))
    assert bench.status().state is EngineState.DRAINING
    await bench.until(lambda: bench.status().gauges.running == 1)
    assert bench.status().pid == old.pid
    await bench.command(running=0)
    await bench.until(lambda: bench.status().generation == 2)
    new = await bench.until_state(EngineState.READY)
    assert new.instance_id != old.instance_id
    assert new.endpoint == old.endpoint
    assert session_members(old.pid) == ()


async def test_stop_drains_ends_everything_and_can_forget(bench: Bench) -> None:
    await started(bench, "--fake-child")
    pid = bench.status().pid
    assert len(session_members(pid)) == 2
    await bench.command(running=1)
    stop = asyncio.ensure_future(bench.supervisor.stop("one", drain_seconds_max=100, forget=True))  # noqa: TID251
    await bench.until(lambda: bench.status().state is EngineState.DRAINING)
    await bench.pass_time(20, seconds_a_round=0.5)
    assert not stop.done()
    await bench.command(running=0)
    await bench.until(stop.done)
    assert bench.supervisor.statuses() == ()
    assert session_members(pid) == ()
    assert list((bench.state_dir / "engines").iterdir()) == []
    await bench.supervisor.stop("one", drain_seconds_max=0, forget=True)


async def test_an_engine_that_ignores_sigterm_is_killed(bench: Bench) -> None:
    await started(bench, "--fake-ignore-term", "--fake-child")
    pid = bench.status().pid
    stop = asyncio.ensure_future(bench.supervisor.stop("one", drain_seconds_max=0, forget=False))  # noqa: TID251
    await bench.until(stop.done, seconds_a_round=1.0)
    assert bench.status().state is EngineState.STOPPED
    assert session_members(pid) == ()


async def test_a_start_of_a_stopped_engine_runs_it_again(bench: Bench) -> None:
    await started(bench)
    await stopped(bench)
    await started(bench)


async def test_a_taken_port_is_skipped(bench: Bench, access: EngineAccess) -> None:
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", access.port_first))
        foreign.listen()
        await started(bench)
        assert bench.status().endpoint == f"127.0.0.1:{access.port_first + 1}"


async def test_no_free_port_fails_with_a_reason(make_bench: Callable[..., Bench], access: EngineAccess) -> None:
    bench = make_bench(access=replace(access, port_last=access.port_first))
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", access.port_first))
        foreign.listen()
        await bench.supervisor.start(engine_spec())
        assert bench.status().state is EngineState.FAILED
        assert "is taken" in bench.status().reason


async def test_two_engines_get_two_ports(bench: Bench) -> None:
    await bench.supervisor.start(engine_spec("one"))
    await bench.supervisor.start(engine_spec("two"))
    await bench.until_state(EngineState.READY, "one")
    await bench.until_state(EngineState.READY, "two")
    assert bench.status("one").endpoint != bench.status("two").endpoint


async def test_the_next_agent_finds_the_engine_and_goes_on_counting(bench: Bench) -> None:
    await started(bench)
    await bench.post("/v1/completions", COMPLETION)
    before = bench.status()
    await bench.supervisor.shutdown(drain_seconds_max=0, keep_engines=True)
    found = await bench.restart_agent().readopt()
    assert [(status.pid, status.instance_id, status.state) for status in found] == [
        (before.pid, before.instance_id, EngineState.READY)
    ]
    await bench.until(lambda: bench.status().counters.requests_finished == 1)
    assert bench.status().counters.prompt_tokens == 3
    assert bench.status().engine_version == "9.8.7"
    await stopped(bench)
    assert session_members(before.pid) == ()


async def test_an_engine_found_while_starting_still_becomes_ready(bench: Bench) -> None:
    await bench.supervisor.start(engine_spec())
    pid = bench.status().pid
    await bench.restart_agent().readopt()
    ready = await bench.until_state(EngineState.READY)
    assert (ready.pid, ready.counters.requests_finished) == (pid, 0)


async def test_records_of_the_dead_are_cleaned_and_their_children_ended(bench: Bench) -> None:
    await started(bench, "--fake-child")
    pid = bench.status().pid
    leader, child = session_members(pid)
    os.kill(leader, signal.SIGKILL)
    await asyncio.to_thread(os.waitpid, leader, 0)
    assert session_members(pid) == (child,)
    assert await bench.restart_agent().readopt() == ()
    await bench.until(lambda: session_members(pid) == ())
    assert not (bench.state_dir / "engines/one/record.json").exists()
    assert await bench.restart_agent().readopt() == ()


async def test_a_spoilt_record_is_told_and_put_aside(bench: Bench) -> None:
    directory = bench.state_dir / "engines/one"
    directory.mkdir(parents=True)
    (directory / "record.json").write_text('{"version": 99}')
    assert await bench.supervisor.readopt() == ()
    assert [event.kind for event in bench.events] == ["record_unreadable"]
    assert (directory / "record.unreadable").exists()


async def test_shutdown_stops_all_or_keeps_all(bench: Bench) -> None:
    await started(bench)
    pid = bench.status().pid
    shutdown = asyncio.ensure_future(bench.supervisor.shutdown(drain_seconds_max=0, keep_engines=False))  # noqa: TID251
    await bench.until(shutdown.done)
    assert session_members(pid) == ()


async def stopped(bench: Bench) -> None:
    stop = asyncio.ensure_future(bench.supervisor.stop("one", drain_seconds_max=0, forget=False))  # noqa: TID251
    await bench.until(stop.done)
    assert bench.status().state is EngineState.STOPPED
