"""The journal of publication: what is to change, written down before a link is touched.

An intent is a row of ``archive.intent``. It is committed first; then links are made or removed;
then, in one transaction, state, ``archive.state_change`` and the row's side change and the
intent goes. Intents that are found while nobody holds `PublicationStore.lock` were left by a
run that died, and are carried out by the next. Source: MISSION A3, A4, A6.

`PublicationStore` runs as the writer, on a connection in autocommit mode; `current_states` is
for the door. The caller owns the transactions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

from vo_service.db.visibility import hold_collections, place_rows
from vo_service.errors import TransientError

__all__ = ["CHANNEL", "Change", "Intent", "PublicationStore", "current_states"]

#: Told, without a word, whenever files were taken away from readers.
CHANNEL = "archive_withdrawn"

#: Seconds to wait for another command's batch; one takes a second, on slow storage some more.
_WAIT_S = 120

#: States without a file to be had, whoever asks.
_GONE = {"withdrawn", "expired"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to become of products: those in one of *before* become *after*."""

    before: tuple[str, ...]
    after: str
    rule: str
    actor: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """A line of the journal, and what its link needs.

    *elsewhere* tells that another server delivers the file, *tree* where its links are made if
    that can be done from here.
    """

    product_id: int
    collection: str
    path: str
    source: str | None
    size: int
    state: str
    old_state: str
    new_state: str
    elsewhere: bool
    tree: str | None


