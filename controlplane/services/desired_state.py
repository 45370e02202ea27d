"""The one door to desired state: change it in SQL, then have it in force, in that order and in the order of the changes.

Called by the services that change what operators want. When the database refuses or is away nothing changes in memory either.
"""

from collections.abc import Callable
from typing import TypeVar

from controlplane.fleet.desired import Desired
from controlplane.fleet.events import DesiredChanged
from controlplane.runtime.fleet_store import FleetStore
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork, load_desired

T = TypeVar("T")


class DesiredState:
    def __init__(self, database: Database, store: FleetStore) -> None:
        self._database = database
        self._store = store

    async def change(self, fn: Callable[[UnitOfWork, Desired], T]) -> T:
        """Run `fn(uow, desired)` in a transaction and put what it left into force before returning.

        Raises what `fn` raises, and UnavailableError when the database is away: then nothing has changed. When the database
        only did not answer in time, the error says what may still happen.
        """

        def transact(uow: UnitOfWork) -> tuple[T, Desired]:
            answer = fn(uow, load_desired(uow))
            return answer, load_desired(uow)

        # `then`: a caller that hangs up must not leave what was committed out of force.
        answer, _ = await self._database.run(transact, then=lambda done: self._in_force(done[1]))
        return answer

    async def refresh(self) -> None:
        """Put into force what others wrote (an enrolment, a command run offline)."""
        await self._database.run(load_desired, then=self._in_force)

    def _in_force(self, desired: Desired) -> None:
        self._store.apply_now(DesiredChanged(desired))
