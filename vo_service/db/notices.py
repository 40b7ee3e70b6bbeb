"""News of jobs: one LISTEN session for a process, whoever in it waits.

A lost session is made again; whoever waits is then told to look for himself, since news may
have been missed.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

import anyio
import psycopg

__all__ = ["Listener", "Notices"]

_log = logging.getLogger(__name__)

_RETRY_S = 0.5

#: Called with the number of a job and its new phase (or DELETED); with None, None: look yourself.
Listener = Callable[[int | None, str | None], None]


class Notices:
    """Changes of phase, as the database tells them.

    Parameters
    ----------
    conninfo
        libpq connection string of any role.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._listeners: set[Listener] = set()

    @contextlib.contextmanager
    def told(self, listener: Listener) -> Iterator[None]:
        """Call *listener*, which must not block, at each change while the block runs."""
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)

    async def run(self) -> None:
        """Listen until cancelled."""
        told = ""
        while True:
            try:
                await self._listen()
            except psycopg.Error as error:
                if str(error) != told:  # once, not twice a second while the database is away
                    told = str(error)
                    _log.warning("no news of jobs now: %s", told.strip())
            await anyio.sleep(_RETRY_S)

    async def _listen(self) -> None:
        async with await psycopg.AsyncConnection.connect(
            self._conninfo, autocommit=True
        ) as connection:
            await connection.execute("LISTEN uws_job")
            self._tell(None, None)
            async for notice in connection.notifies():
                number, _, phase = notice.payload.partition(" ")
                self._tell(int(number), phase)

    def _tell(self, number: int | None, phase: str | None) -> None:
        for listener in tuple(self._listeners):
            listener(number, phase)
