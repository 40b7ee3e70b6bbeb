"""A first load of many files: indexes of observations away while it lasts, and built after it.

Searches go on meanwhile and read whole partitions. However the load ends, the indexes are built;
where even that was broken off (a machine that lost its power), `build_missing` does it: the next
ingest calls it, or ``vo-service db indexes``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import psycopg

from vo_service.db.bulk import (
    build_indexes,
    count_missing,
    count_rows,
    drop_indexes,
    only_load,
    renew_statistics,
)
from vo_service.db.connect import Role, conninfo
from vo_service.errors import ConfigError
from vo_service.settings import Settings

__all__ = ["build_missing", "bulk_load"]

Progress = Callable[[int, int], None]

_TABLE = "archive.observation"
#: A search that reads the table keeps its indexes from being dropped; nobody waits for longer.
_LOCK_TIMEOUT = "10s"


@contextlib.contextmanager
def bulk_load(settings: Settings, coming: int, built: Progress) -> Iterator[None]:
    """Take the indexes of observations away for the block, and build them at its end.

    Parameters
    ----------
    settings
        The archive.
    coming
        Rows that are expected.
    built
        Called while indexes are built with the number of those that are, and of all.

    Raises
    ------
    ConfigError
        If so much is there that new indexes cost more than the old ones save.
    TransientError
        If another bulk load runs, or a search keeps the table for long; nothing is changed then.
    """
    owner = conninfo(settings, Role.OWNER, lock_timeout=_LOCK_TIMEOUT)
    with psycopg.connect(owner, autocommit=True) as connection, only_load(connection):
        there = count_rows(connection, _TABLE)
        if there > coming:
            raise ConfigError(
                f"--bulk is for a first load: {there} rows are there and some {coming} come, so "
                "building all indexes again would take longer than keeping them; leave it out"
            )
        with connection.transaction():
            drop_indexes(connection, _TABLE)
        try:
            yield
        finally:
            _build(settings, built)


def build_missing(settings: Settings, built: Progress = lambda built, total: None) -> int:
    """Build the indexes that a bulk load which was broken off left away; how many there were.

    Nothing is done while a bulk load runs, which does it itself.
    """
    with psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as connection:
        missing = count_missing(connection)
        if not missing:
            return 0
        with only_load(connection):
            _build(settings, built)
    return missing


def _build(settings: Settings, built: Progress) -> None:
    owner = conninfo(settings, Role.OWNER)
    build_indexes(owner, at_once=os.cpu_count() or 1, done=built)
    with psycopg.connect(owner, autocommit=True) as connection:
        renew_statistics(connection, _TABLE)
