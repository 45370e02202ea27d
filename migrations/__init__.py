"""The schema's history, by Alembic. Run by `controlplane.storage.migrate`, never changed once released."""
