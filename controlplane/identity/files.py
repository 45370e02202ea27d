"""Files that hold identities: written atomically, private where they must be, and refused when they are not.

Called by everything in `controlplane.identity` and by `services.initialise`. Never makes a private key readable by
others, not even for a moment, and never leaves half a file behind.
"""

import os
import secrets
from pathlib import Path

from controlplane.errors import StokerError

DIRECTORY_MODE = 0o700
PRIVATE_MODE = 0o600
PUBLIC_MODE = 0o644


class DataDirectoryError(StokerError):
    """The data directory, or an identity in it, cannot be used as it is: missing, damaged, or open to others."""

    code = "data_directory"


def make_directory(path: Path) -> None:
    """Make a directory (and its parents) that only we can enter. One that exists keeps its mode."""
    try:
        for missing in [p for p in (*reversed(path.parents), path) if not p.exists()]:
            missing.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    except OSError as error:
        raise DataDirectoryError(
            f"cannot make the directory {path}: {error.strerror}; run as the user that owns the data directory"
        ) from error


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read. Replaces what was there, in one step."""
    _write(path, content, PRIVATE_MODE)


def write_public(path: Path, content: bytes) -> None:
    """Write a file that anyone may read. Replaces what was there, in one step."""
    _write(path, content, PUBLIC_MODE)


def read_private(path: Path) -> bytes:
    """Read a private key. Raises DataDirectoryError when others could have read it, too."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read()
    except OSError as error:
        raise _unreadable(path, error) from error
    if mode & 0o077:
        raise DataDirectoryError(
            f"{path} is a private key, and its mode {mode & 0o777:04o} lets others at it: "
            f"run `chmod 600 {path}`, and make new keys if others use this machine"
        )
    return content


def read_public(path: Path) -> bytes:
    """Read a file of the data directory that is no secret. Raises DataDirectoryError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DataDirectoryError:
    if isinstance(error, FileNotFoundError):
        return DataDirectoryError(f"{path} is missing: run `stoker-controlplane init`, or name the right --data-dir")
    return DataDirectoryError(f"cannot read {path}: {error.strerror}; run as the user that owns the data directory")


def _write(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), mode)  # exact, whatever the umask
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)
    except OSError as error:
        raise DataDirectoryError(
            f"cannot write {path}: {error.strerror}; run as the user that owns the data directory"
        ) from error


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
