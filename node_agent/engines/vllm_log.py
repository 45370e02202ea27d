"""What vLLM's log tells: how far a start has come, and why a process died. Pure.

Called by `vllm` for every new line of a starting engine, and for the last lines of a dead one. The patterns were read
off vLLM 0.32; a line that no pattern knows is no news, so another version costs stage names and nothing else.
"""

import re
import signal
from collections.abc import Sequence

from node_agent.engines.engine import CauseOfDeath, LogNews

# The order is that of a start. The first match of a line counts.
_STAGES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"non-default args:|\bversion \d+\.\d+"), "reading its arguments"),
    (re.compile(r"Resolved architecture:"), "reading the model's configuration"),
    (re.compile(r"Initializing a V1 LLM engine"), "starting the engine core"),
    (re.compile(r"world_size=\d+ rank=\d+"), "starting workers"),
    (re.compile(r"Starting to load model"), "loading weights"),
    (re.compile(r"Loading .*checkpoint shards:\s+(?P<percent>\d{1,3})%"), "loading weights"),
    (re.compile(r"Loading weights took|Model loading took"), "weights loaded"),
    (re.compile(r"Dynamo bytecode transform|Compiling a graph|torch\.compile takes"), "compiling"),
    (re.compile(r"KV cache size:"), "making the KV cache"),
    (re.compile(r"Capturing (CUDA|cuda) ?graphs?.*?(?P<percent>\d{1,3})%"), "capturing graphs"),
    (re.compile(r"Capturing (CUDA|cuda) ?graphs?|Graph capturing finished"), "capturing graphs"),
    (re.compile(r"init engine \(profile"), "engine core is up"),
    (re.compile(r"Starting vLLM (API )?server|Available routes are"), "opening its port"),
    (re.compile(r"Application startup complete"), "listening"),
)
_DTYPE = re.compile(r"Initializing a V1 LLM engine.*?\bdtype=(?:torch\.)?(?P<dtype>\w+)")
# "(EngineCore pid=12) ERROR 11-22 14:19:10 [core.py:1] " in front of what matters.
_PREFIX = re.compile(r"^(\([^)]*pid=\d+\)\s*)?((INFO|WARNING|ERROR|CRITICAL|DEBUG)\s+\S+\s+\S+\s+\[[^\]]*\]\s*)?")
_ERROR = re.compile(r"^(?:[\w.]*(?:Error|Exception|Interrupt)\b(?:\s*:|$)|(?:\S+: )?error:)", re.IGNORECASE)
# True, and of no use to anybody: the cause stands above it.
_EMPTY_PHRASES = (
    "Engine core initialization failed",
    "WorkerProc initialization failed",
    "Engine core proc",
    "EngineCore encountered an issue",
)
# pydantic's first line only counts the errors; what is wrong follows.
_VALIDATION = re.compile(r"\bValidationError: \d+ validation errors? for (?P<subject>\w+)")
_VALIDATION_LINES = 3
# A file system may be mounted later; any other refused configuration stays refused.
_MAY_APPEAR_LATER = "local directory"
_ARGUMENTS_REFUSED_EXIT_CODE = 2


def read_line(line: str) -> LogNews:
    dtype = _DTYPE.search(line)
    for pattern, stage in _STAGES:
        match = pattern.search(line)
        if match is None:
            continue
        percent = match.groupdict().get("percent")
        return LogNews(
            stage=f"{stage} ({int(percent)} %)" if percent else stage, dtype=dtype["dtype"] if dtype else None
        )
    return LogNews()


def cause_of_death(exit_code: int | None, log_tail: Sequence[str]) -> CauseOfDeath:
    lines = [_PREFIX.sub("", line).strip() for line in log_tail]
    said, refused = _root_cause(lines)
    how = _how_it_ended(exit_code)
    return CauseOfDeath(
        reason=f"{how}: {said}" if said else how,
        retryable=not refused and not (exit_code == _ARGUMENTS_REFUSED_EXIT_CODE and "error:" in said),
    )


def _root_cause(lines: Sequence[str]) -> tuple[str, bool]:
    """The sentence worth showing, and whether it is vLLM refusing its configuration.

    The first error is the cause; what follows are the processes that fell over it.
    """
    found = [(index, line) for index, line in enumerate(lines) if _ERROR.match(line)]
    telling = [(index, line) for index, line in found if not any(phrase in line for phrase in _EMPTY_PHRASES)]
    for index, line in telling or found[-1:]:
        validation = _VALIDATION.search(line)
        if validation is None:
            return line, False
        details = " ".join(lines[index + 1 : index + 1 + _VALIDATION_LINES]).removeprefix("Value error, ")
        said = f"{validation['subject']}: {details.partition(' [type=')[0]}"
        return said, _MAY_APPEAR_LATER not in said
    return "", False


def _how_it_ended(exit_code: int | None) -> str:
    if exit_code is None:
        return "the engine's process is gone"
    if exit_code == _ARGUMENTS_REFUSED_EXIT_CODE:
        return "vLLM refused its arguments"
    if exit_code >= 0:
        return f"the engine ended with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    hint = " (out of memory?)" if -exit_code == signal.SIGKILL else ""
    return f"the engine was killed by {name}{hint}"
