"""`backup` and `restore` from the command line to what lies on disk."""

import asyncio
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from controlplane.__main__ import cli
from controlplane.clock import SystemClock
from controlplane.command_line import run_command_line
from controlplane.fleet.access import ApiKey
from controlplane.storage import database_copy, migrate
from controlplane.storage.database import Database
from controlplane.storage.leader_lock import LeaderLock
from controlplane.storage.unit_of_work import UnitOfWork

T = TypeVar("T")
NOW = SystemClock().now()


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("STOKER_CONTROLPLANE_") or name == "STATE_DIRECTORY":
            monkeypatch.delenv(name)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    assert run("init", "--host", "cp.example", data=tmp_path / "data") == 0
    return tmp_path / "data"


@pytest.fixture
def saved(data: Path, tmp_path: Path) -> Path:
    """A backup in which the key `old` exists."""
    in_database(data, lambda uow: uow.keys.put(ApiKey("old", "acme", NOW, "ann")))
    assert run("backup", str(tmp_path / "saved"), data=data) == 0
    return tmp_path / "saved"


def run(*arguments: str, data: Path) -> int:
    return run_command_line(cli, [*arguments, "--data-dir", str(data)])


def url(data: Path) -> str:
    return f"sqlite:///{data / 'stoker.db'}"


def in_database(data: Path, fn: Callable[[UnitOfWork], T]) -> T:
    async def transact() -> T:
        database = Database.open(url(data))
        try:
            return await database.run(fn)
        finally:
            await database.close()

    return asyncio.run(transact())


def tree(data: Path) -> dict[str, tuple[bytes, int]]:
    """Everything but SQLite's files, whose bytes mean nothing."""
    return {
        str(path.relative_to(data)): (path.read_bytes(), path.stat().st_mode)
        for path in data.rglob("*")
        if path.is_file() and not path.name.startswith("stoker.db")
    }


