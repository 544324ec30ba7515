"""The changes of the store's tables, one after the other, as alembic runs them on start."""
