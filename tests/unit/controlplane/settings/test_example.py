"""deploy/controlplane.toml tells the truth: every setting, at its default, and what SIGHUP re-reads."""

import re
import tomllib
from pathlib import Path

from controlplane.settings import Settings, load
from controlplane.settings.model import settings_of

EXAMPLE = Path(__file__).parents[4] / "deploy" / "controlplane.toml"
NOT_IN_A_FILE = {"database.password"}


def test_as_it_is_it_changes_nothing(tmp_path: Path) -> None:
    loaded = load(EXAMPLE, {"data_dir": str(tmp_path)}, {})
    assert loaded.settings == Settings(data_dir=tmp_path)


def test_it_names_every_setting_with_its_default() -> None:
    text = re.sub(r"(?m)^# (?=[a-z_]+ = )", "", EXAMPLE.read_text())
    values = tomllib.loads(text)
    told = {
        f"{group}.{key}": value
        for group, table in values.items()
        if group != "data_dir"
        for key, value in table.items()
    }
    defaults = {key: value for key, value, _ in settings_of(Settings(data_dir=Path("/var/lib/stoker")))}
    defaults = {key: list(value) if isinstance(value, tuple) else value for key, value in defaults.items()}
    assert values["data_dir"] == str(defaults.pop("data_dir"))
    assert set(told) == set(defaults) - NOT_IN_A_FILE
    assert {key for key in told if defaults[key] is None} == {
        key for key in told if re.search(rf"(?m)^# {key.split('.')[1]} = .*  # not set$", EXAMPLE.read_text())
    }
    for key, value in told.items():
        assert defaults[key] in (None, value), key


def test_it_marks_what_sighup_reads_again() -> None:
    marked, reads_again = set(), False
    for line in EXAMPLE.read_text().splitlines():
        if found := re.match(r"# ([a-z_]+) = ", line):
            marked |= {found[1]} if reads_again else set()
        elif line.startswith("# "):
            reads_again = "(R)" in line
    expected = {key.split(".")[1] for key, _, can_reload in settings_of(Settings(data_dir=Path("/"))) if can_reload}
    assert marked == expected
