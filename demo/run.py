"""`python -m demo run`: the whole fleet under light traffic, with the console in this terminal until it is left."""

import select
import subprocess
import sys
import tempfile
from pathlib import Path

from demo.processes import StepFailedError, environment, tool
from demo.setting_up import Steps, set_up
from demo.stack import MODEL, Stack, running
from demo.traffic import BackgroundTraffic

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
                    traffic = BackgroundTraffic(stack.base_url, key, MODEL, PER_SECOND)
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
