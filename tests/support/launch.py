"""Becomes another program after setting what a child inherits. Started by tests, from any folder.

`preexec_fn` and `user` of `subprocess` would do the same, but both make it fork, and a forked child of a process with
gRPC's threads now and then dies before it execs. This needs no code between fork and exec.
"""

import argparse
import ctypes
import os
import pwd
import signal
import sys

_PR_SET_PDEATHSIG = 1


def launched(*command: str, user: str | None = None, dies_with_parent: bool = False) -> list[str]:
    """The command line that runs `command` as `user`, interruptible even where a shell had SIGINT ignored.

    With `dies_with_parent` the kernel sends SIGQUIT to it when its parent dies; on Linux only.
    """
    as_user = ["--user", user] if user else []
    dies = ["--dies-with-parent"] if dies_with_parent else []
    return [sys.executable, __file__, *as_user, *dies, "--", *command]


def main() -> None:
    parser = argparse.ArgumentParser(prog="launch.py")
    parser.add_argument("--user")
    parser.add_argument("--dies-with-parent", action="store_true")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if options.user:
        owner = pwd.getpwnam(options.user)
        os.setgroups([])
        os.setgid(owner.pw_gid)
        os.setuid(owner.pw_uid)
    if options.dies_with_parent and sys.platform == "linux":
        # After setuid, which clears it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
    os.execvp(options.command[0], options.command)  # noqa: S606 - becoming it is what this is for


if __name__ == "__main__":
    main()
