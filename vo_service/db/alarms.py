"""When alarms of each kind were last sent: one limit for all processes of an archive.

All statements run as the writer, each a transaction of its own; times are those of PostgreSQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

__all__ = ["Allowed", "allow_alarm", "put_off_alarm"]


@dataclass(frozen=True, slots=True)
class Allowed:
    """Leave to send: how many were kept back since the one before, which was sent *since*."""

    suppressed: int
    since: datetime | None


def allow_alarm(
    connection: psycopg.Connection[Any], kind: str, interval_s: float
) -> Allowed | None:
    """Leave to send an alarm now, at most once in *interval_s* for a kind; else it is counted."""
    with connection.transaction(), connection.cursor(row_factory=class_row(Allowed)) as cursor:
        # The row is there before it is locked, so that of two first alarms one waits.
        cursor.execute(
            "INSERT INTO archive.alarm (kind, sent) VALUES (%s, '-infinity') "
            "ON CONFLICT DO NOTHING",
            (kind,),
        )
        cursor.execute(
            "SELECT suppressed, nullif(sent, '-infinity') AS since FROM archive.alarm "
            "WHERE kind = %s AND sent <= clock_timestamp() - make_interval(secs => %s) FOR UPDATE",
            (kind, interval_s),
        )
        allowed = cursor.fetchone()
        cursor.execute(
            "UPDATE archive.alarm SET suppressed = suppressed + 1 WHERE kind = %s"
            if allowed is None
            else "UPDATE archive.alarm SET suppressed = 0, sent = clock_timestamp() "
            "WHERE kind = %s",
            (kind,),
        )
    return allowed


def put_off_alarm(
    connection: psycopg.Connection[Any], kind: str, suppressed: int, age_s: float
) -> None:
    """Take back the leave for an alarm that could not be sent: as if one went *age_s* ago."""
    with connection.transaction():
        connection.execute(
            "UPDATE archive.alarm SET suppressed = suppressed + %s, "
            "sent = clock_timestamp() - make_interval(secs => %s) WHERE kind = %s",
            (suppressed, age_s, kind),
        )
