"""Forgetting a node for good."""

import pytest

from controlplane.errors import ConflictError, NotFoundError, UnavailableError
from controlplane.services.stop_placement import Target
from tests.support.fleet import placed, reported
from tests.support.plane import ANN, Plane


async def test_it_is_gone_everywhere_and_its_session_ends(fleet: Plane) -> None:
    session = fleet.connect("gcp-1")
    answer = await fleet.forget("gcp-1", ANN, dry_run=False)
    assert answer.changed
    assert set(fleet.store.snapshot.nodes) == {"aws-1"}
    assert [node.name for node in await fleet.database.run(lambda uow: uow.nodes.all())] == ["aws-1"]
    assert session.replaced.is_set()
    [entry] = await fleet.audit()
    assert (entry.actor, entry.action, entry.target) == ("operator:ann", "forget_node", "gcp-1")
    assert fleet.kinds()[-1] == "node_forgotten"
    with pytest.raises(NotFoundError):
        await fleet.forget("gcp-1", ANN, dry_run=False)


async def test_a_rehearsal_changes_nothing(fleet: Plane) -> None:
    session = fleet.connect("gcp-1")
    assert "would be forgotten" in (await fleet.forget("gcp-1", ANN, dry_run=True)).steps[0]
    assert set(fleet.store.snapshot.nodes) == {"gcp-1", "aws-1"}
    assert not session.replaced.is_set()
    assert await fleet.audit() == []


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_node_with_placements_is_kept(fleet: Plane, *, dry_run: bool) -> None:
    await fleet.enrol(placements=(placed("llama@gcp-1"), placed("llama@gcp-1.2")))
    with pytest.raises(ConflictError, match=r"placements: llama@gcp-1, llama@gcp-1\.2; stoker remove each of them"):
        await fleet.forget("gcp-1", ANN, dry_run=dry_run)
    assert "gcp-1" in fleet.store.snapshot.nodes


async def test_a_node_that_died_can_be_forgotten_with_what_was_removed_from_it(fleet: Plane) -> None:
    await fleet.enrol(placements=(placed("llama@gcp-1"),))
    session = fleet.connect("gcp-1", reported())
    await fleet.written()
    await fleet.stop.remove(Target("llama@gcp-1"), ANN, dry_run=False)
    with pytest.raises(ConflictError, match="still removing llama@gcp-1"):
        await fleet.forget("gcp-1", ANN, dry_run=False)
    fleet.ingest.closed(session, "it died")
    fleet.store.apply_now()
    assert fleet.wanted().placements, "nobody is there to say that it has stopped"
    await fleet.forget("gcp-1", ANN, dry_run=False)
    assert not fleet.wanted().placements
    assert not fleet.wanted().deployments
    assert set(fleet.store.snapshot.nodes) == {"aws-1"}
    assert await fleet.database.run(lambda uow: uow.engine_summaries.all()) == []


async def test_with_the_database_away_nothing_changes(fleet: Plane) -> None:
    session = fleet.connect("gcp-1")
    await fleet.database.close()
    with pytest.raises(UnavailableError):
        await fleet.forget("gcp-1", ANN, dry_run=False)
    assert "gcp-1" in fleet.store.snapshot.nodes
    assert not session.replaced.is_set()
