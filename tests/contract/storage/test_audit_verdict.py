"""Whoever changes the audit behind the control plane's back is found out, on both databases."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from controlplane.errors import InvalidInputError
from controlplane.fleet.audit_chain import ChainedEntry, Link, chained, sealed_bytes
from controlplane.fleet.history import AuditEntry, FleetEvent
from controlplane.identity.authority import Authority
from controlplane.jobs import seal_audit
from controlplane.services import verify_audit
from controlplane.services.verify_audit import AuditVerdict, VerifyAudit
from controlplane.storage import engines
from controlplane.storage.database import Database
from controlplane.storage.database_url import parse_url
from tests.contract.storage.facts import T0, at

SEALED = 6
ENTRIES = 9
GUARDS = {
    "sqlite": (
        "DROP TRIGGER IF EXISTS audit_entries_no_update",
        "DROP TRIGGER IF EXISTS audit_entries_no_delete",
        "DROP TRIGGER IF EXISTS audit_seals_no_update",
        "DROP TRIGGER IF EXISTS audit_seals_no_delete",
    ),
    "postgresql": ("ALTER TABLE audit_entries DISABLE TRIGGER USER", "ALTER TABLE audit_seals DISABLE TRIGGER USER"),
}


class Audit:
    """Nine entries; the first three and the first six were sealed."""

    def __init__(self, database: Database, authority: Authority, url: str) -> None:
        self.database = database
        self.authority = authority
        self.told: list[FleetEvent] = []
        self._url = url

    async def append(self, *numbers: int) -> None:
        entries = [AuditEntry(at(number), "operator:ann", "drain", f"n-{number}", "", "done") for number in numbers]
        await self.database.run(lambda uow: uow.audit.append_new(entries))

    async def seal(self, seconds: float) -> str | None:
        return await seal_audit.run(self.database, self.authority, self.told.extend, at(seconds))

    async def verify(self, expected_hash: str = "") -> AuditVerdict:
        return await VerifyAudit(self.database, self.authority)(expected_hash)

    async def entries(self) -> list[ChainedEntry]:
        return await self.database.read(lambda uow: uow.audit.after(0, 100))

    @contextmanager
    def tampered(self) -> Iterator[Connection]:
        """Somebody who may do everything in the database, and takes the guards away first."""
        engine = engines.create(parse_url(self._url))
        with engine.begin() as connection:
            for statement in GUARDS[self.database.kind]:
                connection.execute(text(statement))
            yield connection
        engine.dispose()

    def change(self, *statements: str) -> None:
        with self.tampered() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def write_anew(self, entries: list[ChainedEntry], change: Callable[[AuditEntry], AuditEntry]) -> None:
        """Change the first of them, and chain all that come after it again."""
        last = Link(entries[0].audit_id - 1, entries[0].prev_hash)
        with self.tampered() as connection:
            for place, each in enumerate(entries):
                made = chained(last, each.entry if place else change(each.entry))
                last = Link(made.audit_id, made.hash)
                connection.execute(
                    text(
                        "UPDATE audit_entries SET target = :target, prev_hash = :prev, hash = :hash WHERE audit_id = :id"
                    ),
                    {"target": made.entry.target, "prev": made.prev_hash, "hash": made.hash, "id": made.audit_id},
                )


@pytest.fixture
async def audit(database: Database, database_url: str, tmp_path: Path) -> Audit:
    made = Audit(database, Authority.create(tmp_path / "identity", T0), database_url)
    await made.append(0, 1, 2)
    assert await made.seal(10) == "sealed up to entry 3"
    await made.append(3, 4, 5)
    assert await made.seal(20) == "sealed up to entry 6"
    await made.append(6, 7, 8)
    return made


async def test_what_nobody_touched_is_whole(audit: Audit) -> None:
    verdict = await audit.verify()
    head = (await audit.entries())[-1]
    assert verdict == AuditVerdict(True, ENTRIES, 2, Link(ENTRIES, head.hash), at(20), ENTRIES - SEALED, ())
    assert audit.told == []


async def test_it_is_the_same_in_pages(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = await audit.verify()
    for size in (1, 2, 3, 4, 9):
        monkeypatch.setattr(verify_audit, "PAGE_COUNT", size)
        assert await audit.verify() == whole


async def test_an_empty_audit_proves_nothing_and_is_not_sealed(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    empty = Audit(database, Authority.create(tmp_path / "identity", T0), database_url)
    assert await empty.verify() == AuditVerdict(True, 0, 0, Link(), None, 0, ())
    assert await empty.seal(1) == "nothing new to seal"
    assert (await empty.verify()).seals_count == 0


async def test_nothing_new_is_not_sealed_again(audit: Audit) -> None:
    assert await audit.seal(30) == "sealed up to entry 9"
    assert await audit.seal(40) == "nothing new to seal"
    verdict = await audit.verify()
    assert (verdict.seals_count, verdict.sealed_at, verdict.unsealed_count) == (3, at(30), 0)


CHANGES = {
    "at": "'2026-11-22 13:00:00.000000'",
    "actor": "'operator:bob'",
    "action": "'remove'",
    "target": "'n-99'",
    "detail": "'by mistake'",
    "outcome": "'refused'",
    "peer": "'ipv4:1.2.3.4:5'",
    "plan": "'something else'",
    "audit_id": "105",
    "prev_hash": "hash",
    "hash": "prev_hash",
}


@pytest.mark.parametrize("audit_id", [5, 8])
@pytest.mark.parametrize("column", CHANGES)
async def test_a_changed_field_is_found_before_a_seal_and_after_it(audit: Audit, column: str, audit_id: int) -> None:
    audit.change(f"UPDATE audit_entries SET {column} = {CHANGES[column]} WHERE audit_id = {audit_id}")  # noqa: S608
    verdict = await audit.verify()
    assert not verdict.whole
    assert verdict.problems


async def test_a_changed_entry_is_named(audit: Audit) -> None:
    audit.change("UPDATE audit_entries SET actor = 'operator:bob' WHERE audit_id = 5")
    assert (await audit.verify()).problems == ("entry 5 is not as it was written",)


@pytest.mark.parametrize("audit_id", [1, 2, 5, 8])
async def test_a_removed_entry_is_found(audit: Audit, audit_id: int) -> None:
    audit.change(f"DELETE FROM audit_entries WHERE audit_id = {audit_id}")  # noqa: S608
    problems = (await audit.verify()).problems
    where = "at its beginning" if audit_id == 1 else f"between entries {audit_id - 1} and {audit_id + 1}"
    assert problems == (f"the chain is broken {where}: entries were removed, inserted, moved or changed there",)


async def test_an_inserted_entry_is_found(audit: Audit) -> None:
    """Chained to the one before it, as a forger would."""
    audit.change(
        "DELETE FROM audit_entries WHERE audit_id = 6",
        "INSERT INTO audit_entries (audit_id, at, actor, action, target, detail, outcome, peer, plan, prev_hash, hash) "
        "SELECT 6, at, actor, action, target, detail, outcome, peer, plan, hash, prev_hash "
        "FROM audit_entries WHERE audit_id = 5",
    )
    assert len((await audit.verify()).problems) == 3  # its hash, what follows it, and the seal


async def test_two_entries_that_changed_places_are_found(audit: Audit) -> None:
    audit.change(
        "UPDATE audit_entries SET audit_id = 100 WHERE audit_id = 4",
        "UPDATE audit_entries SET audit_id = 4 WHERE audit_id = 5",
        "UPDATE audit_entries SET audit_id = 5 WHERE audit_id = 100",
    )
    assert not (await audit.verify()).whole


async def test_a_cut_end_is_found_up_to_the_newest_seal(audit: Audit) -> None:
    audit.change("DELETE FROM audit_entries WHERE audit_id > 5")
    verdict = await audit.verify()
    assert verdict.problems == ("entry 6 was removed: seal 2 of 2026-11-22 14:00:20 UTC is of it",)
    assert (verdict.entries_count, verdict.seals_count) == (5, 2)


async def test_a_cut_end_after_the_newest_seal_cannot_be_proved_but_by_a_hash_noted_elsewhere(audit: Audit) -> None:
    noted = (await audit.verify()).head.hash
    audit.change("DELETE FROM audit_entries WHERE audit_id > 7")
    verdict = await audit.verify()
    assert (verdict.whole, verdict.unsealed_count) == (True, 1)
    assert (await audit.verify(noted)).problems == (
        f"no entry has the hash {noted}: the entry that had it was changed or removed",
    )


async def test_a_chain_that_was_made_anew_is_found_by_the_seal(audit: Audit) -> None:
    entries = await audit.entries()
    audit.write_anew(entries[1:], lambda entry: replace(entry, target="n-99"))
    problems = (await audit.verify()).problems
    assert len(problems) == 2
    assert problems[0].startswith("entry 3 or one before it was changed, and the chain made anew: seal 1 of")


async def test_without_the_cas_key_there_is_no_other_seal(audit: Audit) -> None:
    entries = await audit.entries()
    audit.write_anew(entries[1:], lambda entry: replace(entry, target="n-99"))
    made_anew = await audit.entries()
    with audit.tampered() as connection:
        for seal_id, audit_id in ((1, 3), (2, 6)):
            connection.execute(
                text("UPDATE audit_seals SET hash = :hash WHERE seal_id = :id"),
                {"hash": made_anew[audit_id - 1].hash, "id": seal_id},
            )
    assert (await audit.verify()).problems == ("seal 1 is not as it was signed", "seal 2 is not as it was signed")


async def test_another_cas_seal_is_told_as_such(audit: Audit, tmp_path: Path) -> None:
    other = Authority.create(tmp_path / "other", T0)
    assert await seal_audit.run(audit.database, other, audit.told.extend, at(30)) == "sealed up to entry 9"
    assert (await audit.verify()).problems == (
        f"seal 3 was not signed by this control plane's CA but by {other.serial}",
    )


async def test_a_seal_of_the_past_cannot_be_put_in_the_place_of_another(audit: Audit) -> None:
    """Removing the newest seals is not found; removing one between is."""
    await audit.seal(30)
    audit.change("DELETE FROM audit_seals WHERE seal_id = 2")
    assert (await audit.verify()).problems == ("seal 2 is missing",)


async def test_an_expected_hash_may_be_of_any_entry_and_must_be_one(audit: Audit) -> None:
    entries = await audit.entries()
    assert (await audit.verify(f" {entries[2].hash.upper()}\n")).whole
    assert not (await audit.verify("f" * 64)).whole
    with pytest.raises(InvalidInputError, match="64 hexadecimal digits"):
        await audit.verify("f" * 63)


async def test_many_problems_are_counted(audit: Audit) -> None:
    await audit.append(*range(100, 150))
    audit.change("UPDATE audit_entries SET actor = 'operator:bob'")
    problems = (await audit.verify()).problems
    assert len(problems) == verify_audit.PROBLEMS_MAX + 1
    assert problems[-1] == f"and {ENTRIES + 50 - verify_audit.PROBLEMS_MAX} more of the kind"


async def test_a_change_since_the_last_seal_is_told_once_when_the_next_is_made(audit: Audit) -> None:
    audit.change("UPDATE audit_entries SET actor = 'operator:bob' WHERE audit_id = 8")
    assert await audit.seal(30) == "sealed up to entry 9"
    assert [(event.kind, event.at) for event in audit.told] == [("audit_broken", at(30))]
    assert "entry 8 is not as it was written" in audit.told[0].message
    await audit.append(9)
    await audit.seal(40)
    assert len(audit.told) == 1
    assert not (await audit.verify()).whole  # for ever


async def test_a_cut_end_is_told_when_the_next_seal_is_made(audit: Audit) -> None:
    audit.change("DELETE FROM audit_entries WHERE audit_id > 4")
    await audit.append(50)
    assert await audit.seal(30) == "sealed up to entry 5"
    assert [event.kind for event in audit.told] == ["audit_broken"]
    assert "entry 6 is not the one that seal 2 names" in audit.told[0].message


def test_what_is_signed_names_number_entry_and_time() -> None:
    base = sealed_bytes(1, 2, "ab", at(0))
    assert (
        len({base, sealed_bytes(2, 2, "ab", at(0)), sealed_bytes(1, 3, "ab", at(0)), sealed_bytes(1, 2, "ab", at(1))})
        == 4
    )
