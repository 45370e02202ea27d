"""Who a process is, and that nothing it started outlives it."""

import os
import sys
import time
from pathlib import Path

import pytest

from node_agent.engines.engine import Launch
from node_agent.errors import LaunchError
from node_agent.supervisor.process import EngineProcess, Gone, ProcessIdentity, adopt, identify, session_members, spawn

FAMILY = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']); {then}"


def run(tmp_path: Path, code: str) -> EngineProcess:
    launch = Launch((sys.executable, "-c", code), {"PATH": os.environ["PATH"]})
    return spawn(launch, tmp_path, tmp_path / "log")


def until_gone(process: EngineProcess) -> Gone:
    deadline = time.monotonic() + 20
    while (gone := process.poll()) is None:
        assert time.monotonic() < deadline
    return gone


def test_what_a_dead_leader_leaves_is_ended_before_it_counts_as_gone(tmp_path: Path) -> None:
    process = run(tmp_path, FAMILY.format(then="sys.exit(7)"))
    assert until_gone(process) == Gone(7)
    assert session_members(process.pid) == ()


def test_kill_ends_the_whole_family(tmp_path: Path) -> None:
    process = run(tmp_path, FAMILY.format(then="import time; time.sleep(99)"))
    assert process.poll() is None
    process.kill()
    assert until_gone(process) == Gone(-9)
    process.kill()
    process.terminate()


def test_a_found_process_is_followed_without_being_its_parent(tmp_path: Path) -> None:
    process = run(tmp_path, "import time; time.sleep(99)")
    found = adopt(process.identity)
    assert found is not None
    assert found.poll() is None
    found.terminate()
    assert until_gone(process) == Gone(-15)
    assert found.poll() == Gone(None)
    assert adopt(process.identity) is None


def test_a_pid_that_was_given_to_another_is_not_taken_for_ours() -> None:
    me = identify(os.getpid())
    assert me is not None
    other_start = ProcessIdentity(me.pid, me.start_ticks + 1, me.boot_id)
    assert adopt(other_start) is None
    assert adopt(ProcessIdentity(me.pid, me.start_ticks, "another boot")) is None
    EngineProcess(other_start).terminate()  # and is not signalled


def test_output_is_appended_and_private(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    until_gone(run(tmp_path, "import sys; print('out', flush=True); print('err', file=sys.stderr)"))
    assert (tmp_path / "log").read_text() == "before\nout\nerr\n"


@pytest.mark.parametrize(("program", "retryable"), [("/nonexistent", False), ("/etc/hostname", False)])
def test_what_cannot_be_run_is_said(tmp_path: Path, program: str, retryable: bool) -> None:
    with pytest.raises(LaunchError) as caught:
        spawn(Launch((program,), {}), tmp_path, tmp_path / "log")
    assert caught.value.retryable is retryable
