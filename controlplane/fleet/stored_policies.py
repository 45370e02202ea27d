"""Policies as data with versions, and schedules of actions: what operators decided about how to decide. Facts only.

A version is never changed, so that a decision of the past can be explained by the document that was in force then.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    name: str
    version: int  # from 1
    kind: str  # what it decides: "admission", "routing", "placement"
    document: Mapping[str, Any]
    created_at: datetime
    created_by: str
    comment: str = ""
    applied_at: datetime | None = None  # None: never in force
    withdrawn_at: datetime | None = None  # None: in force since applied_at


@dataclass(frozen=True, slots=True)
class Schedule:
    """An action to be done again and again."""

    schedule_id: str
    cron: str  # minute, hour, day, month, day of the week; UTC
    action: str
    target: str
    created_at: datetime
    created_by: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    enabled: bool = True
    note: str = ""
    ends_at: datetime | None = None
