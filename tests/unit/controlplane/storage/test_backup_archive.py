"""The file that a backup is: whole and private or not there; read as if from an enemy."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controlplane.errors import ConflictError, InvalidInputError, StokerError
from controlplane.storage import backup_archive
from controlplane.storage.backup_archive import BackupFileError, Manifest, Part, part_of

MADE_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    source = tmp_path / "source"
    source.mkdir()
    (source / "key.pem").write_bytes(b"a secret")
    (source / "key.pem").chmod(0o600)
    (source / "ca.pem").write_bytes(b"for all" * 1000)
    (source / "ca.pem").chmod(0o644)
    return {"data/identity/key.pem": source / "key.pem", "data/identity/ca.pem": source / "ca.pem"}


def manifest_of(files: dict[str, Path]) -> Manifest:
    return Manifest("0.1.0", MADE_AT, "sqlite", "rev", 7, {name: part_of(file) for name, file in files.items()})


@pytest.fixture
def archive(tmp_path: Path, files: dict[str, Path]) -> Path:
    target = tmp_path / "stoker.backup"
    backup_archive.write(target, manifest_of(files), files, replace=False)
    return target


def test_what_was_saved_comes_back_with_its_mode(archive: Path, files: dict[str, Path], tmp_path: Path) -> None:
    assert archive.stat().st_mode & 0o777 == 0o600
    into = tmp_path / "into"
    into.mkdir()
    assert backup_archive.unpack(archive, into) == manifest_of(files)
    for name, file in files.items():
        assert (into / name).read_bytes() == file.read_bytes()
        assert (into / name).stat().st_mode == file.stat().st_mode


def test_a_file_that_is_there_is_overwritten_only_when_told_to(archive: Path, files: dict[str, Path]) -> None:
    before = archive.read_bytes()
    with pytest.raises(ConflictError, match="--force"):
        backup_archive.write(archive, replace(manifest_of(files), leader_epoch=8), files, replace=False)
    assert archive.read_bytes() == before
    backup_archive.write(archive, replace(manifest_of(files), leader_epoch=8), files, replace=True)
    assert archive.read_bytes() != before
    assert [path.name for path in archive.parent.iterdir()].count(archive.name) == 1


def test_a_failure_leaves_nothing_behind(tmp_path: Path, files: dict[str, Path]) -> None:
    told = manifest_of(files)
    files["data/identity/ca.pem"].unlink()
    with pytest.raises(BackupFileError, match="nothing was left behind"):
        backup_archive.write(tmp_path / "stoker.backup", told, files, replace=False)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def forged(target: Path, entries: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(target, "w:gz") as tar:
        for entry, content in entries:
            entry.size = len(content) if entry.isreg() else 0
            tar.addfile(entry, io.BytesIO(content) if entry.isreg() else None)
    target.chmod(0o600)
    return target


def claiming(*names: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    """A manifest that knows these parts."""
    part = Part("2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", len(content), 0o600)
    told = {**asdict(Manifest("0.1.0", MADE_AT, "", "", 0, {})), "made_at": MADE_AT.isoformat(), "format": 1}
    told["parts"] = {name: asdict(part) for name in names}
    return tarfile.TarInfo("manifest.json"), json.dumps(told).encode()


def linked(name: str, target: str, kind: bytes) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry, b""


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([claiming("../evil"), (tarfile.TarInfo("../evil"), b"x")], id="a path upwards"),
        pytest.param([claiming("data/../../evil"), (tarfile.TarInfo("data/../../evil"), b"x")], id="upwards, hidden"),
        pytest.param([claiming("/tmp/evil"), (tarfile.TarInfo("/tmp/evil"), b"x")], id="an absolute path"),
        pytest.param([claiming("a"), linked("a", "/etc/passwd", tarfile.SYMTYPE)], id="a symbolic link"),
        pytest.param([claiming("a"), linked("a", "b", tarfile.LNKTYPE)], id="a hard link"),
        pytest.param([claiming("a"), linked("a", "", tarfile.CHRTYPE)], id="a device"),
        pytest.param([claiming("a"), (tarfile.TarInfo("b"), b"x")], id="a part that nobody knows"),
        pytest.param([claiming("a"), (tarfile.TarInfo("a"), b"x"), (tarfile.TarInfo("a"), b"x")], id="a part twice"),
        pytest.param([claiming("a"), (tarfile.TarInfo("a"), b"xx")], id="another size"),
        pytest.param([claiming("a"), (tarfile.TarInfo("a"), b"y")], id="another content"),
        pytest.param([claiming("a", "b"), (tarfile.TarInfo("a"), b"x")], id="a part is missing"),
        pytest.param([(tarfile.TarInfo("a"), b"x")], id="no manifest"),
        pytest.param([(tarfile.TarInfo("manifest.json"), b"{}")], id="an empty manifest"),
        pytest.param([(tarfile.TarInfo("manifest.json"), b'{"format": 99, "version": "9"}')], id="of a newer release"),
        pytest.param([], id="nothing in it"),
    ],
)
def test_what_is_not_ours_is_refused_and_nothing_gets_out(
    tmp_path: Path, entries: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    into = tmp_path / "deep" / "into"
    into.mkdir(parents=True)
    with pytest.raises(BackupFileError):
        backup_archive.unpack(forged(tmp_path / "forged", entries), into)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) in (["forged"], ["a", "forged"])


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda data: data[: len(data) // 2], id="cut short"),
        pytest.param(lambda data: data[:40] + bytes([data[40] ^ 255]) + data[41:], id="a bit turned"),
        pytest.param(lambda _: b"my shopping list", id="no archive"),
        pytest.param(lambda _: gzip.compress(b"my shopping list" * 100), id="packed, but no archive"),
        pytest.param(lambda _: b"", id="empty"),
    ],
)
def test_a_damaged_file_is_told(archive: Path, tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    archive.write_bytes(spoil(archive.read_bytes()))
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(BackupFileError, match=r"stoker\.backup"):
        backup_archive.unpack(archive, into)


@pytest.mark.parametrize(("mode", "kind"), [(0o640, BackupFileError), (0o604, BackupFileError)])
def test_a_file_that_others_could_read_is_refused(
    archive: Path, tmp_path: Path, mode: int, kind: type[StokerError]
) -> None:
    archive.chmod(mode)
    with pytest.raises(kind, match="chmod 600"):
        backup_archive.unpack(archive, tmp_path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="there is no file"):
        backup_archive.unpack(tmp_path / "nothing", tmp_path)
