"""Prove that nothing was changed in the audit: walk the chain from its first entry, and look at every seal.

Called by `rpc.operator_service`. Only reads, in pages, so that others get their turn; one walk at a time. What it cannot prove
it says: entries after the newest seal could have been cut off, and with them every seal that was cut off, too.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from controlplane.errors import InvalidInputError
from controlplane.fleet.audit_chain import ChainedEntry, Link, Seal, breaks, is_hash, sealed_bytes
from controlplane.identity.authority import Authority
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork

PAGE_COUNT = 500  # entries: some ten milliseconds
PROBLEMS_MAX = 20


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    whole: bool  # nothing was changed, as far as can be proved
    entries_count: int
    seals_count: int
    head: Link
    sealed_at: datetime | None  # the newest seal; None: there is none
    unsealed_count: int  # entries after it
    problems: tuple[str, ...]  # sentences


@dataclass
class _Walk:
    """How far we are, and what we found."""

    until_id: int
    expected_hash: str
    last: Link = field(default_factory=Link)
    entries_count: int = 0
    seals_count: int = 0
    seal: Seal | None = None  # the newest seen
    sealed_entry_count: int = 0  # entries up to the newest seal
    expected_found: bool = False
    problems: list[str] = field(default_factory=list)
    problems_count: int = 0

    def note(self, problems: list[str]) -> None:
        self.problems_count += len(problems)
        self.problems.extend(problems[: PROBLEMS_MAX - len(self.problems)])


class VerifyAudit:
    def __init__(self, database: Database, authority: Authority) -> None:
        self._database = database
        self._authority = authority
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, expected_hash: str = "") -> AuditVerdict:
        """`expected_hash`: of an entry that somebody noted, "" for none. Raises InvalidInputError, UnavailableError."""
        expected_hash = expected_hash.strip().lower()
        if expected_hash and not is_hash(expected_hash):
            raise InvalidInputError(
                "a hash of the audit has 64 hexadecimal digits: stoker audit verify shows the newest"
            )
        async with self._one_at_a_time:
            head = await self._database.read(lambda uow: uow.audit.head())
            walk = _Walk(head.audit_id, expected_hash)
            while await self._database.read(lambda uow: self._step(uow, walk)):
                pass
            await self._database.read(lambda uow: self._beyond_the_end(uow, walk))
        if expected_hash and not walk.expected_found:
            walk.note([f"no entry has the hash {expected_hash}: the entry that had it was changed or removed"])
        if walk.problems_count > len(walk.problems):
            walk.problems.append(f"and {walk.problems_count - len(walk.problems)} more of the kind")
        return AuditVerdict(
            whole=not walk.problems,
            entries_count=walk.entries_count,
            seals_count=walk.seals_count,
            head=walk.last,
            sealed_at=walk.seal.at if walk.seal else None,
            unsealed_count=walk.entries_count - walk.sealed_entry_count,
            problems=tuple(walk.problems),
        )

    def _step(self, uow: UnitOfWork, walk: _Walk) -> bool:
        """One page. False: it was the last."""
        page = [each for each in uow.audit.after(walk.last.audit_id, PAGE_COUNT) if each.audit_id <= walk.until_id]
        if not page:
            return False
        walk.note(breaks(walk.last, page))
        walk.expected_found = walk.expected_found or any(each.hash == walk.expected_hash for each in page)
        self._look_at_seals(uow, walk, page)
        walk.entries_count += len(page)
        walk.last = Link(page[-1].audit_id, page[-1].hash)
        return page[-1].audit_id < walk.until_id

    def _look_at_seals(self, uow: UnitOfWork, walk: _Walk, page: list[ChainedEntry]) -> None:
        """Those of this page's entries, and of entries before it that are not there any more."""
        entries = {each.audit_id: (place, each) for place, each in enumerate(page, start=1)}
        while seals := uow.audit_seals.after(_number(walk), PAGE_COUNT, until_audit_id=page[-1].audit_id):
            for seal in seals:
                place, entry = entries.get(seal.audit_id, (0, None))
                self._look_at(walk, seal, entry)
                if place:
                    walk.sealed_entry_count = walk.entries_count + place

    def _beyond_the_end(self, uow: UnitOfWork, walk: _Walk) -> None:
        """Seals of entries that came after the walk began are left for the next one; those of none are a proof."""
        for seal in uow.audit_seals.after(_number(walk), PAGE_COUNT):
            if uow.audit.get(seal.audit_id) is None:
                self._look_at(walk, seal, None)

    def _look_at(self, walk: _Walk, seal: Seal, entry: ChainedEntry | None) -> None:
        number = _number(walk) + 1
        if seal.seal_id != number:
            walk.note([f"seal {number} is missing"])
        content = sealed_bytes(seal.seal_id, seal.audit_id, seal.hash, seal.at)
        if not self._authority.is_own_seal(content, seal.signature):
            own = seal.signer == self._authority.serial
            by = "is not as it was signed" if own else f"was not signed by this control plane's CA but by {seal.signer}"
            walk.note([f"seal {seal.seal_id} {by}"])
        elif entry is None:
            walk.note([f"entry {seal.audit_id} was removed: {_named(seal)} is of it"])
        elif entry.hash != seal.hash:
            made_anew = f"entry {seal.audit_id} or one before it was changed, and the chain made anew"
            walk.note([f"{made_anew}: {_named(seal)} has another hash"])
        walk.seals_count += 1
        walk.seal = seal


def _number(walk: _Walk) -> int:
    """Of the newest seal seen; 0: none yet."""
    return walk.seal.seal_id if walk.seal else 0


def _named(seal: Seal) -> str:
    return f"seal {seal.seal_id} of {seal.at:%Y-%m-%d %H:%M:%S} UTC"
