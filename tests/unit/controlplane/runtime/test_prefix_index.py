"""The router's picture of the engines' caches: what is told is held, and what does not add up is noticed."""

import random
import tracemalloc
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from controlplane.fleet.inside import ResidencyHeld, ResidencySummary
from controlplane.runtime.prefix_index import PrefixIndex, ResidencyUpdate

HASHES = st.integers(0, 2**64 - 1)


def whole(*hashes: int, engine: str = "e1", instance: str = "i1", version: int = 1) -> ResidencyUpdate:
    return ResidencyUpdate(engine, instance, 0, version, True, hashes, (), sum(hashes) % 2**64, len(hashes))


def delta(before: set[int], after: set[int], base: int, version: int) -> ResidencyUpdate:
    added, removed = tuple(after - before), tuple(before - after)
    return ResidencyUpdate("e1", "i1", base, version, False, added, removed, sum(after) % 2**64, len(after))


def summary(version: int, *hashes: int) -> ResidencySummary:
    return ResidencySummary(version, len(hashes), 0, sum(hashes) % 2**64, complete=True)


@given(st.lists(st.sets(HASHES, max_size=20), min_size=1, max_size=10))
def test_it_holds_what_the_updates_come_to(states: list[set[int]]) -> None:
    index = PrefixIndex()
    assert index.apply(whole(*states[0], version=0))
    for version, (before, after) in enumerate(pairwise(states)):
        assert index.apply(delta(before, after, version, version + 1))
        assert all(index.holds("e1", hash64) == (hash64 in after) for hash64 in before | after)
        assert index.held("e1") == ResidencyHeld(len(after), True)


@given(st.lists(st.sets(HASHES, max_size=6), min_size=3, max_size=6, unique_by=frozenset), st.data())
def test_a_lost_update_is_always_noticed(states: list[set[int]], data: st.DataObject) -> None:
    index = PrefixIndex()
    index.apply(whole(*states[0], version=0))
    lost = data.draw(st.integers(0, len(states) - 2))
    answers = []
    for version, (before, after) in enumerate(pairwise(states)):
        if version != lost:
            answers.append(index.apply(delta(before, after, version, version + 1)))
    answers.append(index.compare("e1", "i1", summary(len(states) - 1, *states[-1])) is True)
    assert False in answers


@given(st.sets(HASHES, min_size=1, max_size=8), st.sets(HASHES, max_size=8))
def test_what_was_changed_on_the_way_is_noticed_by_the_sum(told: set[int], held: set[int]) -> None:
    index = PrefixIndex()
    update = whole(*held)
    false = ResidencyUpdate("e1", "i1", 0, 1, True, tuple(told), (), update.checksum, update.chunks)
    assert index.apply(false) == (told == held or (len(told), sum(told) % 2**64) == (update.chunks, update.checksum))


def test_an_update_of_another_process_or_of_nothing_does_not_count() -> None:
    index = PrefixIndex()
    assert not index.apply(delta(set(), {1}, 0, 1))
    index.apply(whole(1, 2))
    other = ResidencyUpdate("e1", "i2", 1, 2, False, (3,), (), 6, 3)
    assert not index.apply(other)
    assert index.held("e1") == ResidencyHeld(2, False)
    assert index.apply(whole(9, instance="i2"))
    assert index.held("e1") == ResidencyHeld(1, True)
    assert not index.holds("e1", 1)


def test_a_summary_is_compared_with_the_same_version_only() -> None:
    index = PrefixIndex()
    index.apply(whole(1, 2, version=5))
    assert index.compare("e1", "i1", summary(6, 1, 2, 3)) is None
    assert index.compare("e1", "i1", summary(5, 1, 2)) is True
    assert index.compare("e1", "i1", summary(5, 1, 3)) is False
    assert index.held("e1") == ResidencyHeld(2, False)
    assert index.compare("e1", "i2", summary(5, 1, 2)) is None
    assert index.held("e1") is None


def test_a_match_ends_at_the_first_chunk_that_is_missing() -> None:
    index = PrefixIndex()
    index.apply(whole(1, 2, 4))
    index.apply(whole(1, engine="e2"))
    assert index.longest_match("e1", [1, 2, 3, 4]) == 2
    assert index.longest_match("e1", [1, 2, 4]) == 3
    assert index.longest_match("e1", []) == index.longest_match("e3", [1]) == 0
    assert index.longest_match("e2", [2, 1]) == 0
    assert sorted(index.engines_holding(1)) == ["e1", "e2"]
    assert index.engines_holding(3) == ()
    index.drop("e1")
    assert index.engines_holding(2) == ()


def test_a_hundred_thousand_chunks_take_at_most_twenty_bytes_each() -> None:
    draw = random.Random(7)  # noqa: S311 - the same hashes in every run
    index, count = PrefixIndex(), 100_000
    index.apply(whole(*(draw.getrandbits(64) for _ in range(count // 2))))
    state = draw.getstate()
    tracemalloc.start()
    try:
        index.apply(whole(*(draw.getrandbits(64) for _ in range(count)), engine="e2"))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    draw.setstate(state)
    assert index.longest_match("e2", [draw.getrandbits(64) for _ in range(count)]) == count
    assert taken <= 20 * count
