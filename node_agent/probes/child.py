"""Runs `roofline_child` with the engine environment's Python and reads its one line of JSON.

Called by `devices` and `roofline`. Every way in which it can fail becomes a ProbeError; nothing is left running.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from node_agent.errors import ProbeError

_CHILD = Path(__file__).with_name("roofline_child.py")
_OUTPUT_LINES_QUOTED = 3
# Device ids are the machine's own numbers, whatever the agent was started with; and its packages are not the child's.
_NOT_PASSED_ON = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


async def run_child(engine_python: Path, *arguments: str, seconds_max: float) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
    environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    try:
        child = await asyncio.create_subprocess_exec(
            str(engine_python),
            str(_CHILD),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
    except OSError as error:
        raise ProbeError(
            f"cannot run {engine_python}: {error.strerror}; is the engine's environment set up?"
        ) from error
    try:
        async with asyncio.timeout(seconds_max):
            output, complaints = await child.communicate()
    except TimeoutError as error:
        raise ProbeError(f"the probe did not end within {seconds_max:.0f} s") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        raise ProbeError(f"the probe failed (exit code {child.returncode}): {_end_of(complaints)}")
    try:
        answer = json.loads(output.decode("utf-8", "replace").strip().rpartition("\n")[2])
    except (ValueError, RecursionError) as error:
        raise ProbeError("the probe printed something else than its result") from error
    if not isinstance(answer, dict):
        raise ProbeError("the probe printed something else than its result")
    return answer


def _end_of(complaints: bytes) -> str:
    lines = [line.strip() for line in complaints.decode("utf-8", "replace").splitlines() if line.strip()]
    text = " / ".join(lines[-_OUTPUT_LINES_QUOTED:]) or "it said nothing"
    return "".join(character for character in text if character.isprintable())
