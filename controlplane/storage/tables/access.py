"""Who may do what: keys, join tokens, operators' certificates, and which control plane leads. Never a secret."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Integer, LargeBinary, Table, Text, false

from controlplane.fleet.access import Role
from controlplane.storage.column_types import EnumText, FreeText, UtcTimestamp
from controlplane.storage.tables.metadata import metadata, not_empty, one_of

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False, index=True),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("created_by", FreeText, nullable=False),
    Column("expires_at", UtcTimestamp),
    Column("revoked_at", UtcTimestamp),
    Column("note", FreeText, nullable=False),
    not_empty("key_id"),
    not_empty("tenant"),
)

join_tokens = Table(
    "join_tokens",
    metadata,
    Column("token_id", Text, primary_key=True),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("created_by", FreeText, nullable=False),
    Column("expires_at", UtcTimestamp, nullable=False, index=True),
    Column("node_name", Text, nullable=False),
    Column("replace", Boolean, nullable=False),
    Column("simulator", Boolean, nullable=False, server_default=false()),
    Column("used_at", UtcTimestamp),
    Column("used_by_node", Text, nullable=False),
    not_empty("token_id"),
)

operators = Table(
    "operators",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", EnumText(Role), nullable=False),
    Column("serial", Text, nullable=False),
    Column("not_after", UtcTimestamp, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("created_by", FreeText, nullable=False),
    Column("revoked_at", UtcTimestamp),
    not_empty("name"),
    not_empty("serial"),
    one_of("role", Role),
)

# One row: `epoch` grows at every change of leader and never goes back.
leadership = Table(
    "leadership",
    metadata,
    Column("only_row", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("holder", FreeText, nullable=False),
    Column("acquired_at", UtcTimestamp, nullable=False),
    CheckConstraint("only_row = 1", name="only_row"),
    CheckConstraint("epoch > 0", name="epoch_positive"),
)
