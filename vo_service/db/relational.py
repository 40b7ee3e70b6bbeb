"""Rows of the relational registry ``rr``: written by the writer, found by everybody through TAP.

The caller owns the transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from vo_service.model.relational_tables import RELATIONAL

__all__ = ["RelationalStore", "Rows", "tap_access_url"]

#: Rows of records by table (without ``rr.``), each a mapping of columns.
Rows = Mapping[str, Sequence[Mapping[str, Any]]]

#: Columns by table, those first to which others refer.
_TABLES: dict[str, tuple[str, ...]] = {
    table.name.removeprefix("rr."): tuple(column.name for column in table.columns)
    for table in RELATIONAL.tables
    if table.kind == "table"
}
_FIRST = ("resource", "capability", "interface", "res_table")
_ORDER = (*_FIRST, *(name for name in _TABLES if name not in _FIRST))


class RelationalStore:
    """Statements on a connection of the writer."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def remove(self, ivoids: Iterable[str]) -> None:
        """Take records out, with all that belongs to them."""
        self._connection.execute("DELETE FROM rr.resource WHERE ivoid = ANY(%s)", (list(ivoids),))

    def put(self, records: Sequence[tuple[str, Rows]]) -> None:
        """Put records in, as identifier and rows, in place of what there was of them.

        Raises
        ------
        psycopg.Error
            The database refuses a value; the transaction (or savepoint) is lost.
        """
        self.remove(ivoid for ivoid, _ in records)
        for table in _ORDER:
            columns = _TABLES[table]
            rows = [row for _, found in records for row in found.get(table, ())]
            if not rows:
                continue
            statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
                sql.Identifier("rr", table), sql.SQL(", ").join(map(sql.Identifier, columns))
            )
            with self._connection.cursor().copy(statement) as copy:
                for row in rows:
                    copy.write_row([row.get(column) for column in columns])

    def own_to_put(self, changed: Iterable[str]) -> list[tuple[str, str]]:
        """Published records of this archive that have *changed*, or are not here as dated.

        As identifier and document.
        """
        return self._connection.execute(
            "SELECT d.ivoid, d.document FROM archive.record d WHERE d.document IS NOT NULL "
            "AND (d.ivoid = ANY(%s) OR NOT EXISTS (SELECT FROM rr.resource r "
            "WHERE r.ivoid = d.ivoid AND r.updated = d.updated AT TIME ZONE 'UTC')) "
            "ORDER BY d.ivoid",
            (list(changed),),
        ).fetchall()

    def own_to_remove(self) -> list[str]:
        """Records of this archive that are here, but no longer published."""
        found = self._connection.execute(
            "SELECT r.ivoid FROM rr.resource r JOIN archive.record d USING (ivoid) "
            "WHERE d.document IS NULL"
        )
        return [ivoid for (ivoid,) in found]


def tap_access_url(connection: psycopg.Connection[Any], ivoid: str) -> str | None:
    """Where a TAP service is that has, or that serves, the resource *ivoid*; None: not known.

    An interface that needs no log-in comes first, and the service itself before what serves it.
    """
    row = connection.execute(
        "SELECT access_url FROM ("
        "SELECT %(ivoid)s AS ivoid, 0 AS far UNION ALL "
        "SELECT related_id, 1 FROM rr.relationship "
        "WHERE ivoid = %(ivoid)s AND relationship_type = 'isservedby') AS near "
        "JOIN rr.capability c USING (ivoid) JOIN rr.interface USING (ivoid, cap_index) "
        "WHERE c.standard_id = 'ivo://ivoa.net/std/tap' AND intf_role = 'std' "
        "AND access_url IS NOT NULL ORDER BY far, authenticated_only, intf_index LIMIT 1",
        {"ivoid": ivoid.lower()},
    ).fetchone()
    return row[0] if row else None
