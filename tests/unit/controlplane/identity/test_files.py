"""Files of identities: their modes, whatever the umask; whole or not there; refused when others can read a key."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.identity.files import (
    DataDirectoryError,
    make_directory,
    read_private,
    read_public,
    write_private,
    write_public,
)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.usefixtures("umask")
def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "b")
    write_private(tmp_path / "a" / "b" / "key", b"secret")
    write_public(tmp_path / "a" / "b" / "cert", b"public")
    assert [mode(tmp_path / "a"), mode(tmp_path / "a" / "b")] == [0o700, 0o700]
    assert mode(tmp_path / "a" / "b" / "key") == 0o600
    assert mode(tmp_path / "a" / "b" / "cert") == 0o644


def test_a_directory_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o755)
    make_directory(tmp_path / "there")
    assert mode(tmp_path / "there") == 0o755


def test_writing_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_private(tmp_path / "key", b"old")
    write_private(tmp_path / "key", b"new")
    assert read_private(tmp_path / "key") == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    (tmp_path / "key" / "inside").touch()
    with pytest.raises(DataDirectoryError, match="cannot write"):
        write_private(tmp_path / "key", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("loose", [0o640, 0o604, 0o620, 0o644])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, loose: int) -> None:
    write_private(tmp_path / "key", b"secret")
    (tmp_path / "key").chmod(loose)
    with pytest.raises(DataDirectoryError, match=f"mode {loose:04o}.*chmod 600"):
        read_private(tmp_path / "key")


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryError, match="is missing: run `stoker-controlplane init`"):
        read_public(tmp_path / "cert")
    with pytest.raises(DataDirectoryError, match="is missing: run `stoker-controlplane init`"):
        read_private(tmp_path / "key")
