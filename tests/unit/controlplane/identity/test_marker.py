"""Whose directory it is, and whether it is whole."""

from pathlib import Path

import pytest

from controlplane.identity.files import DataDirectoryError
from controlplane.identity.layout import DataLayout
from controlplane.identity.marker import FORMAT, Marker, read_marker, require_initialised, write_marker


def test_what_was_written_is_read(tmp_path: Path) -> None:
    layout = DataLayout(tmp_path)
    assert read_marker(layout) is None
    for marker in (Marker("1.2.3", complete=False), Marker("1.2.3", complete=True)):
        write_marker(layout, marker)
        assert read_marker(layout) == marker
    assert require_initialised(layout) == Marker("1.2.3", complete=True)


def test_a_directory_that_was_never_or_half_initialised(tmp_path: Path) -> None:
    layout = DataLayout(tmp_path)
    with pytest.raises(DataDirectoryError, match="not a data directory of Stoker"):
        require_initialised(layout)
    write_marker(layout, Marker("1.2.3", complete=False))
    with pytest.raises(DataDirectoryError, match=r"only in part: run `stoker-controlplane init"):
        require_initialised(layout)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    layout = DataLayout(tmp_path)
    write_marker(layout, Marker("9.0.0", complete=True, format=FORMAT + 1))
    with pytest.raises(DataDirectoryError, match=r"made by Stoker '9\.0\.0', which is newer"):
        read_marker(layout)


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"format = 1", b"not toml", b'format = "x"\nversion = "1"\ncomplete = true']
)
def test_a_damaged_marker_is_refused(tmp_path: Path, content: bytes) -> None:
    layout = DataLayout(tmp_path)
    layout.marker.write_bytes(content)
    with pytest.raises(DataDirectoryError, match="damaged"):
        read_marker(layout)
