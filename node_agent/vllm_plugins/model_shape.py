"""The engine's model and its KV cache as vLLM's own configuration tells them, for the greeting. Called by `plugin`.

Each figure is asked for by itself: what this version of vLLM does not tell is left out, never guessed.
"""

from collections.abc import Callable
from typing import Any

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "half": 2, "float": 4}


def shape_of(config: Any) -> dict[str, float]:
    """Fields of `ModelShape` that are known."""
    model, parallel, cache, scheduler = (
        getattr(config, name, None) for name in ("model_config", "parallel_config", "cache_config", "scheduler_config")
    )
    text = _try(lambda: model.hf_text_config)  # type: ignore[union-attr]
    shape: dict[str, float | None] = {
        "layers": _try(lambda: int(text.num_hidden_layers)),
        "hidden_size": _try(lambda: int(model.get_hidden_size())),  # type: ignore[union-attr]
        "attention_heads": _try(lambda: int(text.num_attention_heads)),
        "kv_heads": _try(lambda: int(model.get_total_num_kv_heads())),  # type: ignore[union-attr]
        "head_size": _try(lambda: int(model.get_head_size())),  # type: ignore[union-attr]
        "vocabulary_size": _try(lambda: int(model.get_vocab_size())),  # type: ignore[union-attr]
        "kv_block_tokens": _try(lambda: int(cache.block_size)),  # type: ignore[union-attr]
        "kv_blocks": _try(lambda: int(cache.num_gpu_blocks)) or None,  # type: ignore[union-attr]
        "kv_bytes_per_token": _try(lambda: _kv_bytes_per_token(model, parallel, cache)),
        "sequences_max": _try(lambda: int(scheduler.max_num_seqs)),  # type: ignore[union-attr]
        "batched_tokens_max": _try(lambda: int(scheduler.max_num_batched_tokens)),  # type: ignore[union-attr]
        "tensor_parallel": _try(lambda: int(parallel.tensor_parallel_size)),  # type: ignore[union-attr]
    }
    shape |= _parameters(config, model, text)
    copies = _try(lambda: int(parallel.data_parallel_size)) or 1  # type: ignore[union-attr]
    if shape.get("parameters") is not None and _try(lambda: model.quantization) is None:  # type: ignore[union-attr]
        element = _try(lambda: _BYTES[_dtype(model.dtype)])  # type: ignore[union-attr]
        shape["weights_bytes"] = None if element is None else shape["parameters"] * element * copies
    return {name: value for name, value in shape.items() if value is not None}


def _try(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception:  # noqa: BLE001 - not told is a proper answer
        return None


def _dtype(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _kv_bytes_per_token(model: Any, parallel: Any, cache: Any) -> float | None:
    """Of plain attention in all layers. Other kinds (state spaces, windows, latent attention) are not figured here."""
    if model.use_mla or model.is_hybrid or getattr(model.hf_text_config, "sliding_window", None):
        return None
    element = 1 if str(cache.cache_dtype).startswith("fp8") else _BYTES[_dtype(model.dtype)]
    heads = model.get_num_kv_heads(parallel) * parallel.tensor_parallel_size
    return float(2 * model.hf_text_config.num_hidden_layers * heads * model.get_head_size() * element)


def _parameters(config: Any, model: Any, text: Any) -> dict[str, float | None]:
    """From vLLM's own model of FLOPs: a token alone costs two for each parameter that it meets."""

    def active() -> int:
        from vllm.v1.metrics.perf import ExecutionContext, ModelMetrics

        one_token = ExecutionContext()
        one_token.add(1, 0, is_prefill=False)
        return int(ModelMetrics(config).get_num_flops(one_token, per_gpu=False)) // 2

    met = _try(active) or None
    if met is None:
        return {}
    mixture = _try(lambda: bool(model.is_moe))
    embedding = 0 if getattr(text, "tie_word_embeddings", False) else int(text.vocab_size) * int(text.hidden_size)
    # The experts that a token does not meet are not counted here, so their sum is not known.
    return {"active_parameters": met, "parameters": met + embedding if mixture is False else None}
