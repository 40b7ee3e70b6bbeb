"""Who connects to PostgreSQL, and how: one connection string for each role.

The private cluster gives each role its own login over the Unix socket; with a `database_url`
the login is the operator's and the role is taken on at connection (``-c role=...``).
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import Engine, NullPool, create_engine

from vo_service.db.cluster import Cluster
from vo_service.db.roles import ADMIN, Role
from vo_service.settings import Settings
from vo_service.telemetry.meters import PoolUse

__all__ = [
    "DATABASE",
    "Role",
    "admin_conninfo",
    "conninfo",
    "engine",
    "engine_at",
    "private_cluster",
    "use_of",
]

#: Name of the database in the private cluster.
DATABASE = "vo"


def private_cluster(settings: Settings) -> Cluster | None:
    """The cluster in the data directory; None where the operator gave a `database_url`."""
    if settings.database_url:
        return None
    return Cluster(settings.home, settings.cluster_user, settings.wal_archive)


def conninfo(settings: Settings, role: Role, **parameters: str | float) -> str:
    """A libpq connection string for *role*.

    *parameters* are run-time settings of PostgreSQL (``statement_timeout="5s"``) that hold
    from the first statement on. Every session reads times as UTC and dates as ISO.
    """
    # Compiling a plan of 37 partitions takes seconds, and no timeout stops it.
    given = {"timezone": "UTC", "datestyle": "ISO", "jit": "off", **parameters}
    if role in (Role.READER, Role.MEMBER):
        given["default_transaction_read_only"] = "on"
    if settings.database_url is None:
        return _local(settings, DATABASE, role, given)
    return make_conninfo(
        settings.database_url, options=_options({"role": role, **given}),
        application_name="vo-service",
    )  # fmt: skip


def admin_conninfo(settings: Settings, database: str | None = None) -> str:
    """A connection string for set-up: may create roles, databases and extensions."""
    if settings.database_url is None:
        return _local(settings, database or "postgres", ADMIN, {})
    return settings.database_url


def engine(settings: Settings, role: Role) -> Engine:
    """A SQLAlchemy engine without a pool, for commands and migrations."""
    return engine_at(conninfo(settings, role))


def engine_at(dsn: str) -> Engine:
    """A SQLAlchemy engine for a libpq connection string."""
    return create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool
    )


def use_of(pool: AsyncConnectionPool[Any]) -> PoolUse:
    """How many connections of a pool work now, and who waits for one."""
    found = pool.get_stats()
    used = found.get("pool_size", 0) - found.get("pool_available", 0)
    return PoolUse(pool.max_size, used, found.get("requests_waiting", 0))


def _local(settings: Settings, database: str, user: str, parameters: dict[str, str | float]) -> str:
    return make_conninfo(
        host=str(Cluster(settings.home).socket), dbname=database, user=user,
        options=_options(parameters), application_name="vo-service",
    )  # fmt: skip


def _options(parameters: dict[str, str | float]) -> str:
    """Command-line options for the server, with blanks and backslashes escaped."""
    return " ".join(
        f"-c {key}={str(value).replace(chr(92), chr(92) * 2).replace(' ', chr(92) + ' ')}"
        for key, value in parameters.items()
    )
