"""`make bench-history` works: its data fits the schema, and it is the views that it asks. Of its figures nothing is claimed."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_quick_run_asks_what_it_has_made(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.history", "--quick", "--database", "sqlite", "--only", "queries"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["figures"] == {}, "a quick run must not pass for a measurement"
    assert told["missing"] == []
    asked = json.loads((tmp_path / told["raw"]).read_text())["sqlite"]["queries"]["queries"]
    assert {name: reading["rows"] for name, reading in asked.items() if not name.endswith("_by_stoker_sql")} == {
        "engine_day_of_minutes": 24 * 60,
        "model_week_of_hours": 7 * 24,
        "model_week_of_hours_by_engine": 20 * 7 * 24,
        "fleet_now": 200,
    }
    for name, reading in asked.items():
        assert reading["rows"] == asked[name.removesuffix("_by_stoker_sql")]["rows"], f"{name} was cut"
