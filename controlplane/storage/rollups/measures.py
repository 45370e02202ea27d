"""A column of a rollup: how it is made of samples, and how an hour's is made of minutes'. Used by `rollups` only.

`parts` are aggregates over the samples of one engine process, `of_parts` puts those of all processes together; `of_samples`
does both at once where there are no processes; `of_minutes` makes the hour's.
"""

from dataclasses import dataclass

WHOLE, REAL = "BIGINT", "DOUBLE PRECISION"


@dataclass(frozen=True, slots=True)
class Measure:
    column: str
    parts: tuple[tuple[str, str, str], ...]  # name, type, aggregate
    of_parts: str
    of_samples: str
    of_minutes: str


def total(column: str, value: str) -> Measure:
    return _one_way(column, REAL, "SUM", value)


def peak(column: str, value: str, kind: str = WHOLE) -> Measure:
    return _one_way(column, kind, "MAX", value)


def low(column: str, value: str) -> Measure:
    return _one_way(column, WHOLE, "MIN", value)


def mean(column: str, value: str) -> Measure:
    """Over the samples; an hour's over its minutes' samples, of which each minute's are taken to be all known."""
    real = f"CAST({value} AS {REAL})"  # a sum of whole numbers could overflow
    parts = ((f"{column}_sum", REAL, f"SUM({real})"), (f"{column}_n", WHOLE, f"COUNT({value})"))
    weights = f"SUM(CASE WHEN {column} IS NOT NULL THEN samples_count END)"
    return Measure(
        column,
        parts,
        f"SUM({column}_sum) / NULLIF(SUM({column}_n), 0)",
        f"AVG({real})",
        f"SUM({column} * samples_count) / NULLIF({weights}, 0)",
    )


def covered(column: str, when: str) -> Measure:
    """The time that samples cover for which `when` holds; unknown where they cover no known time."""
    return total(column, f"CASE WHEN covers_seconds IS NULL THEN NULL WHEN {when} THEN covers_seconds ELSE 0 END")


def _one_way(column: str, kind: str, function: str, value: str) -> Measure:
    over_rows = f"{function}({column})"
    return Measure(column, ((column, kind, f"{function}({value})"),), over_rows, f"{function}({value})", over_rows)
