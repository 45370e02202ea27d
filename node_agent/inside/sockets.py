"""Where the Unix sockets of each engine process lie. Called by `insides` and the composition root; makes folders only.

Each process has a folder of its own, which only the agent's user can enter and which is named after the instance: so an
engine cannot speak for another one by chance, and a restarted agent finds the same paths again.
"""

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from node_agent.errors import AgentError

_PATH_BYTES_MAX = 107  # of a Unix socket's address, on Linux
_NAME_LENGTH = 12
_PLUGIN, _EVENTS, _REPLAY = "p", "k-inproc", "r-inproc"
_RANK_ROOM = len("_dp999")


@dataclass(frozen=True, slots=True)
class InsideSockets:
    """`events` and `replay` are bound by the engine, for further ranks of data parallelism with `_dp1`, `_dp2`, … behind
    them: vLLM does so only where "inproc" is in the name, and fails to start several ranks otherwise.
    """

    folder: Path

    @property
    def plugin(self) -> Path:
        return self.folder / _PLUGIN

    @property
    def events(self) -> Path:
        return self.folder / _EVENTS

    @property
    def replay(self) -> Path:
        return self.folder / _REPLAY


def default_socket_dir(state_dir: Path) -> Path:
    """Below the state where that is short enough; else below the system's folder for temporary files, always the same."""
    wanted = state_dir.absolute() / "s"
    if _fits(wanted):
        return wanted
    digest = blake2b(os.fsencode(state_dir.absolute()), digest_size=6).hexdigest()
    return Path(tempfile.gettempdir()) / f"stoker-{os.getuid()}-{digest}"


def make_socket_dir(socket_dir: Path) -> None:
    """Raises AgentError when sockets in it could not be bound, or when others could reach them."""
    if not _fits(socket_dir):
        raise AgentError(f"{socket_dir} is too long for Unix sockets; set engines.socket_dir to a shorter folder")
    try:
        socket_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = socket_dir.lstat()
    except OSError as error:
        raise AgentError(f"cannot make {socket_dir}: {error.strerror}; set engines.socket_dir") from error
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or socket_dir.is_symlink() or not socket_dir.is_dir():
        raise AgentError(f"{socket_dir} is not a folder of the agent's user alone (mode 0700); set engines.socket_dir")


def sockets_of(socket_dir: Path, instance_id: str) -> InsideSockets:
    digest = blake2b(instance_id.encode(), digest_size=_NAME_LENGTH // 2).hexdigest()
    return InsideSockets(socket_dir.absolute() / digest)


def make_folder(sockets: InsideSockets) -> None:
    """Raises OSError."""
    sockets.folder.mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        sockets.plugin.unlink()


def remove_folder(sockets: InsideSockets) -> None:
    shutil.rmtree(sockets.folder, ignore_errors=True)


def _fits(socket_dir: Path) -> bool:
    longest = len(os.fsencode(socket_dir.absolute())) + 1 + _NAME_LENGTH + 1 + max(len(_EVENTS), len(_REPLAY))
    return longest + _RANK_ROOM <= _PATH_BYTES_MAX
