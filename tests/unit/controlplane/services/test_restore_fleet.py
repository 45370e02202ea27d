"""What a starting daemon remembers."""

from pathlib import Path

import pytest

from controlplane.errors import UnavailableError
from controlplane.fleet.access import ApiKey
from controlplane.services.place_model import PlaceOrder
from controlplane.services.restore_fleet import restore_fleet
from tests.support.clock import START, SettableClock
from tests.support.fleet import enrolled, reported
from tests.support.plane import ANN, plane


async def test_everything_that_must_not_be_forgotten(tmp_path: Path) -> None:
    clock = SettableClock()
    async with plane(tmp_path, clock) as first:
        await first.enrol(enrolled("gcp-1"), enrolled("aws-1"))
        await first.place(PlaceOrder("llama", "gcp-1", "/models/llama"), ANN, dry_run=False)
        first.connect("gcp-1", reported())
        await first.database.run(lambda uow: uow.keys.put(ApiKey("k1", "acme", START, "ann", revoked_at=START)))
        await first.database.run(lambda uow: uow.keys.put(ApiKey("k2", "acme", START, "ann")))
        await first.written()
        wanted, told = first.wanted(), first.events.recent()
    async with plane(tmp_path, clock) as second:
        remembered = await restore_fleet(second.database, clock.now())
        assert remembered.desired == wanted
        assert remembered.events == told
        assert remembered.last_event_id == told[-1].event_id == len(told)
        assert remembered.revoked_key_ids == {"k1"}
        assert [summary.engine_id for summary in remembered.summaries] == ["llama@gcp-1"]
        second.events.append([told[0]])
        assert second.events.recent()[-1].event_id == len(told) + 1


async def test_an_empty_installation(tmp_path: Path) -> None:
    async with plane(tmp_path) as made:
        remembered = await restore_fleet(made.database, made.clock.now())
        assert (remembered.summaries, remembered.events, remembered.last_event_id) == ((), (), 0)
        await made.database.close()
        with pytest.raises(UnavailableError):
            await restore_fleet(made.database, made.clock.now())
