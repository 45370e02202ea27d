"""What is written of an engine is what is read again."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from node_agent.engines.engine import EngineDescription
from node_agent.errors import EngineSpecError
from node_agent.session.facts import EngineCounters, EngineSpec, EngineState, Histogram
from node_agent.supervisor.process import ProcessIdentity
from node_agent.supervisor.records import EngineDirectory, EngineRecord, recorded_engine_ids

RECORD = EngineRecord(
    spec=EngineSpec("e.1", 7, "chat", "/m", ("--enforce-eager",), ("cuda:0", "cuda:1")),
    instance_id="abc",
    identity=ProcessIdentity(pid=42, start_ticks=12345, boot_id="b"),
    port=9001,
    state=EngineState.READY,
    state_since=datetime(2030, 1, 2, 3, 4, 5, 600, tzinfo=UTC),
    restart_count=2,
    dtype="bfloat16",
    description=EngineDescription("0.32.0", ("/v1/completions",), 2048),
    excluded=EngineCounters(prompt_tokens=3, flops=1.5, ttft_seconds=Histogram((0.1, 1.0), (0, 1, 0), 0.25)),
)


def test_a_record_survives_the_disk(tmp_path: Path) -> None:
    directory = EngineDirectory(tmp_path, "e.1")
    assert directory.load() is None
    directory.make()
    directory.save(RECORD)
    assert directory.load() == RECORD
    assert recorded_engine_ids(tmp_path) == ("e.1",)
    directory.drop_record()
    assert recorded_engine_ids(tmp_path) == ()
    directory.drop_record()


def test_what_a_newer_agent_added_is_left_alone(tmp_path: Path) -> None:
    directory = EngineDirectory(tmp_path, "e.1")
    directory.make()
    directory.save(RECORD)
    path = directory.path / "record.json"
    path.write_text(path.read_text().replace('"pid"', '"of_tomorrow": 1, "pid"'))
    assert directory.load() == RECORD


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 2}', "\x00", '{"version": 1, "excluded": null, "spec": 3}']
)
def test_an_unreadable_record_is_put_aside(tmp_path: Path, text: str) -> None:
    directory = EngineDirectory(tmp_path, "e")
    directory.make()
    path = directory.path / "record.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="cannot be read"):
        directory.load()
    assert not path.exists()
    assert path.with_suffix(".unreadable").exists()


@pytest.mark.parametrize("engine_id", ["", ".", "..", "a/b", "/etc", "a\0", "-x", "x" * 201, "a b"])
def test_an_id_cannot_leave_its_directory(tmp_path: Path, engine_id: str) -> None:
    with pytest.raises(EngineSpecError):
        EngineDirectory(tmp_path, engine_id)
