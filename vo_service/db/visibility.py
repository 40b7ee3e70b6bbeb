"""Which observations the public may know of: rows kept on the right side.

``archive.observation`` holds what everybody may query, ``archive.observation_closed`` what only
the people of a proposal may (or nobody: withdrawn frames of a collection that hides them), and
``archive.product.closed`` tells which. The rule is ``archive.is_closed``, of a product's state
and its collection's fields ``metadata`` and ``withdrawn``. Whoever changes a state calls
`place_rows` in the same transaction, on a connection of the writer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

__all__ = [
    "OBSERVATION_COLUMNS",
    "closed_on_arrival",
    "drop_rows",
    "hold_collections",
    "misplaced",
    "note_days",
    "place_collection",
    "place_rows",
    "placing",
    "widen_reach",
]

#: Footprint searches look a little farther than the widest footprint, for rounding.
_SPARE = 1.003

#: Columns that both tables of observations have, and that move with a row.
OBSERVATION_COLUMNS = (
    *("dataproduct_type", "calib_level", "obs_collection", "obs_id", "target_name", "s_ra"),
    *("s_dec", "s_fov", "s_resolution", "s_xel1", "s_xel2", "t_min", "t_max", "t_exptime"),
    *("t_resolution", "t_xel", "em_min", "em_max", "em_res_power", "em_xel", "o_ucd"),
    *("pol_states", "pol_xel", "facility_name", "instrument_name"),
    *("product_id", "obs_publisher_did", "access_path", "access_format", "access_estsize"),
    *("s_region", "position", "region"),
)
_COLUMNS = ", ".join(OBSERVATION_COLUMNS)

#: A definition must not change between its being read and the rows being placed by it.
_HOLD = """
SELECT FROM archive.collection
WHERE name IN (SELECT collection FROM archive.product WHERE product_id = ANY(%(ids)s))
ORDER BY name FOR SHARE
"""
_MARK = """
UPDATE archive.product p SET closed = archive.is_closed(p.state, p.released, c.definition)
FROM archive.collection c
WHERE c.name = p.collection AND p.product_id = ANY(%(ids)s)
  AND p.closed IS DISTINCT FROM archive.is_closed(p.state, p.released, c.definition)
"""
#: Whose row it is: that of the proposal's people before release, nobody's afterwards.
_READERS = "CASE WHEN p.state = 'arrived' THEN p.proposal_id END"

#: Rows that come to or leave `archive.observation` are noted for its coverage in the same
#: statement; a trigger would not see those of partitions on other machines.
_NOTE = """
INSERT INTO archive.coverage_change (collection, day, removed, first_id, last_id)
SELECT p.collection, archive.day_of(m.t_min), {removed}, min(m.product_id), max(m.product_id)
FROM moved m JOIN archive.product p USING (product_id) GROUP BY 1, 2
"""
_OPEN = f"""
WITH moved AS (
    DELETE FROM archive.observation_closed o USING archive.product p
    WHERE o.product_id = ANY(%(ids)s) AND p.product_id = o.product_id AND NOT p.closed
    RETURNING o.*),
noted AS ({_NOTE.format(removed="false")})
INSERT INTO archive.observation ({_COLUMNS}) SELECT {_COLUMNS} FROM moved
"""  # noqa: S608 - names from this module only
_CLOSE = f"""
WITH moved AS (
    DELETE FROM archive.observation o USING archive.product p
    WHERE o.product_id = ANY(%(ids)s) AND p.product_id = o.product_id AND p.closed
    RETURNING o.*, p.collection, {_READERS} AS readers),
noted AS ({_NOTE.format(removed="true")})
INSERT INTO archive.observation_closed ({_COLUMNS}, collection, proposal_id)
SELECT {_COLUMNS}, collection, readers FROM moved
"""  # noqa: S608 - names from this module only
_RENAME = f"""
UPDATE archive.observation_closed o SET proposal_id = {_READERS}
FROM archive.product p
WHERE o.product_id = ANY(%(ids)s) AND p.product_id = o.product_id
  AND o.proposal_id IS DISTINCT FROM {_READERS}
