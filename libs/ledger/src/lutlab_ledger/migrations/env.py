"""Alembic's environment: runs on the connection that `lutlab_ledger.migrate` passes."""

from alembic import context

from lutlab_ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
)
context.run_migrations()
