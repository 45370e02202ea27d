"""Which of an operator's vLLM arguments are passed on, and why the others are not. Pure.

Called by `vllm` before a command line is made. It refuses what Stoker sets itself, what would open a second way in, and
what would load code by name; it does not check the rest: vLLM's own parser does, and says so when it dies.
"""

import re
from collections.abc import Sequence

from node_agent.errors import EngineSpecError

ARGUMENTS_MAX = 200
ARGUMENT_LENGTH_MAX = 16_384

_SET_BY_STOKER = "Stoker sets it"
_OPENS_A_WAY_IN = "the engine's only way in is the port that Stoker guards"
_LOADS_CODE = "it would load code by name into the engine"

# Option → why it is refused. A trailing * stands for a family.
_REFUSED = {
    "--model": _SET_BY_STOKER,
    "--served-model-name": _SET_BY_STOKER,
    "--host": _SET_BY_STOKER,
    "--port": _SET_BY_STOKER,
    "--ssl-*": _SET_BY_STOKER,
    "--enable-ssl-refresh": _SET_BY_STOKER,
    "--no-enable-ssl-refresh": _SET_BY_STOKER,
    "--shutdown-timeout": _SET_BY_STOKER,
    "--enable-mfu-metrics": _SET_BY_STOKER,
    "--no-enable-mfu-metrics": _SET_BY_STOKER,
    "--enable-prompt-tokens-details": _SET_BY_STOKER,
    "--no-enable-prompt-tokens-details": _SET_BY_STOKER,
    "--kv-events-config": _SET_BY_STOKER,
    "--api-key": "clients are known by the gateway; a key here would lock out the gateway itself",
    "--root-path": "the gateway and the agent speak to the engine at /",
    "--disable-log-stats": "without statistics nobody can tell how full or how well the engine is",
    "--headless": "without its server the engine cannot be reached or watched",
    "--config": "a file could set what is refused here; give the arguments themselves",
    "--uds": _OPENS_A_WAY_IN,
    "--grpc": _OPENS_A_WAY_IN,
    "--grpc-port": _OPENS_A_WAY_IN,
    "--data-parallel-multi-port-external-lb": _OPENS_A_WAY_IN,
    "--data-parallel-supervisor-port": _OPENS_A_WAY_IN,
    "-dpm": _OPENS_A_WAY_IN,
    "--middleware": _LOADS_CODE,
    "--worker-cls": _LOADS_CODE,
    "--worker-extension-cls": _LOADS_CODE,
    "--scheduler-cls": _LOADS_CODE,
    "--logits-processors": _LOADS_CODE,
    "--help": "it would only print help",
    "-h": "it would only print help",
}


def check_arguments(arguments: Sequence[str]) -> None:
    """Raises EngineSpecError, naming the first argument that is not acceptable and why."""
    if len(arguments) > ARGUMENTS_MAX:
        raise EngineSpecError(f"{len(arguments)} engine arguments are more than the {ARGUMENTS_MAX} allowed")
    for argument in arguments:
        if len(argument) > ARGUMENT_LENGTH_MAX:
            raise EngineSpecError(f"an engine argument is longer than {ARGUMENT_LENGTH_MAX} characters")
        if "\0" in argument:
            raise EngineSpecError("an engine argument holds a zero byte")
        if argument == "--":
            raise EngineSpecError("a bare -- is not an engine argument")
        reason = _refusal(argument)
        if reason is not None:
            option, why = reason
            raise EngineSpecError(f"the engine argument {option} is refused: {why}")


def check_name(kind: str, value: str) -> None:
    """A model's name or source: one word for the command line, never an option."""
    if not value or value != value.strip():
        raise EngineSpecError(f"the {kind} is empty or has spaces around it")
    if value.startswith("-"):
        raise EngineSpecError(f"the {kind} begins with a dash; it would be taken for an option")
    if not value.isprintable() or len(value) > 4096:
        raise EngineSpecError(f"the {kind} holds control characters or is too long")


def _refusal(argument: str) -> tuple[str, str] | None:
    if not argument.startswith("-") or re.fullmatch(r"-[\d.].*", argument):
        return None
    # vLLM's parser takes --a_b for --a-b, and --a.b for a key inside --a.
    option = argument.split("=", 1)[0].split(".", 1)[0]
    if option.startswith("--"):
        option = option.replace("_", "-").lower()
    for refused, why in _REFUSED.items():
        family = refused.removesuffix("*")
        if option == refused or (refused.endswith("*") and option.startswith(family)):
            return option, why
        # argparse accepts any unambiguous beginning of a long option. (No option of vLLM 0.32 begins a refused one.)
        if option.startswith("--") and family.startswith(option):
            return refused, f"{why} ({option} would be taken for it)"
    return None
