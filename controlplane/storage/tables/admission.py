"""What became of the requests that clients sent to the gateway, counted by minute. Written by `services.count_admission`.

A daemon counts for itself (`boot_id`) and replaces its own rows, so that writing twice does no harm; sums go over all daemons.
offered = admitted + refused + left + waiting, always; waiting is what has not ended yet and is in no row.
"""

from sqlalchemy import BigInteger, Column, Float, Table, Text

from controlplane.storage.column_types import FreeText, UtcTimestamp
from controlplane.storage.tables.metadata import metadata, not_empty, not_negative

ADMISSION_COUNTS = ("offered_count", "admitted_count", "refused_count", "left_count", "completed_count", "failed_count")

admission_counts = Table(
    "admission_counts",
    metadata,
    Column("minute_at", UtcTimestamp, primary_key=True),  # in which the request came
    Column("boot_id", Text, primary_key=True),
    Column("tenant", FreeText, primary_key=True),  # "": the key was not accepted
    Column("model", FreeText, primary_key=True),  # as asked for, if it is one of ours; else "other"
    Column("reason", Text, primary_key=True),  # why it was refused; "": it was not
    *(Column(name, BigInteger, nullable=False) for name in ADMISSION_COUNTS),
    Column("queue_seconds_sum", Float(53)),  # at the gateway, of those admitted
    Column("first_byte_seconds_sum", Float(53)),
    Column("first_byte_count", BigInteger),
    not_empty("boot_id"),
    *(not_negative(name) for name in ADMISSION_COUNTS),
)
