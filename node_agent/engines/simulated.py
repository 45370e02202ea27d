"""What vLLM's arguments mean to a simulated engine. Pure; called when one is started.

Those that change the arithmetic are taken over; all others, which a real engine may well need, change nothing here.
"""

from collections.abc import Sequence
from dataclasses import replace

from controlplane.simulation.engine_model import EngineModel
from node_agent.engines.arguments import check_arguments
from node_agent.errors import EngineSpecError

_LIMITS = {
    "--max-num-seqs": "sequences_max",
    "--max-num-batched-tokens": "batched_tokens_max",
    "--block-size": "block_tokens",
    "--tensor-parallel-size": "tensor_parallel",
    "-tp": "tensor_parallel",
}


def with_arguments(model: EngineModel, arguments: Sequence[str]) -> EngineModel:
    """Raises EngineSpecError for arguments that a real engine would not be started with either."""
    check_arguments(tuple(arguments))
    limits, shape = model.limits, model.shape
    given = _given(arguments)
    try:
        for option, name in _LIMITS.items():
            if option in given:
                limits = replace(limits, **{name: int(given[option])})
        if "--gpu-memory-utilization" in given:
            limits = replace(limits, memory_utilization_ratio=float(given["--gpu-memory-utilization"]))
        if "--max-model-len" in given:
            shape = replace(shape, context_tokens_max=int(given["--max-model-len"]))
        return replace(model, shape=shape, limits=limits)
    except ValueError as error:
        raise EngineSpecError(f"the engine's arguments make no sense: {error}") from error


def _given(arguments: Sequence[str]) -> dict[str, str]:
    """`--option value` and `--option=value`."""
    given: dict[str, str] = {}
    for index, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if equals:
            given[option] = value
        elif argument.startswith("-") and index + 1 < len(arguments):
            given[argument] = arguments[index + 1]
    return given
