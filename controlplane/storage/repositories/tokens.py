"""Join tokens: one-time rights to enrol a node. Only hashes of the secrets are here."""

from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from controlplane.fleet.access import JoinToken
from controlplane.storage.repositories.statements import put_row
from controlplane.storage.tables import join_tokens


class JoinTokens:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, token: JoinToken) -> None:
        """Add the token, or replace the one of that id."""
        row = {column.name: getattr(token, column.name) for column in join_tokens.columns}
        put_row(self._connection, join_tokens, row)

    def get(self, token_id: str) -> JoinToken | None:
        row = self._connection.execute(select(join_tokens).where(join_tokens.c.token_id == token_id)).mappings().first()
        return None if row is None else JoinToken(**row)

    def mark_used(self, token_id: str, at: datetime, node: str) -> bool:
        """Atomic: True only for the one caller who got it; False when it is used, expired at `at`, or unknown."""
        free = update(join_tokens).where(
            join_tokens.c.token_id == token_id, join_tokens.c.used_at.is_(None), join_tokens.c.expires_at > at
        )
        return self._connection.execute(free.values(used_at=at, used_by_node=node)).rowcount == 1

    def purge_expired(self, before: datetime) -> int:
        """Forget the tokens, used or not, that expired before this time; how many there were."""
        return self._connection.execute(delete(join_tokens).where(join_tokens.c.expires_at < before)).rowcount
