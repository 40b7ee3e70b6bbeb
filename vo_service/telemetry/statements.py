"""Queries from outside, measured: how long the database took, how many rows, how it ended.

`Measured` goes with a statement; when it ends, meters are set and whoever listens is told (the
slow-query table does). A statement that a slow client reads slowly is not slow: only the time
that is spent waiting for the database counts.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from vo_service.telemetry.context import current_id, current_query
from vo_service.telemetry.meters import ROWS, STATEMENT_SECONDS

__all__ = ["Measured", "listening", "marked"]

_listeners: list[Callable[[Measured], None]] = []


@dataclass(slots=True)
class Measured:
    """A statement: its SQL, the query it was made of, seconds waited, rows read, how it ended."""

    sql: str
    query: str | None = field(default_factory=current_query)
    request_id: str | None = field(default_factory=current_id)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: float = 0.0
    rows: int = 0
    outcome: str = "left"
    _ended: bool = False

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """The block waits for the database; an error in it is how the statement ended."""
        start = time.perf_counter()
        try:
            yield
        except Exception:
            self.outcome = "failed"
            raise
        finally:
            self.seconds += time.perf_counter() - start

    def end(self) -> None:
        """It is over; called again, nothing happens."""
        if self._ended:
            return
        self._ended = True
        ROWS.inc(self.rows)
        STATEMENT_SECONDS.observe(self.seconds)
        for told in tuple(_listeners):
            told(self)


@contextlib.contextmanager
def listening(told: Callable[[Measured], None]) -> Iterator[None]:
    """Call *told* with each statement that ends while the block lasts; it must not wait."""
    _listeners.append(told)
    try:
        yield
    finally:
        _listeners.remove(told)


def marked(sql: str) -> str:
    """*sql* with the id of the request or job in front: pg_stat_activity shows it."""
    name = current_id()
    return f"/* {name} */ {sql}" if name else sql
