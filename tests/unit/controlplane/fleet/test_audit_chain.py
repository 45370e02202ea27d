"""The audit's chain: any change of any field of any entry, and any change of their order, breaks it."""

import hashlib
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.fleet.audit_chain import (
    NO_HASH,
    ChainedEntry,
    Link,
    breaks,
    canonical_time,
    chained,
    entry_hash,
    is_hash,
    sealed_bytes,
)
from controlplane.fleet.history import AuditEntry

AT = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)
TEXTS = tuple(field.name for field in fields(AuditEntry) if field.name != "at")

entries = st.builds(
    AuditEntry,
    st.datetimes(timezones=st.just(UTC)),
    *(st.text(max_size=8) for _ in TEXTS),
)


def chain(*each: AuditEntry) -> list[ChainedEntry]:
    made: list[ChainedEntry] = []
    last = Link()
    for entry in each:
        made.append(chained(last, entry))
        last = Link(made[-1].audit_id, made[-1].hash)
    return made


def test_the_encoding_is_the_documented_one() -> None:
    entry = AuditEntry(AT, "operator:ann", "drain", "n\u00fcrnberg", "", "1 changed", "ipv4:10.0.0.9:5", "one\ntwo")
    written = (
        f'["stoker-audit-1","{NO_HASH}",1,"2026-11-22T14:00:00.000000Z","operator:ann","drain","n\\u00fcrnberg","",'
        '"1 changed","ipv4:10.0.0.9:5","one\\ntwo"]'
    )
    assert chained(Link(), entry).hash == hashlib.sha256(written.encode("ascii")).hexdigest()
    assert sealed_bytes(3, 7, "ab", AT) == b'["stoker-audit-seal-1",3,7,"ab","2026-11-22T14:00:00.000000Z"]'


def test_times_are_the_same_in_every_zone() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=-7)))
    assert canonical_time(elsewhere) == canonical_time(AT)


@given(st.lists(entries, max_size=6))
def test_what_was_chained_is_whole(written: list[AuditEntry]) -> None:
    made = chain(*written)
    assert breaks(Link(), made) == []
    for place in range(1, len(made)):  # and in pages
        before = made[place - 1]
        assert breaks(Link(before.audit_id, before.hash), made[place:]) == []


@given(st.lists(entries, min_size=1, max_size=5), st.data())
def test_a_change_of_any_field_is_found(written: list[AuditEntry], data: st.DataObject) -> None:
    made = chain(*written)
    place = data.draw(st.integers(0, len(made) - 1))
    field = data.draw(st.sampled_from((*TEXTS, "at", "audit_id", "prev_hash", "hash")))
    old = made[place]
    if field == "at":
        changed = replace(old, entry=replace(old.entry, at=data.draw(st.datetimes(timezones=st.just(UTC)))))
    elif field in TEXTS:
        texts: dict[str, Any] = {field: data.draw(st.text(max_size=8))}
        changed = replace(old, entry=replace(old.entry, **texts))
    elif field == "audit_id":
        changed = replace(old, audit_id=data.draw(st.integers(1, 100)))
    else:
        hashes: dict[str, Any] = {field: data.draw(st.sampled_from((NO_HASH, "f" * 64, old.hash, old.prev_hash)))}
        changed = replace(old, **hashes)
    made[place] = changed
    assert bool(breaks(Link(), made)) == (changed != old)


@given(st.lists(entries, min_size=3, max_size=6), st.data())
def test_removing_moving_and_inserting_is_found(written: list[AuditEntry], data: st.DataObject) -> None:
    made = chain(*written)
    place = data.draw(st.integers(0, len(made) - 2))
    removed = made[:place] + made[place + 1 :]
    swapped = [*made[:place], made[place + 1], made[place], *made[place + 2 :]]
    before = Link(made[place].audit_id, made[place].hash)
    inserted = [*made[: place + 1], chained(before, data.draw(entries)), *made[place + 1 :]]
    for changed in (removed, swapped, inserted):
        assert breaks(Link(), changed)


@given(st.lists(entries, min_size=2, max_size=5))
def test_a_cut_end_and_a_new_chain_are_whole_in_themselves(written: list[AuditEntry]) -> None:
    """Why there are seals."""
    assert breaks(Link(), chain(*written)[:-1]) == []


def test_fields_cannot_borrow_from_their_neighbours() -> None:
    one = AuditEntry(AT, "a", "b", 'x","y', "", "", "", "")
    other = AuditEntry(AT, "a", "b", "x", "y", "", "", "")
    assert entry_hash(NO_HASH, 1, one) != entry_hash(NO_HASH, 1, other)


@pytest.mark.parametrize(("text", "good"), [("a" * 64, True), ("A" * 64, False), ("a" * 63, False), ("", False)])
def test_what_a_hash_looks_like(text: str, good: bool) -> None:
    assert is_hash(text) is good
