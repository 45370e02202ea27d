"""What the control plane answers to queries and actions, as frozen rows.

`console.link.answers_codec` makes them, commands and dialogs read them. Pure. `None` means "not known", or for a moment
"never".
"""

from dataclasses import dataclass, field
from datetime import datetime

from console.model.fleet_view import EventRow, FleetView


@dataclass(frozen=True, slots=True)
class ActionAnswer:
    """What was done, or with a dry run what would be."""

    steps: tuple[str, ...]  # sentences, in order
    placement_ids: tuple[str, ...]  # that were touched
    changed: bool  # False: it was so already


@dataclass(frozen=True, slots=True)
class EventsAnswer:
    events: tuple[EventRow, ...]  # oldest first
    truncated: bool  # more matched than the limit let through


@dataclass(frozen=True, slots=True)
class EngineHistoryRow:
    """One engine in one bucket of time."""

    bucket_at: datetime
    engine_id: str
    node: str
    provider: str
    region: str
    model: str
    samples_count: int
    kv_used_ratio_max: float | None
    kv_used_ratio_mean: float | None
    running_count_mean: float | None
    waiting_count_max: float | None
    prompt_tokens: int | None
    generation_tokens: int | None
    batch_tokens_per_step: float | None
    intensity_flops_per_byte: float | None
    prefix_hit_ratio: float | None
    preemptions_count: int | None
    ttft_seconds_mean: float | None


@dataclass(frozen=True, slots=True)
class EngineHistory:
    rows: tuple[EngineHistoryRow, ...]
    truncated: bool
    bucket_seconds: float


@dataclass(frozen=True, slots=True)
class SqlColumn:
    name: str
    kind: str  # text, whole, real, time, truth; "" when no value of it is known


SqlCell = str | int | float | bool | datetime | None  # None: NULL, which is unknown


@dataclass(frozen=True, slots=True)
class SqlAnswer:
    columns: tuple[SqlColumn, ...]
    rows: tuple[tuple[SqlCell, ...], ...]
    truncated: bool  # there are more rows
    seconds: float  # that the database took
    dialect: str  # sqlite, postgresql


@dataclass(frozen=True, slots=True)
class PastFleet:
    """The fleet as it was; `view.now` is the end of the minute or hour that is shown."""

    view: FleetView
    resolution_seconds: float
    unknown: tuple[str, ...]  # sentences: what cannot be known of it


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """The right to use devices until a date."""

    lease_id: str
    provider: str
    region: str  # "": any
    device_kind: str
    devices_count: int
    nodes: tuple[str, ...]  # none: any of its provider and region
    starts_at: datetime | None
    ends_at: datetime | None
    price_per_device_hour: float | None
    currency: str
    note: str
    created_at: datetime | None
    created_by: str


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key as it is listed: never its secret."""

    key_id: str
    tenant: str
    note: str
    created_at: datetime | None
    expires_at: datetime | None  # None: never
    revoked_at: datetime | None  # None: not revoked
    created_by: str


@dataclass(frozen=True, slots=True)
class NewKey:
    key: KeyRow
    secret: str = field(repr=False)  # shown once; of the key itself the control plane keeps nothing, only its id


@dataclass(frozen=True, slots=True)
class JoinToken:
    token: str = field(repr=False)  # works once
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class OperatorCertificate:
    certificate_pem: bytes
    ca_pem: bytes
    not_after: datetime | None
