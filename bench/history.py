"""`make bench-history`: what history costs the daemon and its decisions, how fast it is rolled up and asked, on both databases.

Parts: `sustained` (10,080 engines sampled every ten seconds, in rounds with history and without, see `bench.history_load`),
`rollup` (an hour of 10,000 engines' samples), `queries` (over the documented views); the last two also tell what rows take.
PostgreSQL is a cluster of its own that writes as in production (see `bench.history_databases`); without its programs SQLite alone
is measured, and `missing` says so. The last line is JSON.
"""

import argparse
import json
import os
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import history_parts as parts
from bench.history_databases import DATABASES, POSTGRESQL_SETTINGS
from tests.support.postgres_cluster import PostgresError

RAW = Path("bench/raw")
PARTS = {"sustained": parts.sustained, "rollup": parts.rollup, "queries": parts.queries}
# Each for both databases. `_ratio`: with history by without.
AT_MOST = {
    "history_core_percent": 30.0,
    "decision_p50_ratio": 1.10,
    "decision_p99_ratio": 1.25,
    "rows_dropped_count": 0,
    "rollup_hour_10000_engines_seconds": 10.0,
    "engine_day_of_minutes_seconds": 0.050,
    "model_week_of_hours_seconds": 0.300,
    "fleet_now_seconds": 0.200,
}
AT_LEAST = {"engine_samples_per_second": 1_000.0}
SAMPLES_A_DAY, MINUTES_A_DAY, HOURS_A_DAY = 8_640, 1_440, 24
KEPT_DAYS = {"sample": 2, "minute": 30, "hour": 730}  # as the settings have it by default


