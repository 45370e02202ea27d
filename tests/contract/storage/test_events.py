"""The event log: ids, order, filters, and what hostile text becomes."""

from dataclasses import replace

from controlplane.fleet.observed import Severity
from controlplane.storage.database import Database
from tests.contract.storage.facts import at, event


async def test_events_without_ids_get_the_next_ones(database: Database) -> None:
    assert await database.run(lambda uow: uow.events.last_id()) == 0
    first = await database.run(lambda uow: uow.events.append([event(0), event(1)]))
    second = await database.run(lambda uow: uow.events.append([event(2)]))
    assert [each.event_id for each in (*first, *second)] == [1, 2, 3]
    assert await database.run(lambda uow: uow.events.last_id()) == 3
    assert await database.run(lambda uow: uow.events.append([])) == []


async def test_the_leaders_own_ids_are_kept_and_written_once(database: Database) -> None:
    numbered = [event(0, event_id=7), event(1, event_id=9)]
    assert await database.run(lambda uow: uow.events.append(numbered)) == numbered
    again = [replace(numbered[1], message="told twice"), event(2, event_id=10)]
    await database.run(lambda uow: uow.events.append(again))
    assert await database.run(lambda uow: uow.events.latest(10)) == [*numbered, again[1]]


async def test_events_come_oldest_first_and_say_when_older_ones_were_left_out(database: Database) -> None:
    written = await database.run(lambda uow: uow.events.append([event(n) for n in range(5)]))
    page = await database.run(lambda uow: uow.events.list(limit=3))
    assert (page.events, page.truncated) == (written[2:], True)
    page = await database.run(lambda uow: uow.events.list(limit=5))
    assert (page.events, page.truncated) == (written, False)
    page = await database.run(lambda uow: uow.events.list(since=at(3)))
    assert (page.events, page.truncated) == (written[3:], False)
    assert await database.run(lambda uow: uow.events.latest(2)) == written[3:]


async def test_events_are_found_by_node_engine_and_kind(database: Database) -> None:
    given = [
        event(0, node="gcp-1", kind="node_connected"),
        event(1, node="gcp-1", engine_id="llama@gcp-1", model="llama", severity=Severity.ERROR, actor="agent:gcp-1"),
        event(2, node="aws-1' OR '1'='1"),
    ]
    written = await database.run(lambda uow: uow.events.append(given))
    assert (await database.run(lambda uow: uow.events.list(node="gcp-1"))).events == written[:2]
    assert (await database.run(lambda uow: uow.events.list(node="gcp-1", kind="engine_ready"))).events == [written[1]]
    assert (await database.run(lambda uow: uow.events.list(engine_id="llama@gcp-1"))).events == [written[1]]
    assert (await database.run(lambda uow: uow.events.list(node="aws-1' OR '1'='1"))).events == [written[2]]
    assert (await database.run(lambda uow: uow.events.list(node="azure-1"))).events == []


async def test_text_that_a_database_cannot_hold_is_made_harmless(database: Database) -> None:
    await database.run(
        lambda uow: uow.events.append([event(message="a\x00b \ud800 [red]\N{SNOWMAN}\N{GRINNING FACE}")])
    )
    [back] = await database.run(lambda uow: uow.events.latest(1))
    assert back.message == "a\ufffdb \ufffd [red]\N{SNOWMAN}\N{GRINNING FACE}"


async def test_an_event_keeps_its_device_and_what_to_do(database: Database) -> None:
    fault = event(kind="device_fault", device_id="cuda:3", action="Drain it, then reset the device.")
    [written] = await database.run(lambda uow: uow.events.append([fault]))
    assert (await database.run(lambda uow: uow.events.latest(1))) == [written]
    assert (written.device_id, written.action) == ("cuda:3", "Drain it, then reset the device.")
