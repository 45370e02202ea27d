"""Has vLLM's own parser judge a command line, in a process of its own, before a running engine is stopped for it.

Called by the supervisor when a newer generation is to replace an engine. The child parses the arguments and makes the
configuration that a start would make; it loads no weights and touches no device. It ends with the question, answered or
not; nothing that it writes is trusted beyond a bounded sentence.
"""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from node_agent.engines.engine import Launch
from node_agent.engines.vllm_log import cause_of_death
from node_agent.errors import EngineSpecError

_log = structlog.get_logger(__name__)

SECONDS_MAX = 60.0
_OUTPUT_BYTES_MAX = 256 * 1024
_SENTENCE_CHARACTERS_MAX = 600
_PROGRAM = re.compile(r"^\S+: error: ")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# What the child ends with when this vLLM has no parser that it knows: then nothing is known against the arguments.
_NO_PARSER_EXIT_CODE = 78
_REFUSED_EXIT_CODE = 1

# Runs in the engine's environment. It answers like a start that failed: its last words are the reason.
_CHILD = f"""
import sys
try:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser
    try:
        from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    except ImportError:
        from vllm.entrypoints.openai.cli_args import make_arg_parser, validate_parsed_serve_args
except ImportError as error:
    import importlib.util
    if importlib.util.find_spec("vllm") is None:
        raise
    print(error, file=sys.stderr)
    sys.exit({_NO_PARSER_EXIT_CODE})
arguments = make_arg_parser(FlexibleArgumentParser(prog="vllm")).parse_args()
validate_parsed_serve_args(arguments)
AsyncEngineArgs.from_cli_args(arguments).create_engine_config()
"""


def trial_of(command: Sequence[str], module_words: int, environment: Mapping[str, str]) -> Launch:
    """The trial of a command line whose first words are the interpreter and, `module_words` long, what it runs."""
    interpreter = command[0]
    return Launch((interpreter, "-c", _CHILD, *command[1 + module_words :]), environment)


async def judge(trial: Launch, directory: Path, *, seconds_max: float = SECONDS_MAX) -> None:
    """Returns when nothing speaks against a start. Raises EngineSpecError with the sentence that does."""
    try:
        child = await asyncio.create_subprocess_exec(
            *trial.command,
            cwd=directory,
            env=dict(trial.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise EngineSpecError(f"the arguments cannot be tried: {trial.command[0]}: {error.strerror}") from error
    try:
        async with asyncio.timeout(seconds_max):
            output = await _last_words(child)
            exit_code = await child.wait()
    except TimeoutError:
        raise EngineSpecError(
            f"vLLM had not judged its arguments within {seconds_max:.0f} s, so nothing was stopped for them: this machine "
            "may be very busy; try again"
        ) from None
    finally:
        # Whatever it started goes with it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        if child.returncode is None:
            await child.wait()
    if exit_code == _NO_PARSER_EXIT_CODE:
        _log.warning("arguments_not_tried", reason=output[-1:] or "this vLLM has another parser")
    elif exit_code != 0:
        raise EngineSpecError(sentence(exit_code, output))


def sentence(exit_code: int, output: Sequence[str]) -> str:
    """What of a refusal's output matters."""
    reason = cause_of_death(None if exit_code == _REFUSED_EXIT_CODE else exit_code, output).reason
    said = reason.removeprefix("vLLM refused its arguments: ").removeprefix("the engine's process is gone: ")
    return f"vLLM refused these arguments: {_PROGRAM.sub('', said)}"[:_SENTENCE_CHARACTERS_MAX]


async def _last_words(child: asyncio.subprocess.Process) -> list[str]:
    """The end of what it wrote; a flood costs neither memory nor the child's patience."""
    assert child.stdout is not None  # noqa: S101 - it was asked for
    kept = bytearray()
    while part := await child.stdout.read(65536):
        kept += part
        del kept[:-_OUTPUT_BYTES_MAX]
    lines = _COLOUR.sub("", kept.decode("utf-8", "replace")).splitlines()
    return ["".join(filter(str.isprintable, line)) for line in lines if line.strip()]
