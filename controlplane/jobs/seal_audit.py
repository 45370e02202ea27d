"""Sign the audit's head with the local CA's key, so that cutting off its end or rewriting it can be proved later.

Woken by `jobs.scheduler` once an hour, and when the daemon ends. What came since the last seal is verified on the way: a
break is told as an event. It is sealed nevertheless, since the seal protects what comes after; `stoker audit verify` goes on
to show the break.
"""

import functools
from collections.abc import Callable, Iterable
from datetime import datetime

import structlog

from controlplane.fleet.audit_chain import ChainedEntry, Link, Seal, breaks, sealed_bytes
from controlplane.fleet.history import FleetEvent
from controlplane.fleet.observed import Severity
from controlplane.identity.authority import Authority
from controlplane.storage.database import Database
from controlplane.storage.unit_of_work import UnitOfWork

log = structlog.get_logger(__name__)

PAGE_COUNT = 500


async def run(
    database: Database, authority: Authority, tell: Callable[[Iterable[FleetEvent]], None], now: datetime
) -> str | None:
    """Seal the head if it is not sealed yet. Raises UnavailableError when SQL is away."""
    newest = await database.read(lambda uow: uow.audit_seals.newest())
    head, problems = await _follow(database, newest)
    if problems:
        log.error("audit_broken", problems=problems)
        tell([_broken(problems, now)])
    if head.audit_id == 0 or (newest is not None and newest.hash == head.hash):
        return "nothing new to seal"
    seal = await database.run(lambda uow: _seal(uow, authority, head, now))
    # In the daemon's log as well, which whoever can change the database cannot always change.
    log.info("audit_sealed", seal_id=seal.seal_id, audit_id=seal.audit_id, hash=seal.hash)
    return f"sealed up to entry {head.audit_id}"


def _seal(uow: UnitOfWork, authority: Authority, head: Link, now: datetime) -> Seal:
    last = uow.audit_seals.newest()
    seal_id = last.seal_id + 1 if last else 1
    signature = authority.sign_seal(sealed_bytes(seal_id, head.audit_id, head.hash, now))
    seal = Seal(seal_id, head.audit_id, head.hash, now, signature, authority.serial)
    uow.audit_seals.append(seal)
    return seal


def _page_after(audit_id: int, uow: UnitOfWork) -> list[ChainedEntry]:
    return uow.audit.after(audit_id, PAGE_COUNT)


async def _follow(database: Database, newest: Seal | None) -> tuple[Link, list[str]]:
    """From the last seal to the head: where that is, and what is wrong on the way."""
    problems: list[str] = []
    last = Link() if newest is None else Link(newest.audit_id, newest.hash)
    if newest is not None:
        sealed = await database.read(lambda uow: uow.audit.get(newest.audit_id))
        if sealed is None or sealed.hash != newest.hash:
            problems.append(f"entry {newest.audit_id} is not the one that seal {newest.seal_id} names")
            return await database.read(lambda uow: uow.audit.head()), problems
    while page := await database.read(functools.partial(_page_after, last.audit_id)):
        problems.extend(breaks(last, page))
        last = Link(page[-1].audit_id, page[-1].hash)
    return last, problems


def _broken(problems: list[str], now: datetime) -> FleetEvent:
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    message = f"the audit was changed by another hand: {problems[0]}{more}"
    return FleetEvent(
        now, Severity.ERROR, "audit_broken", message, action="stoker audit verify shows what; compare with a backup"
    )
