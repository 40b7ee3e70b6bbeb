"""The catalogue as every request sees it: read from the database, kept for a second.

A table that is published, or a footprint wider than all before, is known everywhere at the
latest one second after its transaction committed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio
from anyio import to_thread
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from vo_service.db.catalog import read_catalog
from vo_service.db.faults import database_error
from vo_service.model.table import Catalog

__all__ = ["CatalogCache"]

_KEPT_S = 1.0


class CatalogCache:
    """Reads the catalogue when it is older than a second; equal content is the same object."""

    def __init__(
        self,
        engine: Engine,
        limit_s: float,
        read: Callable[[Connection], Catalog] = read_catalog,
    ) -> None:
        self._engine = engine
        self._limit_s = limit_s
        self._read_now = read
        self._lock = anyio.Lock()
        self._catalog: Catalog | None = None
        self._read_at = 0.0

    async def get(self) -> Catalog:
        """The catalogue.

        Raises
        ------
        TransientError
            If the database does not answer.
        """
        if self._catalog is not None and time.monotonic() - self._read_at < _KEPT_S:
            return self._catalog
        async with self._lock:
            if self._catalog is None or time.monotonic() - self._read_at >= _KEPT_S:
                started = time.monotonic()
                fresh = await to_thread.run_sync(self._read)
                if fresh != self._catalog:
                    self._catalog = fresh
                self._read_at = started
            return self._catalog

    def _read(self) -> Catalog:
        try:
            with self._engine.connect() as connection:
                return self._read_now(connection)
        except DBAPIError as error:
            state = getattr(error.orig, "sqlstate", None) or "08006"
            raise database_error(state, str(error.orig), self._limit_s) from error
