"""`python -m demo run`: the whole fleet under light traffic, with the console in this terminal until it is left."""

import asyncio
import select
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from openai import AsyncOpenAI

from demo.processes import StepFailedError, environment, tool
from demo.setting_up import Steps, set_up
from demo.stack import MODEL, Stack, running
from demo.traffic import trickle

PER_SECOND = 0.7
WAIT_SECONDS = 8


def run() -> int:
    """Bring everything up, open the console, end everything when it is left; the exit code."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("make demo opens a console and needs a terminal; without one, run make demo-check", file=sys.stderr)
        return 2
    steps = Steps(8)
    with tempfile.TemporaryDirectory(prefix="stoker-", dir="/tmp") as directory:
        stack = Stack(Path(directory))
        try:
            with running(stack):
                key = set_up(stack, steps)
                with steps.step("light traffic begins"):
                    traffic = _Traffic(stack, key)
                    traffic.start()
                try:
                    _explain(stack, key)
                    console = [*tool("console"), "--credentials", str(stack.credentials), "console"]
                    code = subprocess.run(console, env=environment(), check=False).returncode
                finally:
                    print("stopping everything …", flush=True)
                    traffic.stop()
        except StepFailedError as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nstopped", flush=True)
            return 130
    print("all stopped, nothing is left running")
    return code


def _explain(stack: Stack, key: str) -> None:
    print(
        f"""
Send a request yourself, in another terminal:

  curl {stack.base_url}/chat/completions \\
    -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\
    -d '{{"model": "{MODEL}", "max_tokens": 40, "messages": [{{"role": "user", "content": "Hello"}}]}}'

Act as the operator there, too:

  export STOKER_CREDENTIALS={stack.credentials}
  .venv/bin/stoker status

The console opens in {WAIT_SECONDS} s, or now with Enter. q leaves it and stops everything.""",
        flush=True,
    )
    select.select([sys.stdin], [], [], WAIT_SECONDS)


class _Traffic:
    """The light load, in a thread of its own so that the console has the terminal and this process to itself."""

    def __init__(self, stack: Stack, key: str) -> None:
        self._stack = stack
        self._key = key
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join(30)

    def _run(self) -> None:
        asyncio.run(self._send())

    async def _send(self) -> None:
        async with AsyncOpenAI(base_url=self._stack.base_url, api_key=self._key, max_retries=0, timeout=60) as client:
            await trickle(client, MODEL, PER_SECOND, self._end.is_set, seed=11)
