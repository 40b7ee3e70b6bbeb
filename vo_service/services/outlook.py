"""The state of the archive and what is coming, for the operator (MISSION A1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

import psycopg

from vo_service.db.connect import Role, conninfo
from vo_service.db.outlook import Night, OutlookStore, Run, Summary, Transfer, Week
from vo_service.settings import Settings

__all__ = ["Outlook", "look_out", "transfers"]


@dataclass(frozen=True, slots=True)
class Outlook:
    """Collections, latest nights, coming weeks, the last run of the rules, what to be aware of."""

    collections: Sequence[Summary]
    nights: Sequence[Night]
    weeks: Sequence[Week]
    last_release: Run | None
    warnings: Sequence[str]


def look_out(settings: Settings, today: date, *, nights: int, weeks: int) -> Outlook:
    """What is here, and what is to be released in this and the *weeks* - 1 weeks after it.

    A week whose releases are together larger than ``release_week_bytes`` is warned of.
    """
    last = today - timedelta(today.weekday()) + timedelta(7 * weeks - 1)
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        store = OutlookStore(connection)
        coming = store.weeks(today, last)
        run = store.last_run()
        warnings = [*_large(coming, settings.release_week_bytes), *(run.problems if run else ())]
        return Outlook(store.summaries(), store.nights(nights), coming, run, warnings)


def _large(weeks: Sequence[Week], limit: int) -> Iterator[str]:
    soon = (part for part in weeks if not part.later)
    for week, parts in groupby(soon, key=lambda part: part.week):
        if week is not None and (size := sum(part.size for part in parts)) > limit:
            yield (
                f"week of {week}: {size / 1e12:.4g} TB are to be released, more than the "
                f"{limit / 1e12:.4g} TB of release_week_bytes"
            )


@contextmanager
def transfers(
    settings: Settings,
    *,
    collection: str | None = None,
    night: date | None = None,
    since: date | None = None,
    limit: int,
) -> Iterator[Iterator[Transfer]]:
    """The transfer table, the newest first."""
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        yield OutlookStore(connection).transfers(collection, night, since, limit)
