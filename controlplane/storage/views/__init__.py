"""Views for people who ask in SQL: names, order and meaning of their columns are a promise, see docs/history.md.

`storage.asking` lets only these be asked; tests compare them with what `migrations` created (a migration keeps its own frozen
copy) and with the documentation. They read tables, never each other, so their order does not matter.
"""

from sqlalchemy import Connection

from controlplane.storage.views.devices import (
    DEVICE_HOURS,
    DEVICE_MINUTES,
    GPU_HOURS_BY_PROVIDER,
    NODE_HOURS,
    NODE_MINUTES,
)
from controlplane.storage.views.engines import ENGINE_HOURS, ENGINE_MINUTES, KV_PRESSURE_MINUTES
from controlplane.storage.views.events import AUDIT_TRAIL, CAPACITY_EVENTS, EVENTS, LEASE_CALENDAR
from controlplane.storage.views.intervals import ENGINE_INTERVALS
from controlplane.storage.views.listing import listing
from controlplane.storage.views.present import FLEET_NOW
from controlplane.storage.views.requests import (
    ADMISSION_MINUTES,
    LATENCY_HOURS,
    LATENCY_MINUTES,
    RECOMPUTE_BILL_HOURS,
    REFUSAL_MINUTES,
    REQUEST_HOURS,
    REQUEST_MINUTES,
    REQUESTS,
)
from controlplane.storage.views.view import View, ViewColumn, for_dialect

__all__ = ["READER_ROLE", "VIEWS", "View", "ViewColumn", "create_all"]

READER_ROLE = "stoker_reader"  # on PostgreSQL: may read the views and nothing else

_ASKED = (
    FLEET_NOW,
    ENGINE_MINUTES,
    ENGINE_HOURS,
    ENGINE_INTERVALS,
    KV_PRESSURE_MINUTES,
    DEVICE_MINUTES,
    DEVICE_HOURS,
    NODE_MINUTES,
    NODE_HOURS,
    GPU_HOURS_BY_PROVIDER,
    REQUESTS,
    REQUEST_MINUTES,
    REQUEST_HOURS,
    LATENCY_MINUTES,
    LATENCY_HOURS,
    RECOMPUTE_BILL_HOURS,
    ADMISSION_MINUTES,
    REFUSAL_MINUTES,
    CAPACITY_EVENTS,
    EVENTS,
    LEASE_CALENDAR,
    AUDIT_TRAIL,
)
VIEWS = (*_ASKED, listing(_ASKED))


def create_all(connection: Connection) -> None:
    """Create every view, as a fresh database of this release has them."""
    dialect = connection.dialect.name
    for view in VIEWS:
        text = f"CREATE VIEW {view.name} AS {for_dialect(view.select(), dialect)}"
        # The driver reads a % as the beginning of a parameter on PostgreSQL only.
        connection.exec_driver_sql(text.replace("%", "%%") if dialect == "postgresql" else text)
