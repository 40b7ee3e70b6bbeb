"""Downloads under way, so that those of files that are taken away can be stopped.

Whoever sends files begins a `Delivery` before asking whether they may be read, and sends them
within `Delivery.sending`. A withdrawal tells all servers (`db.publication.CHANNEL`); each
then asks which of the files under way are still what they were. The same is asked after a
lost connection, so that nothing is missed.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import Any
from weakref import WeakSet

import anyio
import psycopg

from vo_service.db.publication import CHANNEL, current_states

__all__ = ["Deliveries", "Delivery"]

_log = logging.getLogger(__name__)

_RETRY_S = 0.5
_AT_ONCE = 1000


class Delivery:
    """Files on their way to a client.

    Parameters
    ----------
    paths
        ``<collection>/<path>`` of each; the delivery is stopped when any of them is taken away.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = tuple(paths)
        #: The state in which the files were found readable; set it when it is known.
        self.state: str | None = None
        #: Whether it was stopped.
        self.taken = False
        self._scope: anyio.CancelScope | None = None

    @contextlib.contextmanager
    def sending(self, scope: anyio.CancelScope) -> Iterator[None]:
        """Cancel *scope* when the files are taken away, or at once if they were already."""
        self._scope = scope
        if self.taken:
            scope.cancel()
        try:
            yield
        finally:
            self._scope = None

    def stop(self) -> None:
        """Send no more."""
        self.taken = True
        if self._scope is not None:
            self._scope.cancel()

    def is_over(self, now: str | None) -> bool:
        """Whether a file whose state is *now* (None: there is no such product) may not go on."""
        if now == "arrived":  # its owner may have it, but it may have been everybody's before
            return self.state == "public"
        return now != "public"


class Deliveries:
    """All deliveries of a process.

    Parameters
    ----------
    conninfo
        libpq connection string of the role ``vo_door``.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._under_way: WeakSet[Delivery] = WeakSet()

    def begin(self, *paths: str) -> Delivery:
        """A delivery that is watched for as long as somebody holds it."""
        delivery = Delivery(paths)
        self._under_way.add(delivery)
        return delivery

    async def run(self) -> None:
        """Watch until cancelled."""
        told = ""
        while True:
            try:
                await self._watch()
            except psycopg.Error as error:
                if str(error) != told:  # once, not twice a second while the database is away
                    told = str(error)
                    _log.warning("no news of withdrawals now: %s", told.strip())
            await anyio.sleep(_RETRY_S)

    async def _watch(self) -> None:
        async with await psycopg.AsyncConnection.connect(
            self._conninfo, autocommit=True
        ) as connection:
            await connection.execute(f"LISTEN {CHANNEL}".encode())
            while True:
                await self._stop_taken(connection)
                async for _ in connection.notifies(stop_after=1):
                    pass

    async def _stop_taken(self, connection: psycopg.AsyncConnection[Any]) -> None:
        watched = [
            (place, delivery)
            for delivery in self._under_way
            for place in map(_place, delivery.paths)
            if place is not None
        ]
        for start in range(0, len(watched), _AT_ONCE):
            some = watched[start : start + _AT_ONCE]
            states = await current_states(connection, [place for place, _ in some])
            for place, delivery in some:
                if delivery.is_over(states.get(place)):
                    delivery.stop()


def _place(path: str) -> tuple[str, str] | None:
    """Collection and path below it; None for a text that no product can have."""
    collection, _, rest = path.partition("/")
    try:
        path.encode()
    except UnicodeEncodeError:
        return None
    return None if "\0" in path else (collection, rest)
