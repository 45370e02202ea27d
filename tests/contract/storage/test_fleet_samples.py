"""Rows of history on both databases: every field as it was, nothing twice, and what is not known is NULL."""

from dataclasses import fields, replace
from math import inf, nan
from typing import Any

import pytest
from sqlalchemy import select

from controlplane.clock import SystemClock
from controlplane.errors import ConflictError, InvalidInputError
from controlplane.fleet.history import AdmissionCount, DeviceSample, EngineSample, NodeSample, RecomputeSample
from controlplane.fleet.observed import EngineState
from controlplane.fleet.summaries import EngineSummary
from controlplane.storage.database import Database
from controlplane.storage.row_writers import DEVICE_SAMPLES, SAMPLES, HistoryWriters
from controlplane.storage.tables import device_samples, engine_samples, node_samples, recompute_samples
from controlplane.storage.unit_of_work import UnitOfWork
from tests.contract.storage.facts import at, sample

HELD: dict[str, Any] = {"provider": "gcp", "region": "europe-west4"}
DEVICE = DeviceSample(at(0), "gcp-1", "gpu-0", **HELD, device_kind="NVIDIA H100")
NODE = NodeSample(at(0), "gcp-1", **HELD, connected=False, trust="stale", cordoned=True, simulated=False)
BILL = RecomputeSample(at(0), "llama@gcp-1", "i1", "acme", "gcp-1", **HELD, model="llama", tokens_total=5)
COUNT = AdmissionCount(at(0), "boot-1", "acme", "llama", "", offered_count=2, admitted_count=2)
SUMMARY = EngineSummary("llama@gcp-1", "gcp-1", "llama", 1, "i1", EngineState.READY, "10.0.0.1:8000", at(0))


def full(fact: Any) -> Any:
    """The fact with a figure of its own in every field that may be unknown."""
    unknown = [field for field in fields(fact) if getattr(fact, field.name) is None]
    figures = {
        field.name: True if "bool" in str(field.type) else float(n) if "float" in str(field.type) else n
        for n, field in enumerate(unknown, 1)
    }
    return replace(fact, **figures)


async def rows(database: Database, table: Any, kind: Any) -> list[Any]:
    def read(uow: UnitOfWork) -> list[Any]:
        connection = uow.samples._connection
        found = connection.execute(select(table).order_by(*table.primary_key)).mappings()
        return [kind(**row) for row in found]

    return await database.run(read)


KINDS = [
    (engine_samples, EngineSample, sample(0), lambda uow, facts: uow.samples.append_many(facts)),
    (device_samples, DeviceSample, DEVICE, lambda uow, facts: uow.device_samples.append_many(facts)),
    (node_samples, NodeSample, NODE, lambda uow, facts: uow.node_samples.append_many(facts)),
    (recompute_samples, RecomputeSample, BILL, lambda uow, facts: uow.recompute_samples.append_many(facts)),
]


@pytest.mark.parametrize(("table", "kind", "fact", "append"), KINDS, ids=lambda value: getattr(value, "name", ""))
async def test_samples_come_back_as_they_were_and_are_written_once(
    database: Database, table: Any, kind: Any, fact: Any, append: Any
) -> None:
    told = full(replace(fact, sampled_at=at(10)))
    await database.run(lambda uow: append(uow, [fact, told]))
    assert await rows(database, table, kind) == [fact, told]
    changed = replace(told, provider="other")
    await database.run(lambda uow: (append(uow, [changed]), append(uow, [fact, replace(fact, sampled_at=at(20))])))
    assert await rows(database, table, kind) == [fact, told, replace(fact, sampled_at=at(20))]
    await database.run(lambda uow: append(uow, []))


async def test_text_that_means_something_elsewhere_is_text(database: Database) -> None:
    kinds = ("a\tb\nc\\d", "\\N", "'; drop table nodes; --", "a\x00b\ud800", "ö 木 🚀", "")
    facts = [replace(DEVICE, device_id=f"gpu-{n}", device_kind=kind) for n, kind in enumerate(kinds)]
    await database.run(lambda uow: uow.device_samples.append_many(facts))
    found = [row.device_kind for row in await rows(database, device_samples, DeviceSample)]
    unheld = "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"
    assert found == [*kinds[:3], unheld, *kinds[4:]]