class PublicationStore:
    """Statements of publication, on a connection of the writer."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    @contextlib.contextmanager
    def lock(self, *, shared: bool = False) -> Iterator[None]:
        """Keep others from changing links, or (*shared*) from being in the middle of it.

        Raises
        ------
        TransientError
            If another command is at it for very long.
        """
        kind = "_shared" if shared else ""
        self._connection.execute(f"SET lock_timeout = '{_WAIT_S}s'".encode())
        try:
            self._connection.execute(
                f"SELECT pg_advisory_lock{kind}(hashtext('publication'), 0)".encode()
            )
        except psycopg.errors.LockNotAvailable:
            raise TransientError(
                f"another command has been changing links for {_WAIT_S} s; let it finish first"
            ) from None
        self._connection.execute("RESET lock_timeout")
        try:
            yield
        finally:
            # A session that was lost has lost its lock as well.
            if not self._connection.closed:
                self._connection.execute(
                    f"SELECT pg_advisory_unlock{kind}(hashtext('publication'), 0)".encode()
                )

    def intend(self, product_ids: Sequence[int], change: Change) -> int:
        """Write intents for those of the products that are as *change* wants them; how many."""
        return self._connection.execute(
            "INSERT INTO archive.intent (product_id, old_state, new_state, rule, actor, reason) "
            "SELECT product_id, state, %(after)s, %(rule)s, %(actor)s, %(reason)s "
            "FROM archive.product WHERE product_id = ANY(%(ids)s) AND current "
            "AND state = ANY(%(before)s) AND state <> %(after)s "
            "AND (source IS NOT NULL OR elsewhere OR %(after)s <> 'public')",
            {
                "ids": list(product_ids), "before": list(change.before), "after": change.after,
                "rule": change.rule, "actor": change.actor, "reason": change.reason,
            },
        ).rowcount  # fmt: skip

    def intents(self, limit: int, among: Sequence[int] | None = None) -> list[Intent]:
        """The first lines of the journal, or of those about some products."""
        with self._connection.cursor(row_factory=class_row(Intent)) as cursor:
            cursor.execute(
                "SELECT i.product_id, p.collection, p.path, p.source, p.size, p.state, "
                "i.old_state, i.new_state, "
                "c.definition ->> 'data_server' IS NOT NULL AS elsewhere, "
                "c.definition -> 'data_server' ->> 'public' AS tree FROM archive.intent i "
                "JOIN archive.product p ON p.product_id = i.product_id "
                "JOIN archive.collection c ON c.name = p.collection "
                "WHERE %(among)s::bigint[] IS NULL OR i.product_id = ANY(%(among)s) "
                "ORDER BY i.product_id LIMIT %(limit)s",
                {"limit": limit, "among": None if among is None else list(among)},
            )
            return cursor.fetchall()

    def complete(self, intents: Sequence[Intent]) -> int:
        """Change states, write the changes down, move rows, forget the intents.

        Returns
        -------
        int
            How many states changed: not those of products that were replaced meanwhile.
        """
        ids = [intent.product_id for intent in intents]
        hold_collections(self._connection, ids)
        with self._connection.cursor() as cursor:
            cursor.execute(
                "WITH changed AS ("
                "UPDATE archive.product p SET state = i.new_state, released = "
                "CASE WHEN i.new_state = 'public' THEN now() ELSE p.released END "
                "FROM archive.intent i WHERE i.product_id = p.product_id "
                "AND p.product_id = ANY(%s) AND p.state = i.old_state AND p.state <> i.new_state "
                "RETURNING p.product_id, i.old_state, i.new_state, i.rule, i.actor, i.reason) "
                "INSERT INTO archive.state_change "
                "(product_id, old_state, new_state, rule, actor, reason) SELECT * FROM changed",
                (ids,),
            )
            changed = cursor.rowcount
            self._set_addresses(
                [i.product_id for i in intents if _GONE & {i.old_state, i.new_state}]
            )
            place_rows(self._connection, ids)
            self.forget(ids)
            if any(intent.new_state != "public" for intent in intents):
                cursor.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
        return changed

    def _set_addresses(self, product_ids: Sequence[int]) -> None:
        """Take the address out of rows whose file is gone; give it back where it is not."""
        for table in ("observation", "observation_closed") if product_ids else ():
            self._connection.execute(
                f"UPDATE archive.{table} o SET access_path = "  # noqa: S608 - two names of ours
                "CASE WHEN p.state <> ALL(%s) AND (p.source IS NOT NULL OR p.elsewhere) "
                "THEN archive.quoted(p.collection || '/' || p.path) END "
                "FROM archive.product p WHERE p.product_id = o.product_id "
                "AND o.product_id = ANY(%s)".encode(),
                (list(_GONE), list(product_ids)),
            )

    def forget(self, product_ids: Sequence[int]) -> None:
        """Take intents out of the journal."""
        self._connection.execute(
            "DELETE FROM archive.intent WHERE product_id = ANY(%s)", (list(product_ids),)
        )

    def retire(self, product_ids: Sequence[int], actor: str) -> set[str]:
        """Make products old versions, because new ones come; paths of those that were withdrawn.

        The links of those that were public are left to the journal, and go when the caller's
        transaction is committed.
        """
        rows = self._connection.execute(
            "WITH old AS (SELECT product_id, path, state FROM archive.product "
            "WHERE product_id = ANY(%(ids)s) FOR UPDATE), "
            "noted AS (INSERT INTO archive.state_change "
            "(product_id, old_state, new_state, rule, actor) "
            "SELECT product_id, state, 'replaced', %(rule)s, %(actor)s FROM old), "
            "intended AS (INSERT INTO archive.intent "
            "(product_id, old_state, new_state, rule, actor) "
            "SELECT product_id, state, 'replaced', %(rule)s, %(actor)s FROM old "
            "WHERE state = 'public' ON CONFLICT (product_id) DO UPDATE "
            "SET old_state = EXCLUDED.old_state, new_state = EXCLUDED.new_state), "
            "retired AS (UPDATE archive.product SET current = false, state = 'replaced' "
            "WHERE product_id = ANY(%(ids)s)) "
            "SELECT path FROM old WHERE state = 'withdrawn'",
            {"ids": list(product_ids), "rule": "new version", "actor": actor},
        )
        return {path for (path,) in rows}

    def keep_withdrawn(self, product_ids: Sequence[int], actor: str) -> None:
        """Withdraw new versions of products that were withdrawn; they have no links yet."""
        change = Change(
            before=("arrived",), after="withdrawn", rule="its last version was withdrawn",
            actor=actor,
        )  # fmt: skip
        self.intend(product_ids, change)
        self.complete(self.intents(len(product_ids), product_ids))


async def current_states(
    connection: psycopg.AsyncConnection[Any], places: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """States of the current products at (collection, path), of those that there are."""
    cursor = await connection.execute(
        "SELECT collection, path, state FROM archive.product "
        "JOIN unnest(%s::text[], %s::text[]) AS wanted (collection, path) "
        "USING (collection, path) WHERE current",
        ([collection for collection, _ in places], [path for _, path in places]),
    )
    return {(collection, path): state for collection, path, state in await cursor.fetchall()}
