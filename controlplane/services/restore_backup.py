"""Bring a data directory and its database back from a backup; what was there is moved aside, never deleted.

Called by `stoker-controlplane restore`. Everything is unpacked, checked and migrated beside the data directory's own files
first; only then are they exchanged, and put back when that fails. Refuses while a control plane runs. Blocking: never call
it on a running event loop.
"""

import asyncio
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

from controlplane.clock import Clock
from controlplane.errors import ConfigurationError, StokerError, UnavailableError
from controlplane.fleet.access import ApiKey, OperatorIdentity
from controlplane.fleet.history import AuditEntry
from controlplane.identity.files import DataDirectoryError, make_directory
from controlplane.identity.layout import DataLayout
from controlplane.services.free_text import actor_of
from controlplane.services.write_backup import DATA, DATABASE_PART
from controlplane.settings import Settings
from controlplane.storage import backup_archive, database_copy, migrate
from controlplane.storage.backup_archive import BackupFileError, Manifest
from controlplane.storage.database_url import database_file, database_kind
from controlplane.storage.leader_lock import LeaderLock
from controlplane.storage.unit_of_work import UnitOfWork

Tell = Callable[[str], None]
_OURS = ("stoker.toml", "identity", "operators")  # moved aside in any case: they belong together
_CONFIG = "controlplane.toml"  # only when the backup has one
_SQLITE_BESIDE = ("", "-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Restored:
    manifest: Manifest
    aside: Path | None  # where what was there lies now; None: there was nothing
    keys_kept: int | None  # API keys made or revoked since the backup, taken over; None: the old database did not tell
    leader_epoch: int  # 0: the database was left alone


def restore_backup(
    settings: Settings,
    used_now: Sequence[str],
    source: Path,
    by: OperatorIdentity,
    clock: Clock,
    tell: Tell,
    *,
    identity_only: bool = False,
) -> Restored:
    """`used_now`: addresses of databases that a control plane on this directory might lead. Raises a StokerError."""
    layout, now = DataLayout(settings.data_dir), clock.now()
    made = not layout.root.exists()
    make_directory(layout.root)
    stage = layout.root / f".restore-{secrets.token_hex(6)}"
    try:
        with _locks((settings.database_url, *used_now), tell):
            stage.mkdir(mode=0o700)
            manifest = backup_archive.unpack(source, stage)
            made_at = f"{manifest.made_at:%Y-%m-%d %H:%M} UTC"
            tell(f"checked         {len(manifest.parts)} parts, saved at {made_at} by Stoker {manifest.version[:40]}")
            _refuse_foreign(manifest, source)
            database = not identity_only and _has_database(manifest, settings)
            keys_kept: int | None = None
            epoch = 0
            if database:
                keys_kept, epoch = _prepare(stage, manifest, settings, by, now, tell)
            aside = _exchange(layout, stage, database_file(settings.database_url) if database else None, now)
            return Restored(manifest, aside, keys_kept, epoch)
    except OSError as error:
        raise DataDirectoryError(
            f"cannot restore into {layout.root}: {error.strerror} ({error.filename}); what was there is as it was"
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if made:
            _unmake(layout.root)


def _unmake(root: Path) -> None:
    """Leave no directory where there was none, unless it was filled."""
    if all(path.name.endswith(".lock") for path in root.iterdir()):
        shutil.rmtree(root, ignore_errors=True)


def _refuse_foreign(manifest: Manifest, source: Path) -> None:
    for name in manifest.parts:
        first, _, rest = name.partition("/")
        if name != DATABASE_PART and (first != DATA or rest.split("/")[0] not in (*_OURS, _CONFIG)):
            raise BackupFileError(f"{source} is no backup of Stoker: nobody saves {name[:80]!a}")
    if f"{DATA}/stoker.toml" not in manifest.parts or (manifest.database and DATABASE_PART not in manifest.parts):
        raise BackupFileError(f"{source} is no whole backup: parts of it are missing")


@contextmanager
def _locks(urls: Sequence[str], tell: Tell) -> Iterator[None]:
    """Held while we work. Raises AlreadyRunningError when a control plane leads one of them."""
    with ExitStack() as held:
        for number, url in enumerate(dict.fromkeys(urls)):
            lock = LeaderLock(url)
            try:
                asyncio.run(lock.acquire())
            except UnavailableError as error:
                if number == 0 and database_kind(url) == "postgresql":
                    raise
                tell(f"note: cannot tell whether a control plane runs: {error}")
                continue
            held.callback(lambda lock=lock: asyncio.run(lock.release()))  # type: ignore[misc]
        yield


def _has_database(manifest: Manifest, settings: Settings) -> bool:
    if not manifest.database:
        return False
    kind = database_kind(settings.database_url)
    if manifest.database != kind:
        raise ConfigurationError(
            f"the backup holds a database of {manifest.database}, and {kind} is configured: name one of its kind with "
            "--database-url, or use --identity-only"
        )
    migrate.require_known_revision(manifest.schema, f"the backup by Stoker {manifest.version[:40]!a}")
    return True


def _prepare(
    stage: Path, manifest: Manifest, settings: Settings, by: OperatorIdentity, now: datetime, tell: Tell
) -> tuple[int | None, int]:
    """Make the database what the daemon can start from: revoked keys stay revoked, and agents will obey.

    For SQLite on the copy, before anything is exchanged; PostgreSQL's is empty until then.
    """
    url, copy = settings.database_url, stage / DATABASE_PART
    file = database_file(url)
    before_epoch, keys = _known_before(url) if file is not None and file.exists() else (0, None)
    if file is None:
        database_copy.copy_in(url, copy)
    else:
        database_copy.check_file(copy)
        url = f"sqlite:///{copy}"
    if manifest.schema != migrate.head():
        tell(f"migrating       from {manifest.schema} to {migrate.head()}")
        migrate.upgrade(url)
    # Seconds since 1970: more than any count of starts, and more with each restore, whatever backup it is from.
    epoch = max(manifest.leader_epoch, before_epoch, int(now.timestamp())) + 1
    kept = 0

    def settle(uow: UnitOfWork) -> None:
        nonlocal kept
        kept = sum(_keep(uow, key) for key in keys or ())
        uow.leadership.raise_to(epoch, "stoker-controlplane restore", now)
        detail = f"from the backup of {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC by Stoker {manifest.version}"
        uow.audit.append(
            AuditEntry(now, actor_of(by.name), "restore_backup", "control plane", detail, "restored", by.peer)
        )

    database_copy.change(url, settle)
    if file is not None:
        database_copy.check_file(copy)
    return None if keys is None else kept, epoch


def _keep(uow: UnitOfWork, key: ApiKey) -> bool:
    """A key is a signed token: what is forgotten of it still works, and could not be revoked."""
    if uow.keys.get(key.key_id) is None:
        uow.keys.put(key)
        return True
    return key.revoked_at is not None and uow.keys.revoke(key.key_id, key.revoked_at)


def _known_before(url: str) -> tuple[int, list[ApiKey] | None]:
    """What the database that is replaced still tells; a damaged one tells nothing."""
    try:
        return database_copy.leader_epoch(url), database_copy.api_keys(url)
    except StokerError:
        return 0, None


def _unused(directory: Path, name: str) -> Path:
    """Nothing may be moved over what an earlier restore moved aside."""
    numbered = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(directory / each for each in numbered if not (directory / each).exists())


def _exchange(layout: DataLayout, stage: Path, database: Path | None, now: datetime) -> Path | None:
    """Move what is there aside and the new in; when a step fails, all before it are undone."""
    aside = _unused(layout.root, f"before-restore-{now:%Y%m%dT%H%M%SZ}")
    moves: list[tuple[Path, Path]] = [
        (layout.root / name, aside / name)
        for name in (*_OURS, _CONFIG)
        if (layout.root / name).exists() and (name in _OURS or (stage / DATA / name).exists())
    ]
    if database is not None:
        present = [database.with_name(database.name + end) for end in _SQLITE_BESIDE]
        beside = aside if database.parent == layout.root else _unused(database.parent, aside.name)
        moves += [(path, beside / path.name) for path in present if path.exists()]
        moves.append((stage / DATABASE_PART, database))
    moves += [(path, layout.root / path.name) for path in sorted((stage / DATA).iterdir())]
    done: list[tuple[Path, Path]] = []
    try:
        for old, new in moves:
            make_directory(new.parent)
            old.rename(new)
            done.append((old, new))
    except OSError:
        for old, new in reversed(done):
            new.rename(old)
        raise
    return aside if aside.exists() else None