"""  # noqa: S608 - words from this module only

_DROP = f"""
WITH moved AS (
    DELETE FROM archive.observation WHERE product_id = ANY(%(ids)s) RETURNING product_id, t_min)
{_NOTE.format(removed="true")}
"""  # noqa: S608 - words from this module only
_CAME = f"""
WITH moved AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(t_mins)s::float8[]) AS given (product_id, t_min))
{_NOTE.format(removed="false")}
"""  # noqa: S608 - words from this module only

_WIDEST = """
SELECT max(s_fov) / 2 FROM archive.{table} WHERE product_id = ANY(%(ids)s) AND region IS NOT NULL
"""


def drop_rows(connection: psycopg.Connection[Any], product_ids: Sequence[int]) -> None:
    """Take the rows of products away, on either side."""
    ids = {"ids": list(product_ids)}
    connection.execute(_DROP.encode(), ids)
    connection.execute(
        "DELETE FROM archive.observation_closed WHERE product_id = ANY(%(ids)s)", ids
    )


def note_days(
    connection: psycopg.Connection[Any], product_ids: Sequence[int], t_mins: Sequence[float | None]
) -> None:
    """Tell the coverage of rows that came: their products, and when (MJD) each begins."""
    connection.execute(_CAME.encode(), {"ids": list(product_ids), "t_mins": list(t_mins)})


def hold_collections(connection: psycopg.Connection[Any], product_ids: Sequence[int]) -> None:
    """Let nobody change what the collections of these products say until the transaction ends.

    To be called before the first of the products is changed, as everybody does: then no two
    transactions wait for each other.
    """
    connection.execute(_HOLD.encode(), {"ids": list(product_ids)})


def place_rows(connection: psycopg.Connection[Any], product_ids: Sequence[int]) -> None:
    """Bring products and their rows to the side where their state and collection want them.

    Right already is right; products without a row (old versions) are only marked. Runs in the
    caller's transaction, a few statements for any number of products.
    """
    hold_collections(connection, product_ids)
    ids = {"ids": list(product_ids)}
    connection.execute(_MARK.encode(), ids)
    for statement, table in ((_OPEN, "observation"), (_CLOSE, "observation_closed")):
        if connection.execute(statement.encode(), ids).rowcount:
            [(widest,)] = connection.execute(_WIDEST.format(table=table).encode(), ids)
            widen_reach(connection, widest or 0.0, closed=statement is _CLOSE)
    connection.execute(_RENAME.encode(), ids)


def place_collection(connection: psycopg.Connection[Any], collection: str) -> int:
    """Bring all rows of a collection to their side, after its definition has changed.

    Returns
    -------
    int
        Products that changed sides.
    """
    rows = connection.execute(
        "SELECT p.product_id FROM archive.product p JOIN archive.collection c "
        "ON c.name = p.collection WHERE c.name = %s "
        "AND p.closed IS DISTINCT FROM archive.is_closed(p.state, p.released, c.definition)",
        (collection,),
    ).fetchall()
    place_rows(connection, [number for (number,) in rows])
    return len(rows)


@contextlib.contextmanager
def placing(connection: psycopg.Connection[Any], collection: str) -> Iterator[None]:
    """Change a collection's definition; if what the public may know changes, rows follow."""
    before = _policy(connection, collection, " FOR UPDATE")
    yield
    if before not in (None, _policy(connection, collection)):
        place_collection(connection, collection)


def _policy(
    connection: psycopg.Connection[Any], collection: str, lock: str = ""
) -> tuple[Any, ...] | None:
    statement = (
        "SELECT definition ->> 'metadata', definition ->> 'withdrawn' FROM archive.collection "
        "WHERE name = %s"
    )
    return connection.execute((statement + lock).encode(), (collection,)).fetchone()


def misplaced(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    """Collection and path of the products that are on the wrong side, if something went wrong."""
    rows = connection.execute(
        "SELECT p.collection, p.path FROM archive.product p "
        "JOIN archive.collection c ON c.name = p.collection "
        "WHERE p.current AND (p.closed <> archive.is_closed(p.state, p.released, c.definition) "
        "OR p.closed AND EXISTS "
        "(SELECT FROM archive.observation o WHERE o.product_id = p.product_id)) "
        "UNION SELECT p.collection, p.path FROM archive.observation_closed o "
        "JOIN archive.product p USING (product_id) WHERE NOT p.closed ORDER BY 1, 2"
    )
    return rows.fetchall()


def closed_on_arrival(connection: psycopg.Connection[Any], collection: str) -> bool:
    """Whether the public must not know of frames of a collection before their release.

    The collection's definition is held as it is until the transaction ends.
    """
    row = connection.execute(
        "SELECT archive.is_closed('arrived', NULL, definition) FROM archive.collection "
        "WHERE name = %s FOR SHARE",
        (collection,),
    ).fetchone()
    return row is not None and bool(row[0])


def widen_reach(connection: psycopg.Connection[Any], reach: float, *, closed: bool) -> None:
    """Let searches of footprints look *reach* degrees far; those of closed rows tell nobody."""
    statement = "UPDATE archive.closed_reach SET reach = %(reach)s WHERE reach < %(reach)s"
    if not closed:
        statement = (
            "UPDATE archive.published SET reach = %(reach)s "
            "WHERE table_name IN ('ivoa.obscore', 'elsewhere.everything') AND reach < %(reach)s"
        )
    connection.execute(statement.encode(), {"reach": reach * _SPARE})
