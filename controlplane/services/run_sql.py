"""Answers an operator's question in SQL: read-only, over the documented views, within limits that are told when they cut.

Called by `rpc.operator_service`. It keeps no trace of what was asked: viewers may ask anything that they could see.
"""

import math
from collections.abc import Mapping
from typing import Protocol

from controlplane.errors import InvalidInputError
from controlplane.storage.asking.question import Answer, Question

ROWS_DEFAULT, ROWS_MAX = 1_000, 100_000
SECONDS_DEFAULT, SECONDS_MAX = 10.0, 60.0


class Asker(Protocol):
    async def ask(self, question: Question) -> Answer: ...


class RunSql:
    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    async def __call__(
        self, sql: str, parameters: Mapping[str, str], *, rows_max: int = 0, seconds_max: float = 0.0
    ) -> Answer:
        """0 means the usual limit. Raises InvalidInputError, ConflictError, ConfigurationError, UnavailableError."""
        if rows_max > ROWS_MAX:
            raise InvalidInputError(f"an answer has at most {ROWS_MAX:,} rows: ask for less, or in parts")
        if not math.isfinite(seconds_max) or not 0 <= seconds_max <= SECONDS_MAX:
            raise InvalidInputError(f"a question may take at most {SECONDS_MAX:.0f} s")
        return await self._asker.ask(
            Question(sql, dict(parameters), rows_max or ROWS_DEFAULT, seconds_max or SECONDS_DEFAULT)
        )
