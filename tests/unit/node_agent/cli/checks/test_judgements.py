"""What the checks make of the facts: which level, which sentence, and that each trouble comes with a way out."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.cli.checks import devices, engines, machine, own, reaching, service
from node_agent.cli.checks.asking import Answer, ask
from node_agent.cli.checks.findings import Finding, Level
from node_agent.host.standing import Standing

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PYTHON = Path("/opt/vllm/bin/python")


def checked(finding: Finding) -> Level:
    assert finding.says
    assert bool(finding.fix) == (finding.level is not Level.OK)
    return finding.level


# ---- vLLM


@pytest.mark.parametrize(
    ("version", "level", "says"),
    [
        ("0.32.0", Level.OK, ""),
        ("0.32.4+cpu", Level.OK, ""),
        ("0.33.0", Level.WARN, "tested with 0.32.0"),
        ("0.22.0", Level.WARN, "tested with 0.32.0"),
        ("0.21.9", Level.FAIL, "CVE-2026-48746"),
        ("0.14.0", Level.FAIL, "CVE-2026-22778 and CVE-2026-48746"),
        ("dev", Level.WARN, "cannot be compared"),
    ],
)
def test_versions_with_known_holes_fail(version: str, level: Level, says: str) -> None:
    finding = engines.judge_vllm(version, f"vLLM {version}")
    assert checked(finding) is level
    assert says in finding.says


def test_an_environment_without_vllm_says_which_and_whose() -> None:
    answer = Answer(1, '{"python": "3.11.7"}\n', "ModuleNotFoundError: No module named 'torch'")
    [finding] = engines.judge_environment(PYTHON, answer, is_own=True)
    assert checked(finding) is Level.FAIL
    assert "the agent's own, since engines.python is not set" in finding.says
    assert "cannot import torch: ModuleNotFoundError" in finding.says
    [absent] = engines.judge_environment(PYTHON, Answer(None, "", "cannot run it"), is_own=False)
    assert "does not run: cannot run it" in absent.says


def test_an_environment_is_told_with_its_devices_although_libraries_chatter() -> None:
    output = (
        'INFO hello\n{"python": "3.11"}\n{"torch": "2.1"}\n[1]\n{"devices": ["H200", "H200"]}\n{"vllm": "0.32.0"}\n'
    )
    environment, torch = engines.judge_environment(PYTHON, Answer(0, output, ""), is_own=False)
    assert (checked(environment), environment.says) == (
        Level.OK,
        f"{PYTHON}: vLLM 0.32.0, torch 2.1, Python 3.11",
    )
    assert torch.says == "torch sees 2 x H200"
    assert "no GPU" in engines.judge_torch([]).says


@given(st.text(max_size=200))
def test_no_output_of_a_child_breaks_the_reading(output: str) -> None:
    assert isinstance(engines.read_facts(output), dict)


async def test_a_child_that_hangs_or_floods_is_bounded() -> None:
    hung = await ask("sh", "-c", "echo begun; exec sleep 600", seconds_max=0.2)
    assert (hung.exit_code, hung.output, hung.complaint) == (None, "begun\n", "no end within 0 s")
    flood = await ask("sh", "-c", "head -c 5000000 /dev/zero; echo; echo the end; echo why >&2; exit 3", seconds_max=20)
    assert (flood.exit_code, flood.complaint, flood.output.endswith("the end\n")) == (3, "why", True)
    assert len(flood.output) <= 64 * 1024
    assert "cannot run /nowhere: No such file" in (await ask("/nowhere", seconds_max=1)).complaint


# ---- ports and records


def test_ports_of_our_engines_are_not_taken_and_strangers_are_named() -> None:
    ours = (engines.Recorded("a", alive=True, port=8100), engines.Recorded("b", alive=False, port=8101))
    fine = engines.judge_ports(8100, 8103, {8100, 22}, ours)
    assert (checked(fine), fine.says) == (Level.OK, "3 of the 4 ports 8100-8103 are free, 1 are our engines'")
    strangers = engines.judge_ports(8100, 8103, {8100, 8101}, ours)
    assert checked(strangers) is Level.WARN
    assert "other programs listen on 8101" in strangers.says
    assert checked(engines.judge_ports(8100, 8101, {8100, 8101}, ())) is Level.FAIL


def test_listening_ports_are_read_from_proc(tmp_path: Path) -> None:
    row = "   0: 00000000:{port} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 1\n"
    text = (
        "  sl  local_address rem_address   st\n"
        + row.format(port="1FA4", state="0A")
        + row.format(port="1FA5", state="01")
    )
    (tmp_path / "tcp").write_text(text)
    assert engines.look_listening(tmp_path) == {8100}


def test_records_are_compared_with_what_runs() -> None:
    alive, gone = engines.Recorded("a", alive=True, port=1), engines.Recorded("b", alive=False, port=2)
    [fine] = engines.judge_records((alive, gone), agent_runs=True)
    assert (checked(fine), fine.says) == (Level.OK, "1 of 2 recorded engines run")
    unwatched, dead = engines.judge_records((alive, gone), agent_runs=False)
    assert "run without an agent: a" in unwatched.says
    assert "gone: b" in dead.says
    [damaged] = engines.judge_records((engines.Recorded("c", alive=False, port=None, problem="x"),), agent_runs=True)
    assert checked(damaged) is Level.FAIL
    [given_up] = engines.judge_records((), agent_runs=True, failed_count=2)
    assert (checked(given_up), given_up.says) == (Level.WARN, "the agent has given up 2 engines")


def test_a_record_that_cannot_be_read_stays_where_it_is(tmp_path: Path) -> None:
    record = tmp_path / "engines" / "one" / "record.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    [found] = engines.look_records(tmp_path) or ()
    assert found.problem
    assert record.read_text() == "{"


# ---- identity and state directory


@pytest.mark.parametrize(
    ("since", "until", "level", "says"),
    [
        (-8, 16, Level.OK, "valid until"),
        (-20, 4, Level.WARN, "renewal is overdue"),
        (-24, -1, Level.FAIL, "ended on"),
        (1, 24, Level.FAIL, "valid from"),
    ],
)
def test_a_certificate_is_judged_by_now(since: int, until: int, level: Level, says: str) -> None:
    credentials = own.Credentials(not_before=NOW + timedelta(hours=since), not_after=NOW + timedelta(hours=until))
    [finding] = own.judge_credentials(credentials, NOW)
    assert (checked(finding), says in finding.says) == (level, True)


def test_keys_that_others_may_read_fail(tmp_path: Path) -> None:
    credentials = own.Credentials(not_before=NOW, not_after=NOW + timedelta(days=1), open_files=("/x/node.pem",))
    [finding] = own.judge_credentials(credentials, NOW)
    assert (checked(finding), finding.fix) == (Level.FAIL, "chmod 600 /x/node.pem")
    [none] = own.judge_credentials(own.look_credentials(tmp_path), NOW)
    assert (checked(none), none.says) == (Level.FAIL, "this node has not joined a control plane")


def test_a_state_directory_must_be_private_and_have_space(tmp_path: Path) -> None:
    gib = 2**30
    for mode, free, level in (
        (0o700, 9, Level.OK),
        (0o755, 9, Level.WARN),
        (0o700, 3, Level.WARN),
        (0o700, 0, Level.FAIL),
    ):
        [finding] = own.judge_folder(own.Folder(tmp_path, exists=True, mode=mode, free_bytes=free * gib))
        assert checked(finding) is level
    [full] = own.judge_folder(own.Folder(tmp_path, exists=True, mode=0o700, free_bytes=9 * gib, free_inodes=0))
    assert "no inodes" in full.says
    assert [checked(finding) for finding in own.judge_folder(own.look_folder(tmp_path / "absent"))] == [Level.FAIL]


# ---- devices


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "allowed"),
    [
        (0o666, 0, 0, True),
        (0o660, 0, 44, True),  # through the group
        (0o660, 0, 45, False),
        (0o606, 0, 44, False),  # the group's bits count, not others'
        (0o600, 7, 0, True),
        (0o444, 0, 0, False),
    ],
)
def test_device_files_are_seen_with_the_agents_eyes(mode: int, uid: int, gid: int, allowed: bool) -> None:
    account = devices.Account("agent", 7, frozenset({44}))
    file = devices.DeviceFile("/dev/nvidia0", mode, uid, gid)
    assert devices.may_use(file, account) is allowed
    assert checked(devices.judge_files([file], account)) is (Level.OK if allowed else Level.FAIL)


def test_the_driver_is_judged_with_the_device_files() -> None:
    nvidia = (devices.DeviceFile("/dev/nvidiactl", 0o666, 0, 0),)
    amd = (devices.DeviceFile("/dev/kfd", 0o666, 0, 0),)
    assert checked(devices.judge_driver({"driver": "570", "devices_count": 8}, "", nvidia)) is Level.OK
    assert checked(devices.judge_driver({"driver": "570", "devices_count": 0}, "", nvidia)) is Level.WARN
    assert checked(devices.judge_driver({"problem": "version mismatch"}, "", nvidia)) is Level.FAIL
    assert checked(devices.judge_driver({"problem": "no library"}, "", ())) is Level.OK
    assert "AMD" in devices.judge_driver({"problem": "no library"}, "", amd).says
    assert checked(devices.judge_driver({}, "no end within 15 s", nvidia)) is Level.FAIL


# ---- service, session, clock, machine

UNIT = {
    "LoadState": "loaded",
    "UnitFileState": "enabled",
    "ActiveState": "active",
    "KillMode": "process",
    "WatchdogUSec": "30s",
    "NRestarts": "0",
}


@pytest.mark.parametrize(
    ("change", "level", "says"),
    [
        ({}, Level.OK, "is active and enabled"),
        ({"LoadState": "not-found"}, Level.WARN, "not installed"),
        ({"UnitFileState": "disabled"}, Level.WARN, "does not start with the machine"),
        ({"ActiveState": "failed", "Result": "exit-code"}, Level.FAIL, "has failed (exit-code)"),
        ({"ActiveState": "inactive"}, Level.WARN, "is not running"),
        ({"KillMode": "control-group"}, Level.FAIL, "engines end whenever the agent does"),
        ({"WatchdogUSec": "0"}, Level.WARN, "watchdog is off"),
        ({"NeedDaemonReload": "yes"}, Level.WARN, "newer than what systemd uses"),
    ],
)
def test_the_unit_is_judged(change: dict[str, str], level: Level, says: str) -> None:
    [finding] = service.judge_service({**UNIT, **change})
    assert (checked(finding), says in finding.says) == (level, True)


async def test_a_machine_without_systemd_is_told_so(tmp_path: Path) -> None:
    assert not service.is_booted(tmp_path)
    [finding] = await service.check_service(booted=False)
    assert checked(finding) is Level.WARN


def standing(*, connected: bool) -> Standing:
    return Standing(1, "1", "connected to x" if connected else "not connected: y", connected=connected, watched=True)


@pytest.mark.parametrize(
    ("told", "running", "level"),
    [
        (standing(connected=True), True, Level.OK),
        (standing(connected=False), True, Level.FAIL),
        (None, True, Level.WARN),
        (None, False, Level.WARN),
        (None, None, Level.WARN),
    ],
)
def test_the_agents_own_word_on_its_session(told: Standing | None, running: bool | None, level: Level) -> None:
    assert checked(reaching.judge_session(told, running=running)) is level


@pytest.mark.parametrize(
    ("error", "kernel", "level"),
    [
        (0.1, True, Level.OK),
        (-0.1, None, Level.OK),
        (0.1, False, Level.WARN),
        (-5.0, True, Level.WARN),
        (301.0, True, Level.FAIL),
        (None, True, Level.OK),
        (None, False, Level.WARN),
    ],
)
def test_the_clock(error: float | None, kernel: bool | None, level: Level) -> None:
    facts = reaching.ClockFacts(error, None if error is None else NOW - timedelta(minutes=5), kernel)
    finding = reaching.judge_clock(facts, NOW)
    assert checked(finding) is level
    if error is not None:
        assert "5 min ago" in finding.says


def test_open_files_memory_and_sockets() -> None:
    assert [checked(machine.judge_open_files(n, of_agent=True)) for n in (1024, 524288, None)] == [
        Level.WARN,
        Level.OK,
        Level.WARN,
    ]
    assert [checked(machine.judge_memory(n * 2**30)) for n in (64, 2, 0)] == [Level.OK, Level.WARN, Level.FAIL]
    short, long = Path("/run/stoker-agent"), Path("/" + "x" * 80)
    assert checked(machine.judge_socket_folder(machine.SocketFolder(short, usable=True))) is Level.OK
    assert checked(machine.judge_socket_folder(machine.SocketFolder(short, usable=False))) is Level.WARN
    assert checked(machine.judge_socket_folder(machine.SocketFolder(long, usable=True))) is Level.FAIL


def test_an_older_agent_that_still_runs_is_told() -> None:
    assert checked(own.judge_version("2", None)) is Level.OK
    assert "still 1" in own.judge_version("2", "1").says
