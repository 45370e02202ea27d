"""What the trial of a command line answers, asked of the real vLLM: a good line passes, a bad one gets vLLM's own words.

Needs the vLLM environment; loads no weights.
"""

import json
import os
from pathlib import Path

import pytest

from node_agent.engines import argument_check
from node_agent.engines.engine import EngineAccess
from node_agent.engines.vllm import VllmSettings, vllm_engine_factory
from node_agent.errors import EngineSpecError
from node_agent.session.facts import EngineSpec

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(240)]

_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "vocab_size": 128,
    "torch_dtype": "float32",
}


async def judged(vllm_python: Path, directory: Path, *arguments: str) -> str:
    """The sentence of the refusal; "" for a line that passes."""
    (directory / "config.json").write_text(json.dumps(_CONFIG))
    settings = VllmSettings(vllm_python, base_environment={**os.environ, "HF_HUB_OFFLINE": "1"})
    access = EngineAccess("127.0.0.1", "127.0.0.1", 1, 2)
    spec = EngineSpec("e", 2, "m", str(directory), ("--skip-tokenizer-init", *arguments))
    trial = vllm_engine_factory(access, settings)(spec).trial()
    assert trial is not None
    try:
        await argument_check.judge(trial, directory, seconds_max=120.0)
    except EngineSpecError as error:
        return str(error)
    return ""


async def test_a_line_that_vllm_would_start_passes(vllm_python: Path, tmp_path: Path) -> None:
    assert await judged(vllm_python, tmp_path, "--max-model-len", "256", "--dtype", "float32", "--enforce-eager") == ""


async def test_an_option_that_it_does_not_know_is_named(vllm_python: Path, tmp_path: Path) -> None:
    said = await judged(vllm_python, tmp_path, "--max-modell-len", "256")
    assert said.startswith("vLLM refused these arguments: unrecognized arguments: --max-modell-len")


async def test_a_value_that_it_does_not_take_is_named(vllm_python: Path, tmp_path: Path) -> None:
    said = await judged(vllm_python, tmp_path, "--max-model-len", "4096")
    assert said.startswith("vLLM refused these arguments: ")
    assert "User-specified max_model_len (4096) is greater than" in said
    assert "\n" not in said
