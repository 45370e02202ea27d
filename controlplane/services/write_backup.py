"""Save all that a control plane cannot make again, in one file: its database, its CAs and keys, its settings.

Called by `stoker-controlplane backup`, beside a running control plane or without. Changes nothing but that file, and leaves
nothing behind when it fails. Blocking: never call it on a running event loop.
"""

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from controlplane.clock import Clock
from controlplane.identity.files import DataDirectoryError
from controlplane.identity.layout import DataLayout
from controlplane.identity.marker import require_initialised
from controlplane.settings import Settings
from controlplane.storage import backup_archive, database_copy, migrate
from controlplane.storage.backup_archive import Manifest, part_of
from controlplane.storage.database_copy import CopyFailedError, Progress
from controlplane.storage.database_url import database_kind

DATABASE_PART = "database"  # in the archive; the data directory's own files lie under DATA
DATA = "data"


@dataclass(frozen=True, slots=True)
class Saved:
    file: Path
    size_bytes: int
    schema: str  # "": no database
    parts_count: int


def write_backup(
    settings: Settings,
    version: str,
    target: Path,
    clock: Clock,
    progress: Progress,
    *,
    identity_only: bool = False,
    replace: bool = False,
) -> Saved:
    """Raises a StokerError: DataDirectoryError, ConflictError (the file is there), DatabaseAwayError, CopyFailedError."""
    layout = DataLayout(settings.data_dir)
    require_initialised(layout)
    if not replace:
        backup_archive.refuse_existing(target)
    work = target.with_name(f".{target.name}.{secrets.token_hex(6)}.work")
    try:
        work.mkdir(mode=0o700)
    except OSError as error:
        raise CopyFailedError(
            f"cannot write beside {target}: {error.strerror}; name a file in a directory of yours"
        ) from error
    try:
        files: dict[str, Path] = {}
        kind, schema, epoch = "", "", 0
        if not identity_only:
            url = settings.database_url
            migrate.require_known(url)
            # Before the copy, so that what a start in between does is not claimed by it.
            kind, schema, epoch = database_kind(url), migrate.current(url) or "", database_copy.leader_epoch(url)
            database_copy.copy_out(url, work / DATABASE_PART, progress)
            files[DATABASE_PART] = work / DATABASE_PART
        files |= _own_files(layout)
        try:
            parts = {name: part_of(file) for name, file in files.items()}
        except OSError as error:
            raise DataDirectoryError(
                f"cannot read {error.filename}: {error.strerror}; run as the user that owns the data directory"
            ) from error
        manifest = Manifest(version, clock.now(), kind, schema, epoch, parts)
        backup_archive.write(target, manifest, files, replace=replace)
        return Saved(target, target.stat().st_size, schema, len(files))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _own_files(layout: DataLayout) -> dict[str, Path]:
    """What lies in the data directory and cannot be made again. Sockets, the gateway's files and SQLite's are not among it."""
    files = [layout.marker, layout.config] if layout.config.exists() else [layout.marker]
    for directory in (layout.identity, layout.operators):
        files += sorted(path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    return {f"{DATA}/{path.relative_to(layout.root).as_posix()}": path for path in files}
