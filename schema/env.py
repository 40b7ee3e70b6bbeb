"""Alembic's environment: runs inside a connection that `vo_service.db.schema` gives it."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table_schema="archive")
with context.begin_transaction():
    context.run_migrations()
