"""Limits of questions: the usual ones where none are given, and none beyond what is allowed."""

import pytest

from controlplane.errors import InvalidInputError
from controlplane.services.run_sql import ROWS_DEFAULT, ROWS_MAX, SECONDS_DEFAULT, SECONDS_MAX, RunSql
from controlplane.storage.asking.question import Answer, Question


class _Asked:
    def __init__(self) -> None:
        self.questions: list[Question] = []

    async def ask(self, question: Question) -> Answer:
        self.questions.append(question)
        return Answer((), (), truncated=False, seconds=0.0, dialect="sqlite")


async def test_zero_means_the_usual_limits() -> None:
    asked = _Asked()
    await RunSql(asked)("SELECT 1", {"a": "b"})
    await RunSql(asked)("SELECT 1", {}, rows_max=ROWS_MAX, seconds_max=SECONDS_MAX)
    assert asked.questions == [
        Question("SELECT 1", {"a": "b"}, ROWS_DEFAULT, SECONDS_DEFAULT),
        Question("SELECT 1", {}, ROWS_MAX, SECONDS_MAX),
    ]


@pytest.mark.parametrize(
    ("rows", "seconds"), [(ROWS_MAX + 1, 1), (1, SECONDS_MAX + 1), (1, -1), (1, float("nan")), (1, float("inf"))]
)
async def test_more_than_is_allowed_is_refused(rows: int, seconds: float) -> None:
    asked = _Asked()
    with pytest.raises(InvalidInputError, match="at most"):
        await RunSql(asked)("SELECT 1", {}, rows_max=rows, seconds_max=seconds)
    assert not asked.questions
