"""Where an engine is, how long its recent requests are, and how large its model's files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.hardware.engine_memory import EngineOnDevices, RequestLengths, placed
from node_agent.hardware.weight_files import weights_on_disk_bytes
from node_agent.session.facts import EngineCounters
from node_agent.session.inside import ModelShape
from tests.support.device_readings import make_reading

ENGINE = EngineOnDevices("e", (), (11, 12), ModelShape(weights_bytes=5), kv_capacity_tokens=7)


@pytest.mark.parametrize(
    ("may_use", "held", "on"),
    [
        ((), [{11: 5}, {12: 5}, {9: 5}], ("cuda:0", "cuda:1")),  # what it found
        (("cuda:0", "cuda:1"), [{11: 5}, {}, {}], ("cuda:0",)),  # it may use two and uses one
        (("cuda:1",), [{}, {}, {}], ("cuda:1",)),  # it starts
        (("cuda:1", "cuda:2"), [None, None, None], ("cuda:1", "cuda:2")),  # nobody tells
        ((), [None], ("cuda:0",)),
    ],
)
def test_an_engine_is_where_its_processes_hold_memory(
    may_use: tuple[str, ...], held: list[dict[int, int] | None], on: tuple[str, ...]
) -> None:
    readings = [make_reading(device_id=f"cuda:{index}", memory_by_pid=by_pid) for index, by_pid in enumerate(held)]
    assert placed(replace(ENGINE, device_ids=may_use), readings) == replace(ENGINE, device_ids=on)


def test_nobody_can_say_how_an_engine_is_spread_that_was_told_no_devices() -> None:
    readings = [make_reading(device_id=f"cuda:{index}", memory_by_pid=None) for index in range(2)]
    assert placed(ENGINE, readings) == EngineOnDevices("e", ("cuda:0", "cuda:1"), (11, 12))


def counted(tokens: int, finished: int | None) -> EngineCounters:
    return EngineCounters(prompt_tokens=tokens // 2, generation_tokens=tokens - tokens // 2, requests_finished=finished)


def test_recent_requests_count_not_old_ones() -> None:
    lengths = RequestLengths()
    assert lengths.note("i", counted(900, 9)) is None  # too few to say anything
    assert lengths.note("i", counted(2_000, 20)) == 100.0
    for step in range(1, 70):
        mean = lengths.note("i", counted(2_000 + step * 5_000, 20 + step))
    assert mean == 5_000.0


def test_the_whole_life_counts_while_little_happens() -> None:
    lengths = RequestLengths()
    lengths.note("i", counted(20_000, 100))
    assert lengths.note("i", counted(20_000, 100)) == 200.0


@pytest.mark.parametrize("then", [("other", counted(500, 5)), ("i", counted(10, 1)), ("i", counted(10, None))])
def test_a_new_process_counters_that_run_back_and_none_begin_anew(then: tuple[str, EngineCounters]) -> None:
    lengths = RequestLengths()
    lengths.note("i", counted(20_000, 100))
    assert lengths.note(*then) is None


def weights(path: Path, body: int) -> Path:
    header = json.dumps({"w": {"dtype": "U8", "shape": [body], "data_offsets": [0, body]}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(body))
    return path


def test_files_are_counted_without_their_headers(tmp_path: Path) -> None:
    weights(tmp_path / "model-1.safetensors", 700)
    weights(tmp_path / "model-2.safetensors", 300)
    weights(tmp_path / "consolidated.safetensors", 1_000)
    assert weights_on_disk_bytes(str(tmp_path), {}) == 1_000


def test_the_index_says_which_files_count(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        weights(tmp_path / f"model-{number}.safetensors", 100)
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-3.safetensors", "c": "../../etc/passwd"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weights_on_disk_bytes(str(tmp_path), {}) == 200


def test_a_model_of_the_hub_is_found_in_its_cache(tmp_path: Path) -> None:
    model = tmp_path / "hub" / "models--org--tiny"
    weights(model / "snapshots" / "abc" / "model.safetensors", 50)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("abc")
    assert weights_on_disk_bytes("org/tiny", {"HF_HOME": str(tmp_path)}) == 50
    assert weights_on_disk_bytes("org/tiny", {"HF_HUB_CACHE": str(tmp_path / "hub")}) == 50
    assert weights_on_disk_bytes("org/other", {"HF_HOME": str(tmp_path)}) is None


@pytest.mark.parametrize("index", ["", "[]", '{"weight_map": 1}', '{"weight_map": {"a": "absent.safetensors"}}'])
def test_what_cannot_be_read_is_unknown(tmp_path: Path, index: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    assert weights_on_disk_bytes(str(tmp_path), {}) is None
    (tmp_path / "model.safetensors.index.json").unlink()
    assert weights_on_disk_bytes(str(tmp_path), {}) is None
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 12)
    assert weights_on_disk_bytes(str(tmp_path), {}) is None
    assert weights_on_disk_bytes("\0", {}) is None
