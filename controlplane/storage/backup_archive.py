"""The file that a backup is: a gzipped tar of parts, with a manifest first that says what each part must be.

Called by `services.write_backup` and `services.restore_backup`. Written beside its name and put there in one step, readable
by its owner only; read as if from an enemy: nothing but the manifest's parts comes out, each in its own place, with the
size and the hash that the manifest tells. Knows nothing of what the parts mean.
"""

import gzip
import hashlib
import io
import json
import os
import secrets
import tarfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

from controlplane.errors import ConflictError, InvalidInputError, StokerError

FORMAT = 1  # grows when an older release could not read it
MANIFEST = "manifest.json"
_MANIFEST_BYTES_MAX = 4 << 20
_PRIVATE_MODE = 0o600
_CHUNK_BYTES = 1 << 20
_COMPRESSION = 4  # history shrinks to about the same with more, only slower


class BackupFileError(StokerError):
    """The file is no backup of ours, or not the one that was written."""

    code = "backup_file"


@dataclass(frozen=True, slots=True)
class Part:
    sha256: str
    size_bytes: int
    mode: int


@dataclass(frozen=True, slots=True)
class Manifest:
    version: str  # of the release that wrote it
    made_at: datetime
    database: str  # "sqlite", "postgresql", or "" for none
    schema: str  # the database's revision; "" for none
    leader_epoch: int
    parts: Mapping[str, Part]  # by name, with slashes


def part_of(file: Path) -> Part:
    """What the manifest will say of this file."""
    with file.open("rb") as content:
        status = os.fstat(content.fileno())
        return Part(hashlib.file_digest(content, "sha256").hexdigest(), status.st_size, status.st_mode & 0o777)


def refuse_existing(target: Path) -> None:
    """Early, so that nobody waits for a copy in vain."""
    if target.exists():
        raise ConflictError(f"{target} is there already: name another file, or overwrite it with --force")
    if not target.parent.is_dir():
        raise InvalidInputError(f"there is no directory {target.parent}: make it first")


def write(target: Path, manifest: Manifest, files: Mapping[str, Path], *, replace: bool) -> None:
    """Make the archive. Raises ConflictError when `target` is there already, unless `replace`."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE_MODE)
        with os.fdopen(descriptor, "wb") as raw:
            os.fchmod(raw.fileno(), _PRIVATE_MODE)  # exact, whatever the umask
            with gzip.GzipFile(target.name, "wb", _COMPRESSION, raw) as packed:
                _write_parts(packed, manifest, files)
            raw.flush()
            os.fsync(raw.fileno())
        if replace:
            temporary.replace(target)
        else:
            os.link(temporary, target)  # fails when somebody has put a file there meanwhile
        _sync(target.parent)
    except FileExistsError:
        refuse_existing(target)
        raise
    except OSError as error:
        raise BackupFileError(f"cannot write {target}: {error.strerror}; nothing was left behind") from error
    finally:
        temporary.unlink(missing_ok=True)


def _write_parts(packed: gzip.GzipFile, manifest: Manifest, files: Mapping[str, Path]) -> None:
    with tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        content = json.dumps({**asdict(manifest), "made_at": manifest.made_at.isoformat(), "format": FORMAT}, indent=1)
        _add(tar, MANIFEST, io.BytesIO(content.encode()), len(content.encode()), manifest)
        for name, file in files.items():
            with file.open("rb") as part:
                _add(tar, name, part, manifest.parts[name].size_bytes, manifest)


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int, manifest: Manifest) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, _PRIVATE_MODE, int(manifest.made_at.timestamp())
    tar.addfile(entry, content)


def unpack(source: Path, into: Path) -> Manifest:
    """Write all parts under `into`, which is empty, and check each. Raises BackupFileError, or OSError for our own disk."""
    try:
        with source.open("rb") as raw:
            mode = os.fstat(raw.fileno()).st_mode & 0o777
            if mode & 0o077:
                raise BackupFileError(
                    f"{source} holds private keys, and its mode {mode:04o} lets others at it: run `chmod 600 {source}`, "
                    "and think of who could have read it"
                )
            with tarfile.open(fileobj=raw, mode="r|gz") as tar:
                return _unpack(tar, source, into)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BackupFileError(f"{source} is damaged, or no backup of Stoker: {error}") from error
    except FileNotFoundError as error:
        raise InvalidInputError(f"there is no file {source}") from error


def _unpack(tar: tarfile.TarFile, source: Path, into: Path) -> Manifest:
    manifest: Manifest | None = None
    found: set[str] = set()
    for entry in tar:
        content = tar.extractfile(entry) if entry.isreg() else None
        if content is None:
            raise BackupFileError(f"{source} is no backup of Stoker: {entry.name[:80]!a} in it is no plain file")
        if manifest is None:
            manifest = _manifest(entry, content, source)
            continue
        part = manifest.parts.get(entry.name)
        if part is None or entry.name in found or entry.size != part.size_bytes:
            raise BackupFileError(f"{source} was changed: its manifest does not know {entry.name[:80]!a} like this")
        tarfile.data_filter(entry, str(into))  # a second lock on the door: raises for what would lie elsewhere
        _write_part(content, into.joinpath(*PurePosixPath(entry.name).parts), part, source)
        found.add(entry.name)
    if manifest is None or found != manifest.parts.keys():
        raise BackupFileError(f"{source} is damaged, or no backup of Stoker: parts of it are missing")
    return manifest


def _write_part(content: IO[bytes], target: Path, part: Part, source: Path) -> None:
    for missing in [each for each in reversed(target.parents) if not each.exists()]:
        missing.mkdir(mode=0o700)
    digest = hashlib.sha256()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        while chunk := content.read(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        os.fchmod(file.fileno(), part.mode)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != part.sha256:
        raise BackupFileError(f"{source} was changed or is damaged: {target.name!a} in it is not what was saved")


def _manifest(entry: tarfile.TarInfo, content: IO[bytes], source: Path) -> Manifest:
    if entry.name != MANIFEST or entry.size > _MANIFEST_BYTES_MAX:
        raise BackupFileError(f"{source} is no backup of Stoker: it does not begin with a manifest")
    try:
        told = json.loads(content.read())
        if int(told["format"]) > FORMAT:
            raise BackupFileError(
                f"{source} was written by Stoker {told['version']!a}, which is newer: use that release"
            )
        return Manifest(
            version=str(told["version"]),
            made_at=datetime.fromisoformat(told["made_at"]),
            database=str(told["database"]),
            schema=str(told["schema"]),
            leader_epoch=int(told["leader_epoch"]),
            parts={_safe(name): _part(part) for name, part in told["parts"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupFileError(f"{source} is damaged: its manifest makes no sense") from error


def _safe(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or not path.parts or "\\" in name or "\0" in name:
        raise ValueError(name)
    return name


def _part(told: Mapping[str, Any]) -> Part:
    size, mode = int(told["size_bytes"]), int(told["mode"])
    if size < 0:
        raise ValueError(size)
    return Part(str(told["sha256"]), size, 0o644 if mode & 0o004 else _PRIVATE_MODE)


def _sync(directory: Path) -> None:
    with suppress(OSError):  # not every file system can
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
