"""The file keeps each record once, in order, within its bounds, whatever restarts in between."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.session.records import RequestRecord
from node_agent.spool.spool_file import SpoolFile
from tests.support.spool import HOUR, numbered, request, sample

MEBIBYTE = 1024 * 1024


def opened(path: Path, *, age: float = 24 * HOUR, size: int = 256 * MEBIBYTE) -> SpoolFile:
    return SpoolFile(path, age_seconds_max=age, bytes_max=size)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SpoolFile]:
    spool = opened(tmp_path / "spool.sqlite3")
    yield spool
    spool.close()


def names(spool: SpoolFile, after: int = 0, limit: int = 10_000) -> list[str]:
    return [
        record.body.request_id if isinstance(record.body, RequestRecord) else "sample"
        for record in spool.read_after(after, limit)
    ]


def test_numbers_begin_at_one_and_requests_and_samples_share_them(file: SpoolFile) -> None:
    assert file.append_requests("i1", numbered(1, 2), 0.0) == 2
    file.append_samples([sample()], 0.0)
    records = file.read_after(0, 10)
    assert [record.sequence for record in records] == [1, 2, 3]
    assert names(file) == ["r1", "r2", "sample"]
    assert names(file, after=1, limit=1) == ["r2"]


def test_repeats_are_ignored_by_the_plug_ins_number_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite3"
    first = opened(path)
    assert first.append_requests("i1", numbered(1, 2, 3), 0.0) == 3
    assert first.append_requests("i1", numbered(2, 3, 5, 5), 0.0) == 5
    assert first.append_requests("i2", numbered(1), 0.0) == 1
    first.close()
    again = opened(path)
    assert again.append_requests("i1", numbered(1, 5), 0.0) == 5
    assert again.append_requests("i1", numbered(6), 0.0) == 6
    assert names(again) == ["r1", "r2", "r3", "r5", "r1", "r6"]
    again.close()


def test_the_name_stays_and_no_number_is_used_twice(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite3"
    first = opened(path)
    first.append_requests("i1", numbered(1), 0.0)
    first.forget_through(1)
    name = first.spool_id
    first.close()
    again = opened(path)
    again.append_requests("i1", numbered(2), 0.0)
    assert again.spool_id == name
    assert [record.sequence > 1 for record in again.read_after(0, 10)] == [True]
    again.close()


def test_a_file_that_lost_its_last_writes_goes_on_beyond_them(tmp_path: Path) -> None:
    """As after a power failure: what was written last is gone, though the control plane may have it."""
    path = tmp_path / "spool.sqlite3"
    opened(path).close()
    older = path.read_bytes()
    lost = opened(path)
    lost.append_requests("i1", numbered(1, 2, 3), 0.0)
    [*_, last] = lost.read_after(0, 10)
    lost.close()
    path.write_bytes(older)
    # The gap that an opening leaves is made durable before anything is numbered: so it is not lost.
    opened(path).close()
    again = opened(path)
    again.append_requests("i1", numbered(4), 0.0)
    [record] = again.read_after(0, 10)
    assert record.sequence > last.sequence
    again.close()


def test_a_batch_is_bounded_in_bytes_but_never_empty(file: SpoolFile) -> None:
    file.append_requests("i1", [(number, request(f"r{number}", model="m" * 1000)) for number in range(1, 11)], 0.0)
    assert 2 <= len(file.read_after(0, 10, bytes_max=5000)) <= 5
    assert len(file.read_after(0, 10, bytes_max=1)) == 1


def test_what_is_too_old_goes_first_and_is_counted(file: SpoolFile) -> None:
    file.append_requests("i1", numbered(*range(1, 1201)), 0.0)
    file.append_requests("i1", numbered(1201), 23 * HOUR)
    assert file.dropped == 0
    file.append_requests("i1", numbered(1202), 24.5 * HOUR)
    assert names(file) == ["r1201", "r1202"]
    assert file.dropped == 1200


def test_a_full_spool_drops_its_oldest_and_counts_them_durably(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite3"
    spool = opened(path, size=MEBIBYTE)
    for begin in range(1, 24_001, 500):
        spool.append_requests("i1", numbered(*range(begin, begin + 500)), 0.0)
    left = names(spool, limit=30_000)
    assert spool.dropped == 24_000 - len(left) > 0
    assert left == [f"r{number}" for number in range(24_001 - len(left), 24_001)]
    assert len(left) > 4000
    dropped = spool.dropped
    spool.close()
    assert path.stat().st_size < 2 * MEBIBYTE
    again = opened(path, size=MEBIBYTE)
    assert again.dropped == dropped
    again.close()


def test_what_was_delivered_is_never_counted_as_dropped(file: SpoolFile) -> None:
    file.append_requests("i1", numbered(1, 2), 0.0)
    file.forget_through(2)
    file.append_requests("i1", numbered(3), 48 * HOUR)
    assert (names(file), file.dropped) == (["r3"], 0)


def test_a_record_that_cannot_be_read_or_written_is_dropped_alone(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite3"
    spool = opened(path)
    broken = (2, request("\ud800"))
    assert spool.append_requests("i1", [*numbered(1), broken, *numbered(3)], 0.0) == 3
    with sqlite3.connect(path) as other:
        other.execute("UPDATE records SET payload = x'00' WHERE sequence = 1")
    assert names(spool) == ["r3"]
    assert spool.dropped == 2
    spool.close()


def test_a_write_that_fails_leaves_nothing_half_done(file: SpoolFile) -> None:
    file.append_requests("i1", numbered(1), 0.0)
    file._db.execute(f"PRAGMA max_page_count = {file._one('PRAGMA page_count')}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        file.append_requests("i1", numbered(*range(2, 2000)), 0.0)
    assert (file.highest("i1"), names(file), file.dropped) == (1, ["r1"], 0)
    file._db.execute("PRAGMA max_page_count = 100000")
    assert file.append_requests("i1", numbered(2), 0.0) == 2


def test_a_file_of_another_release_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite3"
    opened(path).close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 9")
    with pytest.raises(sqlite3.DatabaseError, match="another release"):
        opened(path)


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from(["i1", "i2"]), st.lists(st.integers(1, 40), max_size=8)),
        st.tuples(st.just("sample"), st.just(""), st.just([])),
        st.tuples(st.just("forget"), st.just(""), st.lists(st.integers(0, 30), min_size=1, max_size=1)),
        st.tuples(st.just("crash"), st.just(""), st.just([])),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(steps=_STEPS)
def test_nothing_is_lost_and_nothing_is_doubled(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, list[int]]]
) -> None:
    """Appends with repeats, deliveries and crashes in any order: each record comes out once, in order."""
    path = tmp_path_factory.mktemp("spool") / "spool.sqlite3"
    spool = opened(path)
    kept: list[str] = []  # as a list would do it
    highest = {"i1": 0, "i2": 0}
    delivered: list[str] = []
    seen: set[int] = set()
    for step, instance, numbers in steps:
        if step == "append":
            records = [(number, request(f"{instance}/{number}")) for number in numbers]
            for number in sorted(numbers):
                if number > highest[instance]:
                    highest[instance] = number
                    kept.append(f"{instance}/{number}")
            assert spool.append_requests(instance, records, 0.0) == highest[instance]
        elif step == "sample":
            kept.append("sample")
            spool.append_samples([sample()], 0.0)
        elif step == "forget":
            batch = spool.read_after(0, numbers[0])
            if batch:
                assert not seen & {record.sequence for record in batch}
                seen |= {record.sequence for record in batch}
                delivered += names(spool, limit=len(batch))
                spool.forget_through(batch[-1].sequence)
        else:
            spool._db.close()  # as a killed process leaves it: nothing is tidied up
            spool = opened(path)
    assert delivered + names(spool) == kept
    assert spool.dropped == 0
    spool.close()
