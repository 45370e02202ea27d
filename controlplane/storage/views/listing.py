"""The view of the views: what can be asked, with the meaning of every column."""

from collections.abc import Sequence

from controlplane.storage.views.view import View
from controlplane.storage.views.words import given

_COLUMNS = given(
    [
        ("view_name", "the view", "column1"),
        ("view_meaning", "what one row of it is", "column2"),
        ("position", "the column's place in it, from 1", "column3"),
        ("column_name", "the column", "column4"),
        ("column_meaning", "what it means", "column5"),
    ]
)


def listing(views: Sequence[View]) -> View:
    """`view_columns`, of these views and of itself."""
    itself = View("view_columns", "one row a column of a view", _COLUMNS, "")
    rows = [
        f"({_text(view.name)}, {_text(view.meaning)}, {place}, {_text(column.name)}, {_text(column.meaning)})"
        for view in (*views, itself)
        for place, column in enumerate(view.columns, start=1)
    ]
    listed = ",\n    ".join(rows)
    return View(itself.name, itself.meaning, _COLUMNS, f"FROM (\n  VALUES\n    {listed}\n) AS listed")


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
