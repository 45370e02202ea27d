"""The leader's epoch. `leader_lock` makes a leader the only one; this is the number that agents obey."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from controlplane.storage.repositories.statements import insert_into
from controlplane.storage.tables import leadership


@dataclass(frozen=True, slots=True)
class Leader:
    """Who took the lead last; it may be gone since."""

    epoch: int
    holder: str
    acquired_at: datetime


class Leadership:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def acquire(self, holder: str, now: datetime) -> int:
        """The new leader's epoch: one more than of any before, from 1. Call it only while holding the LeaderLock."""
        row: dict[str, Any] = {"only_row": 1, "epoch": 1, "holder": holder, "acquired_at": now}
        taken = insert_into(self._connection, leadership).values(row)
        taken = taken.on_conflict_do_update(
            index_elements=["only_row"],
            set_={"epoch": leadership.c.epoch + 1, "holder": holder, "acquired_at": now},
        )
        return int(self._connection.execute(taken.returning(leadership.c.epoch)).scalar_one())

    def raise_to(self, epoch: int, holder: str, now: datetime) -> None:
        """The next leader's epoch will be higher than this: for a database that was set back."""
        row: dict[str, Any] = {"only_row": 1, "epoch": epoch, "holder": holder, "acquired_at": now}
        raised = insert_into(self._connection, leadership).values(row)
        raised = raised.on_conflict_do_update(
            index_elements=["only_row"], set_={"epoch": epoch, "holder": holder, "acquired_at": now},
            where=leadership.c.epoch < epoch,
        )  # fmt: skip
        self._connection.execute(raised)

    def current(self) -> Leader | None:
        """None: nobody ever led."""
        row = self._connection.execute(select(leadership)).first()
        return None if row is None else Leader(epoch=row.epoch, holder=row.holder, acquired_at=row.acquired_at)
