"""Where the data directory is when nobody says."""

from pathlib import Path

from controlplane.settings import default_data_dir


def test_the_data_directory_when_nobody_names_one() -> None:
    assert default_data_dir({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}) == Path("/var/lib/a")
    assert default_data_dir({}, is_root=True) == Path("/var/lib/stoker")
    own = default_data_dir({}, is_root=False)
    assert own.name == "stoker"
    assert own.is_relative_to(Path.home())
