"""Where things lie, how long they are, and what starting a program loads."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("controlplane", "console", "node_agent")
OURS = (*PROGRAMS, "migrations", "demo", "bench")
LINES_MAX = 400
GENERATED = ROOT / "controlplane/proto/stoker"


def modules(*packages: str) -> Iterator[Path]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            if GENERATED not in path.parents:
                yield path


UNIT_TESTS = sorted((ROOT / "tests/unit").rglob("test_*.py"))


@pytest.mark.parametrize("test", UNIT_TESTS, ids=lambda test: str(test.relative_to(ROOT / "tests/unit")))
def test_a_unit_test_sits_where_its_source_sits(test: Path) -> None:
    """In the mirror of its package; a name that is no module's there is a test of several of them together."""
    place = test.parent.relative_to(ROOT / "tests/unit")
    assert place.parts[0] in PROGRAMS
    assert any((ROOT / place).glob("*.py")), f"there is no {place} to test"


@pytest.mark.parametrize("path", modules(*OURS), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_longer_than_can_be_read(path: Path) -> None:
    count = len(path.read_text().splitlines())
    assert count <= LINES_MAX, f"{count} lines: split it"


@pytest.mark.parametrize("path", modules(*PROGRAMS), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_opens_with_what_it_is(path: Path) -> None:
    text = path.read_text()
    assert not text.strip() or text.lstrip().startswith('"""')


UNWANTED = ("utils", "helpers", "common", "misc", "manager", "controllers")


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [path for path in modules(*OURS) if path.stem in UNWANTED or path.parent.name in UNWANTED] == []


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("console", ("torch", "vllm", "sqlalchemy", "alembic", "apscheduler", "controlplane.services")),
        ("controlplane", ("torch", "vllm", "textual", "console", "node_agent")),
        ("node_agent", ("torch", "vllm", "textual", "sqlalchemy", "alembic", "controlplane.services", "console")),
    ],
)
def test_starting_a_program_loads_nothing_that_is_not_its_own(program: str, absent: tuple[str, ...]) -> None:
    source = (
        f"import sys, {program}.__main__\nprint(' '.join(name for name in {absent!r} if name in sys.modules), end='')"
    )
    found = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    assert found.stdout == "", f"importing {program}.__main__ loads {found.stdout}"
