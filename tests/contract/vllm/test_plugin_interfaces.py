"""What the plug-in takes for granted inside vLLM, asked of the real one. Needs the vLLM environment.

When one of these fails with a new vLLM, the plug-in marks itself degraded there: mend it, or the agent has only /metrics.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from node_agent.engines import plugin_files

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def found(vllm_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    plugins = plugin_files.install(tmp_path_factory.mktemp("state"))
    environment = {**os.environ, "PYTHONPATH": str(plugins), "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    program = Path(__file__).with_name("plugin_interfaces.py")
    done = subprocess.run(
        [vllm_python, program], check=False, capture_output=True, text=True, timeout=150, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_vllm_loads_the_stat_logger_and_it_counts(found: Any) -> None:
    assert found["group"] == "vllm.stat_logger_plugins"
    assert found["loggers"] == ["StokerStatLogger", True]
    assert set(found["abstract"]) <= {"__init__", "record", "log_engine_initialized"}
    assert found["record"] == ["self", "scheduler_stats", "iteration_stats", "mm_cache_stats", "engine_idx"]
    expected = {"steps": 1, "prefill_tokens": 5, "decode_tokens": 2, "flops": 100, "read_bytes": 10, "write_bytes": 1}
    assert found["sums"] | expected == found["sums"]


def test_the_engine_client_can_be_listened_to(found: Any) -> None:
    assert found["generate"][:4] == ["self", "prompt", "sampling_params", "request_id"]
    assert "lora_request" in found["generate"]
    assert found["generate_is"]
    assert found["renderer"]


def test_prompts_and_outputs_have_what_is_read_of_them(found: Any) -> None:
    assert {"type", "prompt_token_ids"} <= set(found["prompt"])
    assert "cache_salt" in found["prompt_options"]
    assert {"prompt_token_ids", "outputs", "finished", "metrics", "num_cached_tokens"} <= set(found["output"])
    assert {"index", "text", "token_ids"} <= set(found["branch"])
    times = {"queued_ts", "scheduled_ts", "first_token_ts", "last_token_ts", "first_token_latency"}
    assert times <= set(found["times"])
    assert "DELTA" in found["kinds"]
    assert found["params"] == ["n", "output_kind"]


def test_the_bodies_of_generating_routes_take_a_salt(found: Any) -> None:
    assert all(found["salted"].values()), found["salted"]


def test_the_report_mode_that_a_client_asks_for_never_reaches_the_engine(found: Any) -> None:
    """The first line fails when vLLM takes it from somewhere else, which `report_mode` would then miss."""
    assert found["asked_modes"] == [["full", 1]] * 3
    assert found["passed_modes"] == [["incremental", 1]] * 3


def test_events_are_bound_to_unix_sockets_and_each_rank_has_its_own(found: Any) -> None:
    assert found["binds"]
    assert found["second_rank"] == "ipc:///a/tcp:1/k-inproc_dp1"
    assert {"enable_kv_cache_events", "publisher", "endpoint", "replay_endpoint", "buffer_steps"} <= set(
        found["events"]
    )


def test_vllms_environment_makes_notes_quick(found: Any) -> None:
    assert found["numpy"] == ["bcabc", [2, 3, 5]]


def test_an_unknown_configuration_is_told_as_nothing(found: Any) -> None:
    assert found["nothing_known"] == {}
