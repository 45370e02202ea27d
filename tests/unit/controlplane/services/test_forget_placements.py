"""Forgetting placements whose engines are gone."""

from controlplane.fleet.desired import DesiredState
from controlplane.services.forget_placements import ForgetPlacements
from tests.fakes.control_plane import eventually
from tests.support.fleet import placed, reported
from tests.support.plane import Plane


async def test_only_what_is_being_removed_is_forgotten_and_with_it_all_that_was_kept(fleet: Plane) -> None:
    gone, back = placed("llama@gcp-1", desired=DesiredState.REMOVED), placed("llama@aws-1")
    await fleet.enrol(placements=(gone, back))
    fleet.connect("gcp-1", reported("llama@gcp-1"))
    fleet.connect("aws-1", reported("llama@aws-1"))
    await fleet.written()
    forget = ForgetPlacements(fleet.desired, fleet.tasks)
    forget(("llama@gcp-1", "llama@aws-1", "nobody"))
    await eventually(lambda: set(fleet.wanted().placements) == {"llama@aws-1"}, "it is forgotten")
    left = await fleet.database.run(
        lambda uow: (
            [found.placement_id for found in uow.placements.all()],
            [found.engine_id for found in uow.engine_summaries.all()],
            [found.name for found in uow.deployments.all()],
        )
    )
    assert left == (["llama@aws-1"], ["llama@aws-1"], ["llama"])
