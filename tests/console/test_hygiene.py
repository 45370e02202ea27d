"""The core runs without the screen: model and link, and the command line, never load Textual."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import console.link
import console.model

ROOT = Path(__file__).parents[2]


def test_model_and_link_run_without_textual() -> None:
    modules = [
        name
        for package in (console.model, console.link)
        for _, name, _ in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    ]
    assert modules
    script = (
        f"import importlib, sys\nsys.modules['textual'] = None\nfor name in {[*modules, 'console.actions']!r}:\n"
        "    importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_style_sheet_has_its_module() -> None:
    sheets = list((ROOT / "console").rglob("*.tcss"))
    assert sheets
    assert [sheet for sheet in sheets if not sheet.with_suffix(".py").exists()] == []
