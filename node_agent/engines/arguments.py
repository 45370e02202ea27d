"""Which of an operator's vLLM arguments are passed on, and why the others are not. Pure.

Called by `vllm` before a command line is made. It refuses what Stoker sets itself, what would open a second way in,
what would load code by name, and what trusts clients with more than requests; it does not check the rest: vLLM's own
parser does. `--trust-remote-code` passes: an operator who may choose any model may choose one that needs it. What is
refused here for good reason can still be wanted by a node's owner, who sets it in the agent's environment.
"""

import re
from collections.abc import Sequence

from node_agent.errors import EngineSpecError

ARGUMENTS_MAX = 200
ARGUMENT_LENGTH_MAX = 16_384

_SET_BY_STOKER = "Stoker sets it"
_OPENS_A_WAY_IN = "the engine's only way in is the port that Stoker guards"
_LOADS_CODE = "it would load code by name into the engine"
_TRUSTS_CLIENTS = "clients of all tenants would be trusted with it"
_ONE_NODE = "an engine runs on one node: the ports between its parts would be open to the network"

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
    "--model-class-overrides": _LOADS_CODE,
    "--tool-parser-plugin": _LOADS_CODE,
    "--reasoning-parser-plugin": _LOADS_CODE,
    "--logging-config": f"{_LOADS_CODE}, and the agent reads the log as it is; --log-level may be set",
    "--log-config-file": f"{_LOADS_CODE}, and the agent reads the log as it is; --log-level may be set",
    "--tool-server": "clients could have tools run on this node",
    "--profiler-config": "it opens routes that slow the engine and write files on the node",
    "--weight-transfer-config": "whoever reaches it could replace the model's weights",
    "--allowed-local-media-path": "clients could read files of this node",
    "--trust-request-chat-template": _TRUSTS_CLIENTS,
    "--trust-request-mm-kwargs": _TRUSTS_CLIENTS,
    "--enable-prompt-embeds": f"{_TRUSTS_CLIENTS}: tensors of the wrong shape end the engine",
    "--enable-mm-embeds": f"{_TRUSTS_CLIENTS}: tensors of the wrong shape end the engine",
    "--hf-token": "everybody on the node could read it in the list of processes; set HF_TOKEN for the agent instead",
    "--master-*": _ONE_NODE,
    "--nnodes": _ONE_NODE,
    "-n": _ONE_NODE,
    "--node-rank": _ONE_NODE,
    "-r": _ONE_NODE,
    "--data-parallel-address": _ONE_NODE,
    "-dpa": _ONE_NODE,
    "--data-parallel-rpc-port": _ONE_NODE,
    "-dpp": _ONE_NODE,
    "--data-parallel-rank": _ONE_NODE,
    "-dpn": _ONE_NODE,
    "--data-parallel-start-rank": _ONE_NODE,
    "-dpr": _ONE_NODE,
    "--data-parallel-external-lb": _ONE_NODE,
    "-dpe": _ONE_NODE,
    "--data-parallel-hybrid-lb": _ONE_NODE,
    "-dph": _ONE_NODE,
    "--help": "it would only print help",
    "-h": "it would only print help",
}

# vLLM's own options with which a refused one begins.
_WHOLE = frozenset({"--reasoning-parser"})
_EXECUTOR = "--distributed-executor-backend"
# In the JSON of a connector's configuration, or as a key of its own behind a dot.
_MODULE_PATH = re.compile(r"connector[_-]module[_-]path", re.IGNORECASE)


def check_arguments(arguments: Sequence[str]) -> None:
    """Raises EngineSpecError, naming the first argument that is not acceptable and why."""
    if len(arguments) > ARGUMENTS_MAX:
        raise EngineSpecError(f"{len(arguments)} engine arguments are more than the {ARGUMENTS_MAX} allowed")
    for argument in arguments:
        if len(argument) > ARGUMENT_LENGTH_MAX:
            raise EngineSpecError(f"an engine argument is longer than {ARGUMENT_LENGTH_MAX} characters")
        if "\0" in argument:
            raise EngineSpecError("an engine argument holds a zero byte")
        if _MODULE_PATH.search(argument):
            raise EngineSpecError(f"a connector's module path is refused: {_LOADS_CODE}")
        if argument == "--":
            raise EngineSpecError("a bare -- is not an engine argument")
        reason = _refusal(argument)
        if reason is not None:
            option, why = reason
            raise EngineSpecError(f"the engine argument {option} is refused: {why}")
    if any("." in value for value in _values(_EXECUTOR, arguments)):
        raise EngineSpecError(f"the engine argument {_EXECUTOR} may not name a class: {_LOADS_CODE}")


def turned_on(switch: str, arguments: Sequence[str]) -> bool:
    """Whether a switch like --enable-lora is given; the last word counts, as for vLLM."""
    opposite = switch.replace("--", "--no-", 1)
    given = [_option(argument) for argument in arguments]
    return next((option == switch for option in reversed(given) if option in (switch, opposite)), False)


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
    option = _option(argument)
    for refused, why in _REFUSED.items():
        family = refused.removesuffix("*")
        if option == refused or (refused.endswith("*") and option.startswith(family)):
            return option, why
        # argparse accepts any unambiguous beginning of a long option, unless it is an option itself.
        if option.startswith("--") and family.startswith(option) and option not in _WHOLE:
            return refused, f"{why} ({option} would be taken for it)"
    return None


def _option(argument: str) -> str:
    """vLLM's parser takes --a_b for --a-b, and --a.b for a key inside --a."""
    option = argument.split("=", 1)[0].split(".", 1)[0]
    return option.replace("_", "-").lower() if option.startswith("--") else option


def _values(option: str, arguments: Sequence[str]) -> list[str]:
    """What is given for an option, in either of the two ways. An abbreviated option counts, too."""
    found: list[str] = []
    for place, argument in enumerate(arguments):
        name = _option(argument)
        if len(name) > len("--d") and option.startswith(name):
            found += [argument.partition("=")[2]] if "=" in argument else arguments[place + 1 : place + 2]
    return found
