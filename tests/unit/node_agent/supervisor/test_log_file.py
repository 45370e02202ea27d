"""An engine's log: followed line by line, cleaned, bounded."""

from pathlib import Path

import pytest

from node_agent.supervisor.log_file import LogFile, clean_line


@pytest.fixture
def log(tmp_path: Path) -> LogFile:
    return LogFile(tmp_path / "log", bytes_max=1000)


def append(log: LogFile, text: str) -> None:
    with log.path.open("a") as file:
        file.write(text)


def test_lines_come_once_and_only_when_whole(log: LogFile) -> None:
    assert log.new_lines() == []
    append(log, "one\ntw")
    assert log.new_lines() == ["one"]
    assert log.new_lines() == []
    append(log, "o\n\nthree\n")
    assert log.new_lines() == ["two", "three"]


def test_a_progress_bar_is_a_line_each_time(log: LogFile) -> None:
    append(log, "\rLoading: 0%\rLoading: 50%\rLoad")
    assert log.new_lines() == ["Loading: 0%", "Loading: 50%"]


def test_the_tail_is_the_end_without_empty_lines(log: LogFile) -> None:
    append(log, "".join(f"line {number}\n\n" for number in range(50)) + "unfinished")
    assert log.tail(3) == ("line 48", "line 49", "unfinished")
    assert LogFile(log.path.with_name("none"), bytes_max=1).tail(3) == ()


def test_a_file_that_grew_too_large_is_cut_and_its_end_kept(log: LogFile) -> None:
    append(log, "".join(f"{number:09}\n" for number in range(99)))
    log.bound()
    assert log.path.stat().st_size == 990
    append(log, "".join(f"{number:09}\n" for number in range(99, 150)))
    log.new_lines()
    log.bound()
    assert log.path.stat().st_size == 0
    kept = log.path.with_name("log.1").read_text().split()
    assert kept[-1] == "000000149"
    assert len(kept) == 50
    append(log, "after\n")
    assert log.new_lines() == ["after"]


def test_a_new_process_begins_with_an_empty_log(log: LogFile) -> None:
    append(log, "old\n")
    log.new_lines()
    log.begin()
    assert log.tail(5) == ()
    assert log.path.with_name("log.1").read_text() == "old\n"
    append(log, "new\n")
    assert log.new_lines() == ["new"]


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("a\x00b\x07c\x9bd", "abcd"),
        ("tab\there", "tab here"),
        ("\u202eevil", "evil"),
        ("x" * 1000, "x" * 400),
        ("trailing  ", "trailing"),
    ],
)
def test_nothing_but_text_leaves(raw: str, clean: str) -> None:
    assert clean_line(raw) == clean