def main() -> None:
    """Print one line of JSON at the end; raw readings go to bench/raw."""
    options = _options()
    sizes = parts.QUICK if options.quick else parts.Sizes()
    raw: dict[str, Any] = {"quick": options.quick, "load_average_before": os.getloadavg()[0]}
    missing: list[str] = []
    for kind in [options.database] if options.database else DATABASES:
        raw[kind] = {}
        for name in [options.only] if options.only else PARTS:
            try:
                with DATABASES[kind]() as stored:
                    raw[kind][name] = PARTS[name](stored, sizes)
            except PostgresError as error:
                missing.append(f"{kind} was not measured: {error}")
                print(missing[-1], flush=True)
                break
    file = RAW / ("history-quick.json" if options.quick else "history.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(raw, indent=1))
    print(json.dumps({**_summary(raw, missing), "raw": str(file)}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small numbers, to see that it works; figures mean nothing"
    )
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--database", choices=DATABASES)
    return parser.parse_args()


def _summary(raw: Mapping[str, Any], missing: list[str]) -> dict[str, Any]:
    figures: dict[str, float] = {}
    for kind in DATABASES:
        found: dict[str, float] = {}
        measured = raw.get(kind, {})
        if "sustained" in measured:
            found |= _sustained(measured["sustained"])
        if "rollup" in measured:
            found |= _rollup(measured["rollup"])
        if "queries" in measured:
            found |= _queries(measured["queries"])
        found |= _size(measured)
        figures |= {f"{kind}_{name}": value for name, value in found.items()}
    if raw["quick"]:  # of so few rows nothing follows, and no figure must pass for one that counts
        return {"quick_figures": figures, "figures": {}, "peers": {}, "targets": {}, "short": [], "missing": missing}
    targets = {f"{kind}_{name}": target for kind in DATABASES for name, target in {**AT_MOST, **AT_LEAST}.items()}
    targets = {name: target for name, target in targets.items() if name in figures}
    short = [name for name, target in targets.items() if not _met(name, figures[name], target)]
    about = {"postgresql_settings": POSTGRESQL_SETTINGS, "missing": missing}
    return {"figures": figures, "peers": {}, "targets": targets, "short": short, **about}


def _met(name: str, value: float, target: float) -> bool:
    return value >= target if name.partition("_")[2] in AT_LEAST else value <= target


def _sustained(raw: Mapping[str, Any]) -> dict[str, float]:
    """Medians over rounds, and of the ratios and the cost over pairs of neighbouring rounds; the worst of stalls."""
    rounds = raw["rounds"]
    on, off = ([each for each in rounds if each["with_history"] is wanted] for wanted in (True, False))
    pairs = [sorted(rounds[at : at + 2], key=lambda each: not each["with_history"]) for at in range(0, len(rounds), 2)]

    def middle(name: str, of: list[dict[str, float]]) -> float:
        return statistics.median(each[name] for each in of)

    figures = {
        "history_core_percent": statistics.median(a["core_percent"] - b["core_percent"] for a, b in pairs),
        "with_history_core_percent": middle("core_percent", on),
        "without_history_core_percent": middle("core_percent", off),
        "server_core_percent": middle("server_core_percent", on),
        "engine_samples_per_second": middle("engine_samples_per_second", on),
        "rows_per_second": middle("rows_per_second", on),
        "rows_waiting_max": max(each["rows_waiting"] for each in on),
        "rows_written_count": sum(raw["rows"]["stored"].values()),
        "rows_dropped_count": sum(raw["rows"]["dropped"].values()),
        "decisions_per_second": middle("decisions_per_second", on),
        "decisions_refused_count": sum(each["decisions_refused_count"] for each in rounds),
        "loop_stall_with_history_seconds_max": max(each["loop_stall_seconds_max"] for each in on),
        "loop_stall_without_history_seconds_max": max(each["loop_stall_seconds_max"] for each in off),
    }
    for quantile in ("p50", "p99"):
        name = f"decision_seconds_{quantile}"
        figures[f"decision_{quantile}_ratio"] = statistics.median(a[name] / b[name] for a, b in pairs)
        figures[f"decision_with_history_seconds_{quantile}"] = middle(name, on)
        figures[f"decision_without_history_seconds_{quantile}"] = middle(name, off)
    return {name: round(value, 5) for name, value in figures.items()}


def _rollup(raw: Mapping[str, Any]) -> dict[str, float]:
    steps = raw["steps"]
    figures = {
        "rollup_hour_10000_engines_seconds": sum(step["seconds"] for step in steps),
        "rollup_of_the_hour_alone_seconds": sum(s["seconds"] for s in steps if s["kind"] == "engine_hours"),
        "rollup_longest_step_seconds": max(step["seconds"] for step in steps),
    }
    return {name: round(value, 4) for name, value in figures.items()}


def _queries(raw: Mapping[str, Any]) -> dict[str, float]:
    return {f"{name}_seconds": round(reading["median"], 5) for name, reading in raw["queries"].items()}


def _size(raw: Mapping[str, Any]) -> dict[str, float]:
    """Of engines' rows, indexes included. Devices and nodes have rows of their own beside them."""
    each: dict[str, float] = {}
    if "rollup" in raw:
        each["sample"] = raw["rollup"]["sample_bytes"] / raw["rollup"]["sample_rows"]
    if "queries" in raw:
        stored = raw["queries"]["stored"]
        each |= {
            name: stored[f"rolled_engine_{name}s"]["bytes"] / stored[f"rolled_engine_{name}s"]["rows"]
            for name in ("minute", "hour")
        }
    figures = {f"engine_{name}_row_bytes": size for name, size in each.items()}
    a_day = {"sample": SAMPLES_A_DAY, "minute": MINUTES_A_DAY, "hour": HOURS_A_DAY}
    figures |= {f"engine_day_of_{name}s_bytes": size * a_day[name] for name, size in each.items()}
    if len(each) == len(KEPT_DAYS):
        figures["engine_day_bytes"] = sum(size * a_day[name] for name, size in each.items())
        figures["engine_steady_bytes"] = sum(size * a_day[name] * KEPT_DAYS[name] for name, size in each.items())
    return {name: round(value) for name, value in figures.items()}


if __name__ == "__main__":
    main()
