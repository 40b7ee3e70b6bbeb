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
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import text

from vo_service.db.catalog import write_catalog
from vo_service.db.connect import DATABASE, Role, admin_conninfo, conninfo, engine
from vo_service.db.shards import renew_nodes
from vo_service.errors import ConfigError
from vo_service.model.published import PUBLISHED
from vo_service.settings import Settings

__all__ = ["prepare", "require_newest", "schema_directory", "upgrade"]

#: A server that does not upgrade the database itself looks whether somebody has.
_TELL_VERSION = "GRANT SELECT ON archive.alembic_version TO vo_door"


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
    prepare(settings)
    config = Config()
    config.set_main_option("script_location", str(schema_directory()))
    config.attributes["partition_bounds"] = settings.partition_bounds
    owner = engine(settings, Role.OWNER)
    with owner.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('vo-service upgrade'))"))
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS archive"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        centre = connection.connection.driver_connection
        if isinstance(centre, psycopg.Connection):
            renew_nodes(centre)
        write_catalog(connection, PUBLISHED)
        connection.execute(text(_TELL_VERSION))
    owner.dispose()


def require_newest(settings: Settings) -> None:
    """Pass if the database is at the version of this program; changes nothing.

    Raises
    ------
    ConfigError
        If it is at another, or has none.
    """
    config = Config()
    config.set_main_option("script_location", str(schema_directory()))
    newest = ScriptDirectory.from_config(config).get_current_head()
    try:
        with psycopg.connect(conninfo(settings, Role.DOOR)) as connection:
            row = connection.execute("SELECT version_num FROM archive.alembic_version").fetchone()
    except psycopg.errors.ProgrammingError:  # no such table, or it says nothing to us yet
        row = None
    found = row[0] if row else "none"
    if found != newest:
        raise ConfigError(
            f"the schema of the database has version {found}, this program needs {newest}: "
            "run 'vo-service db upgrade' (upgrade_at_start is off)"
        )


def prepare(settings: Settings) -> None:
    """Create what only an administrator may: roles, database, extension, privileges.

    Raises
    ------
    ConfigError
        As `upgrade`.
    """
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
        _run(
            server,
            [*_role_statements(server), *_database_statements(server, settings.service_login)],
        )


def _role_statements(server: psycopg.Connection) -> list[sql.Composed]:
    rows = server.execute("SELECT rolname FROM pg_roles").fetchall()
    present = {name for (name,) in rows}
    return [
        sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role))
        for role in Role
        if role not in present
    ]


def _database_statements(server: psycopg.Connection, service_login: str) -> list[sql.Composed]:
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
    logins = [(server.info.user, role) for role in Role]
    if service_login:  # serves and works, but neither owns nor changes the schema
        logins += [(service_login, role) for role in Role if role is not Role.OWNER]
    wanted += [
        (
            sql.SQL(
                "SELECT 1 FROM pg_roles r, pg_roles l WHERE r.rolname = {} AND l.rolname = {} "
                "AND pg_has_role(l.oid, r.oid, 'MEMBER')"
            )
            .format(str(role), login)
            .as_string(server),
            sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(login)),
        )
        for login, role in logins
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
    except psycopg.errors.UndefinedObject as error:
        raise ConfigError(f"service_login: {error.diag.message_primary}") from error
    except psycopg.errors.InsufficientPrivilege as error:
        needed = "; ".join(statement.as_string(server) for statement in statements)
        raise ConfigError(
            "database_url: this login may not prepare the database "
            f"({error.diag.message_primary}); have an administrator run, in "
            f"{server.info.dbname}: {needed}"
        ) from error
