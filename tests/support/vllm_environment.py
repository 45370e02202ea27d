"""Where real vLLM is, for tests that are marked `vllm`: they fail without it, so that nobody takes silence for success."""

import os
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    """That environment's Python."""
    path = Path(os.environ.get("STOKER_VLLM_PYTHON") or _ROOT / ".venv-vllm/bin/python")
    if not path.exists():
        pytest.fail(f"there is no vLLM environment at {path}: run `make setup-vllm`, or set STOKER_VLLM_PYTHON")
    return path