async def test_what_is_no_number_is_not_known(database: Database) -> None:
    fact = replace(DEVICE, power_watts=nan, temperature_celsius=inf, compute_clock_hertz=-inf, covers_seconds=1.5)
    await database.run(lambda uow: uow.device_samples.append_many([fact]))
    [row] = await rows(database, device_samples, DeviceSample)
    assert row == replace(DEVICE, covers_seconds=1.5)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"faults_count": -1}, ConflictError),
        ({"free_bytes": 2**63}, InvalidInputError),
        ({"sampled_at": at(0).replace(tzinfo=None)}, ValueError),
    ],
)
async def test_a_row_that_cannot_be_is_refused_and_leaves_nothing(
    database: Database, bad: dict[str, Any], error: type[Exception]
) -> None:
    facts = [DEVICE, replace(DEVICE, device_id="gpu-1", **bad)]
    with pytest.raises(error):
        await database.run(lambda uow: uow.device_samples.append_many(facts))
    assert await rows(database, device_samples, DeviceSample) == []
    await database.run(lambda uow: uow.device_samples.append_many([DEVICE]))
    assert await rows(database, device_samples, DeviceSample) == [DEVICE]


async def test_the_clock_of_a_node_as_it_was_last_seen(database: Database) -> None:
    heard = replace(NODE, connected=True, clock_error_seconds=2.5)
    later = [replace(heard, sampled_at=at(10), clock_error_seconds=9.5), replace(NODE, sampled_at=at(20))]
    await database.run(lambda uow: uow.node_samples.append_many([heard, *later]))
    seen = await database.run(lambda uow: uow.node_samples.clock_last_seen("gcp-1"))
    assert seen is not None
    assert (seen.at, seen.error_seconds) == (at(10), 9.5)
    assert await database.run(lambda uow: uow.node_samples.clock_last_seen("gcp-2")) is None


async def test_admission_counts_and_summaries_replace_what_was_there(database: Database) -> None:
    more = replace(COUNT, offered_count=3, admitted_count=3, queue_seconds_sum=0.5)
    others = [replace(COUNT, boot_id="boot-2"), replace(COUNT, tenant="")]
    await database.run(lambda uow: uow.admission_counts.put_many([COUNT, *others]))
    await database.run(lambda uow: uow.admission_counts.put_many([replace(COUNT, offered_count=9), more]))
    counts = await database.run(lambda uow: uow.admission_counts.all())
    assert sorted(counts, key=lambda each: (each.boot_id, each.tenant)) == [others[1], more, others[0]]

    told = replace(full(SUMMARY), served_paths=("/v1/completions",), **HELD)
    await database.run(lambda uow: uow.engine_summaries.put_many([SUMMARY]))
    await database.run(lambda uow: uow.engine_summaries.put_many([SUMMARY, told]))
    assert await database.run(lambda uow: uow.engine_summaries.all()) == [told]


async def test_every_kind_has_a_writer(database: Database) -> None:
    writers = HistoryWriters.of(database, SystemClock(), buffer_max=7)
    assert len({writer.what for writer in writers.all}) == len(writers.all)
    writers.devices.add([DEVICE])
    writers.nodes.add([NODE])
    writers.bills.add([BILL])
    writers.admission.add([COUNT, replace(COUNT, offered_count=4)])
    for writer in writers.all:
        assert await writer.flush()
        assert writer.dropped_total == 0
    assert await rows(database, device_samples, DeviceSample) == [DEVICE]
    assert [row.offered_count for row in await database.run(lambda uow: uow.admission_counts.all())] == [4]


async def test_one_bad_row_does_not_take_its_batch_with_it(database: Database) -> None:
    devices, samples = DEVICE_SAMPLES.writer(database, SystemClock()), SAMPLES.writer(database, SystemClock())
    devices.add([DEVICE, replace(DEVICE, device_id="gpu-1", faults_count=-1), replace(DEVICE, device_id="gpu-2")])
    samples.add([sample(0), sample(1, devices_count=-1), sample(2)])
    assert await devices.flush()
    assert await samples.flush()
    assert (devices.dropped_total, samples.dropped_total) == (1, 1)
    assert [row.device_id for row in await rows(database, device_samples, DeviceSample)] == ["gpu-0", "gpu-2"]
