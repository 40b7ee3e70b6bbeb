"""Which shards answer: each is asked every second, the way that a query would go.

The question goes through the centre's PostgreSQL to the node, so that network, login and rights
are those of queries. A node that does not answer at all (stopped, or behind a dead line) leaves
the question open: it is down from then until the answer comes. Threads ask, since such a question
cannot be taken back; there is one for each shard and process.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import psycopg
from anyio import to_thread

from vo_service.model.shard import Part
from vo_service.telemetry.meters import watch_gauge

__all__ = ["ShardWatch"]

_log = logging.getLogger(__name__)

_EVERY_S = 1.0
_SURVEY_S = 5.0
_CONNECT_S = 5


@dataclass(slots=True)
class _Pulse:
    """What is known of a shard: when it was asked, and how it answered the last time."""

    asked: float | None = None
    failed: bool = False
    stop: threading.Event = field(default_factory=threading.Event)


class ShardWatch:
    """Knows where partitions are, and which shards are down.

    Parameters
    ----------
    conninfo
        Of the door.
    answer_s
        Seconds in which a shard must answer.
    """

    def __init__(self, conninfo: str, answer_s: float) -> None:
        self._conninfo = conninfo
        self._answer_s = answer_s
        self._pulses: dict[str, _Pulse] = {}
        self._parts: tuple[Part, ...] = ()
        self._stop = threading.Event()

    @property
    def parts(self) -> tuple[Part, ...]:
        """Partitions that are on shards, as of some seconds ago."""
        return self._parts

    def missing(self) -> list[Part]:
        """The partitions of the shards that are down."""
        down = self.down()
        return [part for part in self._parts if part.shard in down]

    def down(self) -> frozenset[str]:
        """Names of the shards that do not answer now."""
        late = time.monotonic() - self._answer_s
        return frozenset(
            name
            for name, pulse in list(self._pulses.items())
            if pulse.failed or (pulse.asked is not None and pulse.asked < late)
        )

    def show(self) -> None:
        """Let meters tell of each shard."""
        watch_gauge("vo_shard_up", "Whether a shard answers", "shard", self._up)

    def _up(self) -> dict[str, float]:
        down = self.down()
        return {name: float(name not in down) for name in sorted(self._pulses)}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch for as long as this is open."""
        await to_thread.run_sync(self._survey_once)
        threading.Thread(target=self._survey, name="shards", daemon=True).start()
        try:
            yield
        finally:
            self._stop.set()
            for pulse in list(self._pulses.values()):
                pulse.stop.set()

    def _survey(self) -> None:
        while not self._stop.wait(_SURVEY_S):
            self._survey_once()

    def _survey_once(self) -> None:
        """Look which shards there are; what cannot be read now stays as it was."""
        try:
            with psycopg.connect(self._conninfo, connect_timeout=_CONNECT_S) as connection:
                rows = connection.execute(
                    "SELECT low, high, partition, shard, collection, within "
                    "FROM archive.shard_part WHERE shard IS NOT NULL"
                ).fetchall()
        except psycopg.Error as error:
            _log.warning("shards cannot be looked up now: %s", error)
            return
        self._parts = tuple(sorted(Part(*row) for row in rows))
        names = {part.shard for part in self._parts if part.shard is not None}
        for name in names - set(self._pulses):
            pulse = self._pulses[name] = _Pulse()
            threading.Thread(
                target=self._feel, args=(name, pulse), name=f"shard {name}", daemon=True
            ).start()
        for name in set(self._pulses) - names:
            self._pulses.pop(name).stop.set()

    def _feel(self, name: str, pulse: _Pulse) -> None:
        """Ask a shard again and again."""
        connection: psycopg.Connection[tuple[int]] | None = None
        while not pulse.stop.is_set():
            if connection is None or connection.closed:
                connection = self._connect()
            if connection is not None:
                pulse.asked = time.monotonic()
                failed = self._ask(connection, name)
                pulse.asked = None
                if failed is not None and failed != pulse.failed:
                    _log.log(
                        logging.ERROR if failed else logging.WARNING,
                        "shard %s %s", name, "is down" if failed else "answers again",
                    )  # fmt: skip
                pulse.failed = pulse.failed if failed is None else failed
            pulse.stop.wait(_EVERY_S)
        if connection is not None:
            connection.close()

    def _connect(self) -> psycopg.Connection[tuple[int]] | None:
        """A session at the centre; None while there is none, which says nothing of the shard."""
        try:
            return psycopg.connect(
                self._conninfo, autocommit=True, connect_timeout=_CONNECT_S
            )  # fmt: skip
        except psycopg.Error:
            return None

    @staticmethod
    def _ask(connection: psycopg.Connection[tuple[int]], name: str) -> bool | None:
        """Whether the shard failed to answer; None where it was the centre that did."""
        try:
            connection.execute(f'SELECT answer FROM archive."pulse_{name}"'.encode())  # noqa: S608 - its name is checked
        except psycopg.Error:
            return None if connection.closed else True
        return False
