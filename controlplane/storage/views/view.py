"""What a view is made of: its columns, each with what it means, and where its rows come from.

Used by the modules beside it. The text is the same on both databases but for arithmetic with times, which is written here as
`NOW()` and `SECONDS_BETWEEN(a, b)` and replaced by what the database understands.
"""

import re
from dataclasses import dataclass

# SQLite keeps milliseconds in its julian days. Its times are text, so "now" must be text of the same form.
_NOW = {"sqlite": "strftime('%Y-%m-%d %H:%M:%f000', 'now')", "postgresql": "CURRENT_TIMESTAMP"}
_BETWEEN = {
    "sqlite": r"ROUND((julianday(\2) - julianday(\1)) * 86400, 3)",
    "postgresql": r"ROUND(CAST(EXTRACT(EPOCH FROM \2 - \1) AS numeric), 3)",
}
_SPAN = re.compile(r"SECONDS_BETWEEN\(([\w.]+(?:\(\))?), ([\w.]+(?:\(\))?)\)")


@dataclass(frozen=True, slots=True)
class ViewColumn:
    name: str
    meaning: str
    expression: str = ""  # "": the column of that name


@dataclass(frozen=True, slots=True)
class View:
    name: str
    meaning: str  # what one row is
    columns: tuple[ViewColumn, ...]
    rows: str  # from FROM on

    def select(self) -> str:
        """Its text, with `NOW()` and `SECONDS_BETWEEN(a, b)` in it."""
        columns = ",\n  ".join(f"{it.expression} AS {it.name}" if it.expression else it.name for it in self.columns)
        return f"SELECT\n  {columns}\n{self.rows}"


def for_dialect(text: str, dialect: str) -> str:
    """The text as `dialect` understands it."""
    return _SPAN.sub(_BETWEEN[dialect], text).replace("NOW()", _NOW[dialect])


def ratio(part: str, whole: str) -> str:
    """NULL where either is unknown, and where nothing happened."""
    return f"CAST({part} AS DOUBLE PRECISION) / NULLIF({whole}, 0)"
