"""The plug-in's folder: whole or absent, the same for the same content, and usable without anything else of Stoker."""

import subprocess
import sys
from pathlib import Path

from node_agent.engines import plugin_files


def test_installing_again_changes_nothing(tmp_path: Path) -> None:
    place = plugin_files.install(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    assert plugin_files.install(tmp_path) == place
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_what_somebody_changed_is_put_right(tmp_path: Path) -> None:
    place = plugin_files.install(tmp_path)
    spoiled = place / plugin_files.PACKAGE / "middleware.py"
    good = spoiled.read_text()
    spoiled.write_text("raise SystemExit")
    assert plugin_files.install(tmp_path) == place
    assert spoiled.read_text() == good
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_an_older_folder_is_left_to_the_engines_that_use_it(tmp_path: Path) -> None:
    older = tmp_path / plugin_files.FOLDER_NAME / "0.9-abc"
    older.mkdir(parents=True)
    plugin_files.install(tmp_path)
    assert older.exists()


def test_it_needs_the_standard_library_alone_and_is_found_by_its_entry_point(tmp_path: Path) -> None:
    """-I: neither the current folder nor site-packages of the user; -S: none of the environment's."""
    place = plugin_files.install(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(place)!r})\n"
        "import importlib.metadata as metadata\n"
        f"from {plugin_files.PACKAGE} import middleware, plugin\n"
        "(entry,) = metadata.entry_points(group='vllm.stat_logger_plugins')\n"
        "print(entry.name, entry.value, 'node_agent' in sys.modules, 'controlplane' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["stoker", "stoker_vllm.stat_logger:StokerStatLogger", "False", "False"]
    module, _, name = plugin_files.MIDDLEWARE.rpartition(".")
    assert (place / f"{module.replace('.', '/')}.py").read_text().count(f"class {name}:") == 1
