"""What ties the makers of history to its writers and to the settings. Part of `bootstrap`."""

from datetime import timedelta

from controlplane.services.record_history import HistorySinks
from controlplane.services.store_records import Kept
from controlplane.settings.model import HistorySettings
from controlplane.storage.row_writers import HistoryWriters


def history_sinks(rows: HistoryWriters) -> HistorySinks:
    return HistorySinks(rows.samples.add, rows.devices.add, rows.nodes.add, rows.bills.add, rows.summaries.add)


def kept(settings: HistorySettings) -> Kept:
    """How long what nodes deliver late is kept."""
    return Kept(
        samples=timedelta(hours=settings.samples_retention_hours),
        requests=timedelta(hours=settings.requests_retention_hours),
    )
