"""Show operators what time wakes, and how it went. Called by `rpc.operator_service`.

From memory, so also while the database is away.
"""

from collections.abc import Callable

from controlplane.fleet.jobs import JobState


class ListJobs:
    def __init__(self, states: Callable[[], tuple[JobState, ...]]) -> None:
        """`states`: of all jobs, as they are now."""
        self._states = states

    def __call__(self) -> tuple[JobState, ...]:
        return self._states()
