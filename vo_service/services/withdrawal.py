"""Withdrawal by command: what is meant, what was done, who has it already; and the way back.

Source: MISSION A4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date

import anyio
import psycopg

from vo_service.db.connect import Role, conninfo, engine_at
from vo_service.db.downloads import Downloader, downloaders
from vo_service.db.publication import Change
from vo_service.db.selection import Chosen, Life, Selection, SelectionStore, StateChange
from vo_service.db.stream import Reader
from vo_service.errors import NotFoundError, UsageError
from vo_service.model.table import Rows
from vo_service.params.tap import TapQuery
from vo_service.services.catalog import CatalogCache
from vo_service.services.publication import Changed, change_states
from vo_service.services.release import Released, release_due
from vo_service.services.tap import TapService
from vo_service.settings import Settings

__all__ = ["choose", "history", "known_downloads", "select_by_query", "undo"]

_DID = "obs_publisher_did"
_EXAMPLES = 5
_BATCH = 1000


def choose(settings: Settings, selection: Selection, states: Sequence[str]) -> Chosen:
    """The products that an operator means; nothing is changed.

    Raises
    ------
    UsageError
        If nothing is said of what is meant.
    NotFoundError
        If a frame or the collection is not known: then nothing must be done at all.
    """
    if selection.is_everything:
        raise UsageError(
            "expected frames, or one of --collection, --night, --instrument, --proposal, --query"
        )
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        store = SelectionStore(connection)
        unknown = [frame for frame in selection.frames if not store.is_known(frame)]
        if unknown:
            raise NotFoundError(
                f"there is no product {unknown[0]!r}"
                + (f" (and {len(unknown) - 1} others are not known)" if unknown[1:] else "")
                + ": expected COLLECTION/PATH, an identifier (ivo://...) or the path of a file"
            )
        return store.choose(selection, states, _EXAMPLES)


def select_by_query(settings: Settings, selection: Selection, query: str) -> Selection:
    """The selection, and of it only what an ADQL query finds; it runs as anybody's would.

    Raises
    ------
    UsageError
        If the query is wrong or has no column obs_publisher_did.
    """
    return replace(selection, dids=tuple(anyio.run(_identifiers, settings, query)))


async def _identifiers(settings: Settings, query: str) -> list[str]:
    limit_s = settings.async_limit_s
    dsn = conninfo(settings, Role.READER, statement_timeout=f"{limit_s}s")
    reader, engine = Reader(dsn, 1, limit_s), engine_at(dsn)
    try:
        service = TapService(reader, CatalogCache(engine, limit_s))
        rows = await service.query(TapQuery(query=query, maxrec=settings.maxrec_limit))
        try:
            return await _column(rows, settings.maxrec_limit)
        finally:
            await rows.aclose()
    finally:
        await reader.aclose()
        engine.dispose()


async def _column(rows: Rows, limit: int) -> list[str]:
    names = [field.name.lower() for field in rows.fields]
    if _DID not in names:
        raise UsageError(f"--query: expected a column {_DID}, found {', '.join(names)}")
    place = names.index(_DID)
    found: list[str] = []
    async for batch in rows.batches():
        found += (did for did in batch.column(place).to_pylist() if did is not None)
    if rows.truncated:
        raise UsageError(f"--query: finds more than {limit} rows (maxrec_limit); ask for less")
    return found


def undo(
    settings: Settings,
    chosen: Chosen,
    today: date,
    *,
    actor: str,
    reason: str,
    done: Callable[[int], None] = lambda _: None,
) -> tuple[Changed, Released]:
    """Put withdrawn products back to what the rules of their collections say on *today*."""
    change = Change(
        before=("withdrawn",), after="arrived", rule="withdraw --undo", actor=actor, reason=reason
    )
    outcome = change_states(settings, chosen.product_ids, change, done=done)
    collections = sorted({part.collection for part in chosen.parts if part.state == "withdrawn"})
    released = release_due(settings, today, collections=collections) if collections else Released()
    return outcome, released


def known_downloads(settings: Settings, product_ids: Sequence[int]) -> Iterator[Downloader]:
    """Who was sent any of these products, as far as the log goes back."""
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        for start in range(0, len(product_ids), _BATCH):
            yield from downloaders(connection, product_ids[start : start + _BATCH])


def history(settings: Settings, frame: str) -> tuple[list[Life], list[StateChange]]:
    """All versions of a product, oldest first, and the changes of their states.

    Raises
    ------
    NotFoundError
        If there is no such product.
    """
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        store = SelectionStore(connection)
        lives = store.lives(frame)
        if not lives:
            raise NotFoundError(
                f"there is no product {frame!r}: expected COLLECTION/PATH, an identifier "
                "(ivo://...) or the path of a file"
            )
        return lives, store.changes([life.product_id for life in lives])
