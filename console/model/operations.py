"""What the control plane answers about its own work: the audit, its verdict, and its jobs, as frozen rows.

`console.link.operations_codec` makes them, commands read them. Pure. `None` means "not known", or for a moment "never".
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Who did what from where, and how it ended."""

    audit_id: int
    at: datetime | None
    actor: str
    action: str
    target: str
    detail: str
    outcome: str
    peer: str
    plan: tuple[str, ...]  # the steps as they were shown
    hash: str


@dataclass(frozen=True, slots=True)
class AuditAnswer:
    entries: tuple[AuditRow, ...]  # oldest first
    truncated: bool  # more matched than the limit let through


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    whole: bool  # nothing was changed, as far as can be proved
    entries_count: int
    seals_count: int
    head_id: int
    head_hash: str  # "" of an empty audit
    sealed_at: datetime | None  # the newest seal; None: there is none
    unsealed_count: int  # entries after it
    problems: tuple[str, ...]  # sentences


class JobOutcome(Enum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    NONE = "none"  # it never ended yet


@dataclass(frozen=True, slots=True)
class JobRow:
    name: str
    purpose: str
    interval_seconds: float
    last_started_at: datetime | None
    last_finished_at: datetime | None  # None also while it runs
    last_duration_seconds: float | None
    last_outcome: JobOutcome
    last_error: str
    last_succeeded_at: datetime | None
    failures_in_a_row: int
    next_at: datetime | None
    detail: str  # what the last run that succeeded did

    @property
    def running(self) -> bool:
        return (
            self.last_started_at is not None
            and self.last_finished_at is None
            and self.last_outcome is not JobOutcome.INTERRUPTED
        )
