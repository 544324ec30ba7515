"""What alembic runs for each migration: over the connection that :mod:`churn.store` has opened and locked."""

from alembic import context

from churn.store import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite has it as well, as we connect to it: a migration takes place whole or not at all
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
