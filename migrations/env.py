"""Alembic's entry point. `controlplane.storage.migrate` passes the connection, whose transaction is its own."""

from alembic import context

from controlplane.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # true on SQLite as well: our connections begin their transactions explicitly
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
