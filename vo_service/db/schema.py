"""Make and upgrade the database: roles, extension, Alembic versions, TAP_SCHEMA.

`upgrade` brings any database to the newest version, from nothing or from any earlier one,
and may be run at any time; it is the only code that connects as administrator or owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql
from sqlalchemy import text

from vo_service.db.catalog import write_catalog
from vo_service.db.connect import DATABASE, Role, admin_conninfo, engine
from vo_service.errors import ConfigError
from vo_service.model.published import PUBLISHED
from vo_service.settings import Settings

__all__ = ["schema_directory", "upgrade"]


def schema_directory() -> Path:
    """Where the Alembic environment lies: in the wheel, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "_schema"
    return inside if inside.is_dir() else package.parent / "schema"


def upgrade(settings: Settings) -> None:
    """Bring the database to the newest version; nothing changes if it is there.

    Raises
    ------
    ConfigError
        If roles or the extension are missing and the login may not create them; the
        message holds the statements that an administrator must run.
    """
    _prepare(settings)
    config = Config()
    config.set_main_option("script_location", str(schema_directory()))
    config.attributes["partition_bounds"] = settings.partition_bounds
    owner = engine(settings, Role.OWNER)
    with owner.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('vo-service upgrade'))"))
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS archive"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        write_catalog(connection, PUBLISHED)
    owner.dispose()


def _prepare(settings: Settings) -> None:
    """Create what only an administrator may: roles, database, extension, privileges."""
    if settings.database_url is None:
        with psycopg.connect(admin_conninfo(settings), autocommit=True) as server:
            _run(server, _role_statements(server))
            names = server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
            if names.fetchone() is None:
                server.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(
                        sql.Identifier(DATABASE), sql.Identifier(Role.OWNER)
                    )
                )
    with psycopg.connect(admin_conninfo(settings, DATABASE), autocommit=True) as server:
        _run(server, [*_role_statements(server), *_database_statements(server)])


def _role_statements(server: psycopg.Connection) -> list[sql.Composed]:
    rows = server.execute("SELECT rolname FROM pg_roles").fetchall()
    present = {name for (name,) in rows}
    return [
        sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role))
        for role in Role
        if role not in present
    ]


def _database_statements(server: psycopg.Connection) -> list[sql.Composed]:
    """What the database still lacks; asked for piece by piece, for a login that may do little."""
    name = sql.Identifier(server.info.dbname)
    owner = sql.Identifier(Role.OWNER)
    wanted = [
        (
            "SELECT 1 FROM pg_extension WHERE extname = 'pg_sphere'",
            sql.SQL("CREATE EXTENSION pg_sphere").format(),
        ),
        (
            "SELECT 1 FROM pg_roles WHERE rolname = 'vo_owner' "
            "AND has_database_privilege(oid, current_database(), 'CREATE')",
            sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(name, owner),
        ),
        (
            "SELECT 1 WHERE NOT has_database_privilege('public', current_database(), 'TEMP')",
            sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(name),
        ),
        (
            "SELECT 1 WHERE NOT has_schema_privilege('public', 'public', 'CREATE')",
            sql.SQL("REVOKE CREATE ON SCHEMA public FROM PUBLIC").format(),
        ),
    ]
    login = sql.Identifier(server.info.user)
    wanted += [
        (
            f"SELECT 1 FROM pg_roles WHERE rolname = '{role}' "  # noqa: S608 - our own names
            "AND pg_has_role(current_user, oid, 'MEMBER')",
            sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), login),
        )
        for role in Role
    ]
    return [
        statement
        for question, statement in wanted
        if server.execute(question.encode()).fetchone() is None
    ]


def _run(server: psycopg.Connection, statements: Sequence[sql.Composed]) -> None:
    try:
        for statement in statements:
            server.execute(statement)
    except psycopg.errors.InvalidFunctionDefinition as error:
        raise ConfigError(
            f"pgSphere and this PostgreSQL do not fit: {error.diag.message_primary}; see "
            "docs/operating.md, 'pgSphere on Debian 12'"
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        needed = "; ".join(statement.as_string(server) for statement in statements)
        raise ConfigError(
            "database_url: this login may not prepare the database "
            f"({error.diag.message_primary}); have an administrator run, in "
            f"{server.info.dbname}: {needed}"
        ) from error
