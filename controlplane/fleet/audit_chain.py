"""The audit's chain: each entry is hashed together with the hash of the one before. Pure.

Written by `storage.repositories.audit`, verified by `services.verify_audit` and `jobs.seal_audit`. The encoding is documented
in docs/audit.md, so that anybody can recompute it; another encoding gets another tag. A chain proves that nothing in
it was changed since somebody noted its newest hash; whoever can rewrite all of it can make another one that is whole in
itself. That is what seals are for: the head, signed by the local CA.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from controlplane.fleet.history import AuditEntry

ENTRY_TAG = "stoker-audit-1"
SEAL_TAG = "stoker-audit-seal-1"
NO_HASH = "0" * 64  # what the first entry follows
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ChainedEntry:
    """An entry of the audit in its place."""

    audit_id: int
    entry: AuditEntry
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class Link:
    """Where a chain is: the last entry so far."""

    audit_id: int = 0
    hash: str = NO_HASH


@dataclass(frozen=True, slots=True)
class Seal:
    """That the audit's head was this entry, signed. Seals are numbered from 1 without gaps."""

    seal_id: int
    audit_id: int
    hash: str  # of that entry
    at: datetime
    signature: bytes
    signer: str  # serial number of the CA's certificate, hexadecimal


def entry_hash(prev_hash: str, audit_id: int, entry: AuditEntry) -> str:
    """SHA-256, hexadecimal, of the entry's canonical encoding."""
    fields = (
        ENTRY_TAG,
        prev_hash,
        audit_id,
        canonical_time(entry.at),
        entry.actor,
        entry.action,
        entry.target,
        entry.detail,
        entry.outcome,
        entry.peer,
        entry.plan,
    )
    return hashlib.sha256(_canonical(fields)).hexdigest()


def chained(after: Link, entry: AuditEntry) -> ChainedEntry:
    """The entry as the next of the chain."""
    audit_id = after.audit_id + 1
    return ChainedEntry(audit_id, entry, after.hash, entry_hash(after.hash, audit_id, entry))


def sealed_bytes(seal_id: int, audit_id: int, head_hash: str, at: datetime) -> bytes:
    """What a seal's signature is over."""
    return _canonical((SEAL_TAG, seal_id, audit_id, head_hash, canonical_time(at)))


def canonical_time(at: datetime) -> str:
    """UTC, always with microseconds: "2026-11-22T14:00:00.000000Z"."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def is_hash(text: str) -> bool:
    return _HASH.fullmatch(text) is not None


def breaks(after: Link, entries: Sequence[ChainedEntry]) -> list[str]:
    """What is wrong with these entries, which are to follow `after` in the order of their numbers; none: nothing."""
    found = []
    for each in entries:
        if each.prev_hash != after.hash:
            place = (
                "at its beginning" if after.audit_id == 0 else f"between entries {after.audit_id} and {each.audit_id}"
            )
            found.append(f"the chain is broken {place}: entries were removed, inserted, moved or changed there")
        if entry_hash(each.prev_hash, each.audit_id, each.entry) != each.hash:
            found.append(f"entry {each.audit_id} is not as it was written")
        after = Link(each.audit_id, each.hash)
    return found


def _canonical(fields: Sequence[str | int]) -> bytes:
    return json.dumps(fields, ensure_ascii=True, separators=(",", ":")).encode("ascii")