def test_a_new_machine(data: Path, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, epoch = tree(data), database_copy.leader_epoch(url(data))
    shutil.rmtree(data)
    assert run("restore", str(saved), data=data) == 0
    assert tree(data) == before
    assert in_database(data, lambda uow: [key.key_id for key in uow.keys.list()]) == ["old"]
    migrate.require_current(url(data))
    assert database_copy.leader_epoch(url(data)) > max(epoch, 10**9), "agents must obey"
    assert in_database(data, lambda uow: uow.audit.list())[-1].action == "restore_backup"
    shown = capsys.readouterr()
    assert "moved aside" not in shown.err
    assert "API keys that were revoked since count again" in shown.err
    assert "nodes that joined since are refused" in shown.err


def test_over_what_is_there_nothing_is_lost(data: Path, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    in_database(data, lambda uow: uow.keys.revoke("old", NOW))
    in_database(data, lambda uow: uow.keys.put(ApiKey("new", "acme", NOW, "ann")))
    (data / "identity" / "mine.txt").write_text("kept")
    before = tree(data)
    assert run("restore", str(saved), data=data) == 0
    [aside] = data.glob("before-restore-*")
    moved = tree(aside)
    assert moved == {name: held for name, held in before.items() if name in moved}
    assert "identity/mine.txt" in moved
    assert not (data / "identity" / "mine.txt").exists()
    with_old = Database.open(f"sqlite:///{aside / 'stoker.db'}")
    assert asyncio.run(with_old.run(lambda uow: uow.keys.revoked_ids())) == {"old"}
    keys = in_database(data, lambda uow: {key.key_id: key.revoked_at for key in uow.keys.list()})
    assert keys == {"old": NOW, "new": None}, "a key that was revoked does not come back"
    assert "2 were taken over" in capsys.readouterr().err
    assert list(data.glob(".restore-*")) == []


def test_each_restore_leads_higher_than_the_one_before(data: Path, saved: Path) -> None:
    assert run("restore", str(saved), data=data) == 0
    first = in_database(data, lambda uow: uow.leadership.acquire("a start", NOW))
    assert run("restore", str(saved), data=data) == 0
    assert database_copy.leader_epoch(url(data)) > first


def test_only_identities(data: Path, saved: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    assert run("backup", str(small), "--identity-only", data=data) == 0
    in_database(data, lambda uow: uow.keys.put(ApiKey("new", "acme", NOW, "ann")))
    for source in (small, saved):
        (data / "identity" / "api_keys" / "signing_key.pem").unlink()
        assert run("restore", str(source), "--identity-only", data=data) == 0
        assert (data / "identity" / "api_keys" / "signing_key.pem").stat().st_mode & 0o777 == 0o600
        assert in_database(data, lambda uow: [key.key_id for key in uow.keys.list()]) == ["new", "old"]
        for aside in data.glob("before-restore-*"):
            shutil.rmtree(aside)


def test_not_while_a_control_plane_leads(data: Path, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(data)

    async def leading() -> int:
        lock = LeaderLock(url(data))
        await lock.acquire()
        try:
            return await asyncio.to_thread(run, "restore", str(saved), data=data)
        finally:
            await lock.release()

    assert asyncio.run(leading()) == 6
    assert "stop it first" in capsys.readouterr().err
    assert tree(data) == before


def rewritten(source: Path, change: Callable[[dict[str, object], dict[str, bytes]], None]) -> None:
    """The same archive, with another manifest or other parts."""
    with tarfile.open(source) as tar:
        parts = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
    manifest = json.loads(parts.pop("manifest.json"))
    change(manifest, parts)
    with tarfile.open(source, "w:gz") as tar:
        for name, content in {"manifest.json": json.dumps(manifest).encode(), **parts}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def _newer(manifest: dict[str, object], _: dict[str, bytes]) -> None:
    manifest["schema"] = "2099_01_01_future"


def _other_kind(manifest: dict[str, object], _: dict[str, bytes]) -> None:
    manifest["database"] = "postgresql"


def _other_key(_: dict[str, object], parts: dict[str, bytes]) -> None:
    name = "data/identity/api_keys/signing_key.pem"
    parts[name] = parts[name][:-5] + b"xxxx\n"


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        pytest.param(_newer, 5, "was written by a newer release", id="a newer schema"),
        pytest.param(_other_kind, 3, "--identity-only", id="another kind of database"),
        pytest.param(_other_key, 4, "is not what was saved", id="a part was changed"),
    ],
)
def test_what_cannot_be_restored_touches_nothing(
    data: Path,
    saved: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, object], dict[str, bytes]], None],
    code: int,
    says: str,
) -> None:
    rewritten(saved, change)
    before = tree(data)
    assert run("restore", str(saved), data=data) == code
    assert says in capsys.readouterr().err
    assert tree(data) == before
    assert in_database(data, lambda uow: [key.key_id for key in uow.keys.list()]) == ["old"]
    assert not [path for path in data.iterdir() if "restore" in path.name]


def test_a_new_directory_is_not_left_behind_by_a_failure(tmp_path: Path) -> None:
    (tmp_path / "saved").write_bytes(b"no backup")
    (tmp_path / "saved").chmod(0o600)
    assert run("restore", str(tmp_path / "saved"), data=tmp_path / "new") == 4
    assert not (tmp_path / "new").exists()


def test_an_older_schema_is_migrated(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    migrate.downgrade(url(data), "-1")
    older = migrate.current(url(data))
    assert run("backup", str(tmp_path / "saved"), data=data) == 0
    shutil.rmtree(data)
    assert run("restore", str(tmp_path / "saved"), data=data) == 0
    assert f"migrating       from {older} to {migrate.head()}" in capsys.readouterr().err
    migrate.require_current(url(data))


def test_backups_are_refused_where_they_would_be_wrong(
    data: Path, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = saved.read_bytes()
    assert run("backup", str(saved), data=data) == 4
    assert "--force" in capsys.readouterr().err
    assert saved.read_bytes() == before
    assert run("backup", str(saved), "--force", data=data) == 0
    assert run("backup", str(tmp_path / "other"), data=tmp_path / "nothing") == 4
    assert run("backup", str(tmp_path / "no" / "where"), data=data) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "saved"]
    assert saved.stat().st_mode & 0o777 == 0o600


def test_the_file_is_what_it_prints(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run("backup", str(tmp_path / "saved"), data=data) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path / 'saved'}\n"
    assert "private keys" in shown.err
