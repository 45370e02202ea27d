"""Versions of policies, of which at most one of a name is in force; and schedules."""

from dataclasses import asdict, replace
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select, update

from controlplane.errors import NotFoundError
from controlplane.fleet.stored_policies import PolicyVersion, Schedule
from controlplane.storage.repositories.statements import put_row
from controlplane.storage.tables import policies, schedules


class Policies:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, policy: PolicyVersion) -> PolicyVersion:
        """Keep a new version; its number is the next of that name, whatever it says."""
        newest = select(func.coalesce(func.max(policies.c.version), 0)).where(policies.c.name == policy.name)
        kept = replace(
            policy, version=self._connection.execute(newest).scalar_one() + 1, applied_at=None, withdrawn_at=None
        )
        self._connection.execute(insert(policies), {**asdict(kept), "document": dict(kept.document)})
        return kept

    def apply(self, name: str, version: int, at: datetime) -> None:
        """Put this version into force instead of the one that is. Raises NotFoundError."""
        named = policies.c.name == name
        in_force = named & policies.c.applied_at.is_not(None) & policies.c.withdrawn_at.is_(None)
        self._connection.execute(update(policies).where(in_force).values(withdrawn_at=at))
        chosen = update(policies).where(named, policies.c.version == version)
        if self._connection.execute(chosen.values(applied_at=at, withdrawn_at=None)).rowcount == 0:
            raise NotFoundError(f"policy {name} has no version {version}")

    def in_force(self, kind: str) -> list[PolicyVersion]:
        """By name."""
        chosen = (policies.c.kind == kind, policies.c.applied_at.is_not(None), policies.c.withdrawn_at.is_(None))
        found = select(policies).where(*chosen).order_by(policies.c.name)
        return [PolicyVersion(**row) for row in self._connection.execute(found).mappings()]

    def versions(self, name: str) -> list[PolicyVersion]:
        """The newest first."""
        found = select(policies).where(policies.c.name == name).order_by(policies.c.version.desc())
        return [PolicyVersion(**row) for row in self._connection.execute(found).mappings()]


class Schedules:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, schedule: Schedule) -> None:
        """Add it, or replace the one of that id."""
        put_row(self._connection, schedules, {**asdict(schedule), "arguments": dict(schedule.arguments)})

    def remove(self, schedule_id: str) -> bool:
        """True when it was there."""
        gone = delete(schedules).where(schedules.c.schedule_id == schedule_id)
        return self._connection.execute(gone).rowcount > 0

    def all(self) -> list[Schedule]:
        """By id."""
        found = select(schedules).order_by(schedules.c.schedule_id)
        return [Schedule(**row) for row in self._connection.execute(found).mappings()]
