"""Volatile collections: after their lifetime links and files go, rows stay and say so.

A product expires so many days after its arrival (`lifetime_days` of the collection file, which
is read again; where that is wrong, nothing of the collection expires). Where the collection says
``expired_files: delete``, the file itself is deleted once the change is committed; a run that
dies in between leaves that to the next. Source: MISSION A6.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import anyio
import psycopg
from anyio import to_thread

from vo_service.archive.removal import remove_file
from vo_service.db.connect import Role, conninfo
from vo_service.db.publication import Change
from vo_service.db.selection import Expired, Part, SelectionStore
from vo_service.errors import VOError
from vo_service.services.alarm import AlarmKind, alarm_of_problems
from vo_service.services.daily import set_when_cancelled
from vo_service.services.policies import refresh_policies
from vo_service.services.publication import Changed, change_states
from vo_service.settings import Settings

__all__ = ["expire", "outlived", "run_expiry"]

_log = logging.getLogger(__name__)

_BATCH = 1000

_LOOK_S = 600.0


def outlived(settings: Settings, now: datetime) -> list[Part]:
    """What `expire` would take away at *now*."""
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        return SelectionStore(connection).over(refresh_policies(settings).known, now)


def expire(
    settings: Settings,
    now: datetime,
    *,
    actor: str,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[Changed, int]:
    """Take away what has outlived its time at *now*.

    Returns
    -------
    Changed, int
        Products that expired, with what stood in the way; files that were deleted.

    Raises
    ------
    TransientError
        As `vo_service.services.publication.publish`.
    """
    policies = refresh_policies(settings)
    total = Changed(problems=policies.problems)
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection:
        store = SelectionStore(connection)
        with closing(store.over_ids(policies.known, now)) as over:
            for days, numbers in groupby(over, key=lambda row: row[1]):
                change = Change(
                    before=("arrived", "public"), after="expired",
                    rule=f"lifetime_days {days:g}", actor=actor,
                )  # fmt: skip
                outcome = change_states(settings, _until(stopped, numbers), change)
                total.count += outcome.count
                total.problems += outcome.problems
        deleted = _remove_files(store, policies.known, total.problems, stopped)
    return total, deleted


async def run_expiry(settings: Settings, *, look_s: float = _LOOK_S) -> None:
    """Take away what has outlived its time every *look_s* seconds, until cancelled."""
    stopped = threading.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(set_when_cancelled, stopped)
        while True:
            try:
                await to_thread.run_sync(_run, settings, stopped)
            except (VOError, psycopg.Error, OSError) as error:
                _log.error("what has outlived its time cannot be taken away now: %s", error)
            except Exception:
                _log.exception("defect in expiry")
            await anyio.sleep(look_s)


def _run(settings: Settings, stopped: threading.Event) -> None:
    outcome, deleted = expire(settings, datetime.now(UTC), actor="worker", stopped=stopped.is_set)
    if outcome.count or deleted:
        _log.info("%d products expired, %d files deleted", outcome.count, deleted)
    alarm_of_problems(settings, AlarmKind.LINKS, "end of lifetime", outcome.problems)


def _until(stopped: Callable[[], bool], rows: Iterator[tuple[int, float]]) -> Iterator[int]:
    for number, _ in rows:
        if stopped():
            return
        yield number


def _remove_files(
    store: SelectionStore,
    collections: Sequence[str],
    problems: list[str],
    stopped: Callable[[], bool],
) -> int:
    """Delete files of expired products, also those that an earlier run left; how many."""
    deleted = after = 0
    while (batch := store.to_remove(collections, after, _BATCH)) and not stopped():
        for product in batch:
            after = product.product_id
            try:
                deleted += _remove(product)
            except VOError as error:
                problems.append(str(error))
            except OSError as error:
                problems.append(f"{product.source}: cannot be deleted: {error.strerror}")
            else:
                store.removed(product.product_id)
    return deleted


def _remove(product: Expired) -> bool:
    roots = [Path(root) for root in product.roots]
    gone = remove_file(Path(product.source), roots, product.size, product.modified)
    if gone:
        _log.warning(
            "deleted %s (%s bytes): the lifetime of %s is over",
            product.source, product.size, product.collection,
        )  # fmt: skip
    return gone
