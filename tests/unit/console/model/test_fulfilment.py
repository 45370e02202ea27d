"""Whether what is wanted of a placement is so."""

from dataclasses import replace

import pytest

from console.model.fleet_view import DesiredState, EngineState
from console.model.fulfilment import Fulfilment, fulfilment
from tests.fakes import fleet

ENGINE = next(iter(fleet.small().engines.values()))
PLACEMENT = fleet.placement(ENGINE, generation=3, observed_generation=2)


@pytest.mark.parametrize(
    ("desired", "state", "expected"),
    [
        (DesiredState.DRAINED, None, Fulfilment.DONE),
        (DesiredState.DRAINED, EngineState.STOPPED, Fulfilment.DONE),
        (DesiredState.DRAINED, EngineState.FAILED, Fulfilment.DONE),
        (DesiredState.DRAINED, EngineState.DRAINING, Fulfilment.DRAINING),
        (DesiredState.DRAINED, EngineState.STOPPING, Fulfilment.DRAINING),
        (DesiredState.DRAINED, EngineState.READY, Fulfilment.PENDING),
        (DesiredState.DRAINED, EngineState.BACKING_OFF, Fulfilment.PENDING),
        (DesiredState.REMOVED, None, Fulfilment.DONE),
        (DesiredState.REMOVED, EngineState.READY, Fulfilment.REMOVING),
        (DesiredState.REMOVED, EngineState.STOPPED, Fulfilment.REMOVING),
        (DesiredState.RUNNING, EngineState.READY, Fulfilment.PENDING),
        (DesiredState.RUNNING, EngineState.STOPPED, Fulfilment.PENDING),
    ],
)
def test_stopping_is_judged_by_the_engine_and_starting_by_the_generation(
    desired: DesiredState, state: EngineState | None, expected: Fulfilment
) -> None:
    engine = None if state is None else replace(ENGINE, state=state)
    assert fulfilment(replace(PLACEMENT, desired=desired), engine) is expected


def test_what_runs_as_wanted_is_done_whatever_its_health() -> None:
    placement = replace(PLACEMENT, observed_generation=3)
    assert fulfilment(placement, replace(ENGINE, state=EngineState.FAILED)) is Fulfilment.DONE
    assert fulfilment(replace(placement, observed_generation=None), None) is Fulfilment.PENDING
