"""Runs another program for a check and takes its answer: bounded in time and size, and never left running."""

import asyncio
import os
from dataclasses import dataclass

_ANSWER_BYTES_MAX = 64 * 1024
# The engine's Python must not find the agent's packages.
_NOT_PASSED_ON = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


@dataclass(frozen=True, slots=True)
class Answer:
    exit_code: int | None  # None: it could not be started, or had to be ended
    output: str
    complaint: str  # its last line on stderr, or why there is no answer


async def ask(*command: str, seconds_max: float) -> Answer:
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
    try:
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        return Answer(None, "", f"cannot run {command[0]}: {error.strerror}")
    output = bytearray()
    try:
        async with asyncio.timeout(seconds_max):
            complaints = (await asyncio.gather(_read(child.stdout, output), _read(child.stderr, bytearray())))[1]
            await child.wait()
    except TimeoutError:
        return Answer(None, _text(output), f"no end within {seconds_max:.0f} s")
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    lines = _text(complaints).strip().splitlines()
    return Answer(child.returncode, _text(output), _printable(lines[-1]) if lines else "")


async def _read(stream: asyncio.StreamReader | None, into: bytearray) -> bytearray:
    """The end of what it says, if it says too much."""
    while stream is not None and (piece := await stream.read(4096)):
        into += piece
        del into[:-_ANSWER_BYTES_MAX]
    return into


def _text(raw: bytes | bytearray) -> str:
    return raw.decode("utf-8", "replace")


def _printable(line: str) -> str:
    return "".join(character for character in line[:300] if character.isprintable())
