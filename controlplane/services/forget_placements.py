"""Forget placements that were removed and whose engines are gone. Called by `services.reconcile_fleet`."""

from controlplane.errors import StokerError
from controlplane.fleet.desired import Desired
from controlplane.fleet.desired import DesiredState as Wanted
from controlplane.runtime.tasks import TaskScope
from controlplane.services.desired_state import DesiredState
from controlplane.storage.unit_of_work import UnitOfWork


class ForgetPlacements:
    def __init__(self, desired: DesiredState, tasks: TaskScope) -> None:
        self._desired = desired
        self._tasks = tasks
        self._busy = False

    def __call__(self, placement_ids: tuple[str, ...]) -> None:
        """Begin to forget them. While one such change is under way others are left to the next reconciliation."""
        if not self._busy:
            self._busy = True
            self._tasks.spawn("forget placements", self._forget(placement_ids))

    async def _forget(self, placement_ids: tuple[str, ...]) -> None:
        def forget(uow: UnitOfWork, desired: Desired) -> None:
            for placement_id in placement_ids:
                placement = desired.placements.get(placement_id)
                if placement is not None and placement.desired is Wanted.REMOVED:
                    uow.placements.remove(placement_id)
                    uow.engine_summaries.remove([placement_id])
            uow.deployments.remove_unused()

        try:
            await self._desired.change(forget)
        except StokerError:
            pass  # the database is away: reconciliation asks again
        finally:
            self._busy = False
