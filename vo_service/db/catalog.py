"""TAP_SCHEMA, written from and read into `model.table.Catalog`.

The database holds what is published; FIELDs, VOSI tables and the ADQL resolver are all made
from what `read_catalog` gives, so they cannot disagree. Source: TAP 1.1, "TAP_SCHEMA".
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import defaultdict
from typing import Any

from sqlalchemy import Connection, text

from vo_service.model.table import Catalog, Column, ForeignKey, Position, Schema, Table

__all__ = ["read_catalog", "read_member_catalog", "write_catalog"]

#: What known people read instead of a relation: the same with what is theirs.
_MEMBER_RELATIONS = {
    "archive.obscore": "archive.obscore_member",
    "archive.everything": "archive.everything_member",
}

#: Rows of ours were there before the table that shows them together with those of others.
_REACH_OF_BOTH = """
UPDATE archive.published SET reach = greatest(reach, (
    SELECT max(reach) FROM archive.published
    WHERE table_name IN ('ivoa.obscore', 'elsewhere.obscore')))
WHERE table_name = 'elsewhere.everything'
"""


def write_catalog(connection: Connection, catalog: Catalog) -> None:
    """Replace the entries of the catalogue's schemas; entries of other schemas stay.

    The reach of a table that was there before is kept: rows decide it, not the definition.
    """
    names = [schema.name for schema in catalog.schemas]
    reaches = connection.execute(text("SELECT table_name, reach FROM archive.published"))
    kept = {row.table_name: row.reach for row in reaches}
    connection.execute(
        text("DELETE FROM tap_schema.schemas WHERE schema_name = ANY(:names)"), {"names": names}
    )
    for index, schema in enumerate(catalog.schemas):
        connection.execute(
            _insert("tap_schema.schemas", "schema_name utype description schema_index"),
            {
                "schema_name": schema.name,
                "utype": schema.utype,
                "description": schema.description,
                "schema_index": index,
            },
        )
        for number, table in enumerate(schema.tables):
            _write_table(connection, schema.name, number, table, kept.get(table.name, 0.0))
    connection.execute(text(_REACH_OF_BOTH))
    for key in catalog.keys:
        connection.execute(
            _insert("tap_schema.keys", "key_id from_table target_table description utype"),
            {
                "key_id": key.key_id,
                "from_table": key.from_table,
                "target_table": key.target_table,
                "description": key.description,
                "utype": key.utype,
            },
        )
        connection.execute(
            _insert("tap_schema.key_columns", "key_id from_column target_column"),
            [{"key_id": key.key_id, "from_column": a, "target_column": b} for a, b in key.columns],
        )


def _write_table(
    connection: Connection, schema: str, index: int, table: Table, reach: float
) -> None:
    connection.execute(
        _insert(
            "tap_schema.tables", "schema_name table_name table_type utype description table_index"
        ),
        {
            "schema_name": schema,
            "table_name": table.name,
            "table_type": table.kind,
            "utype": table.utype,
            "description": table.description,
            "table_index": index,
        },
    )
    connection.execute(
        _insert(
            "tap_schema.columns",
            "table_name column_name datatype arraysize xtype size description utype unit ucd "
            "indexed principal std column_index",
        ),
        [_column_row(table.name, number, column) for number, column in enumerate(table.columns)],
    )
    position = table.position
    connection.execute(
        _insert(
            "archive.published",
            "table_name relation ra_column dec_column point_column reach partitioned geometries",
        ),
        {
            "table_name": table.name,
            "relation": table.relation,
            "ra_column": position.ra if position else None,
            "dec_column": position.dec if position else None,
            "point_column": position.point if position else None,
            "reach": max(reach, position.reach if position else 0.0),
            "partitioned": position.partitioned if position else False,
            "geometries": json.dumps({c.name: c.geometry for c in table.columns if c.geometry}),
        },
    )


def _column_row(table: str, index: int, column: Column) -> dict[str, Any]:
    length = re.fullmatch(r"(\d+)\*?", column.arraysize or "")
    return {
        "table_name": table,
        "column_name": column.name,
        "datatype": column.datatype,
        "arraysize": column.arraysize,
        "xtype": column.xtype,
        "size": int(length[1]) if length else None,
        "description": column.description,
        "utype": column.utype,
        "unit": column.unit,
        "ucd": column.ucd,
        "indexed": int(column.indexed),
        "principal": int(column.principal),
        "std": int(column.std),
        "column_index": index,
    }


def _insert(table: str, columns: str) -> Any:
    names = columns.split()
    return text(
        f"INSERT INTO {table} ({', '.join(names)}) "  # noqa: S608 - names from this module only
        f"VALUES ({', '.join(':' + name for name in names)})"
    )


def read_catalog(connection: Connection) -> Catalog:
    """Everything that may be queried now, in display order."""
    columns: dict[str, list[Column]] = defaultdict(list)
    published = {
        row.table_name: row
        for row in connection.execute(
            text(
                "SELECT p.*, t.schema_name, t.table_type, t.utype, t.description "
                "FROM tap_schema.tables t JOIN archive.published p USING (table_name) "
                "ORDER BY t.table_index, t.table_name"
            )
        )
    }
    for row in connection.execute(
        text("SELECT * FROM tap_schema.columns ORDER BY table_name, column_index, column_name")
    ):
        if row.table_name in published:
            geometries = published[row.table_name].geometries
            columns[row.table_name].append(_column(row, geometries.get(row.column_name)))
    tables: dict[str, list[Table]] = defaultdict(list)
    for name, row in published.items():
        tables[row.schema_name].append(_table(row, tuple(columns[name])))
    return Catalog(
        schemas=tuple(
            Schema(
                name=row.schema_name,
                tables=tuple(tables[row.schema_name]),
                description=row.description,
                utype=row.utype,
            )
            for row in connection.execute(
                text("SELECT * FROM tap_schema.schemas ORDER BY schema_index, schema_name")
            )
        ),
        keys=_read_keys(connection),
    )


def read_member_catalog(connection: Connection) -> Catalog:
    """The catalogue for the role ``vo_member``, whose rows are those of who asks."""
    catalog = read_catalog(connection)
    closed = connection.execute(text("SELECT reach FROM archive.closed_reach")).scalar_one()
    schemas = (
        dataclasses.replace(
            schema, tables=tuple(_for_members(table, closed) for table in schema.tables)
        )
        for schema in catalog.schemas
    )
    return dataclasses.replace(catalog, schemas=tuple(schemas))


def _for_members(table: Table, reach: float) -> Table:
    relation, position = _MEMBER_RELATIONS.get(table.relation), table.position
    if relation is None:
        return table
    if position is not None:
        position = dataclasses.replace(position, reach=max(position.reach, reach))
    return dataclasses.replace(table, relation=relation, position=position)


def _read_keys(connection: Connection) -> tuple[ForeignKey, ...]:
    pairs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in connection.execute(
        text("SELECT * FROM tap_schema.key_columns ORDER BY key_id, from_column")
    ):
        pairs[row.key_id].append((row.from_column, row.target_column))
    return tuple(
        ForeignKey(
            key_id=row.key_id,
            from_table=row.from_table,
            target_table=row.target_table,
            columns=tuple(pairs[row.key_id]),
            description=row.description,
            utype=row.utype,
        )
        for row in connection.execute(text("SELECT * FROM tap_schema.keys ORDER BY key_id"))
    )


def _column(row: Any, geometry: str | None) -> Column:
    return Column(
        name=row.column_name,
        datatype=row.datatype,
        arraysize=row.arraysize,
        xtype=row.xtype,
        unit=row.unit,
        ucd=row.ucd,
        utype=row.utype,
        description=row.description,
        indexed=bool(row.indexed),
        principal=bool(row.principal),
        std=bool(row.std),
        geometry=geometry,
    )


def _table(row: Any, columns: tuple[Column, ...]) -> Table:
    position = None
    if row.point_column is not None:
        position = Position(
            ra=row.ra_column,
            dec=row.dec_column,
            point=row.point_column,
            reach=row.reach,
            partitioned=row.partitioned,
        )
    return Table(
        name=row.table_name,
        relation=row.relation,
        columns=columns,
        kind=row.table_type,
        description=row.description,
        utype=row.utype,
        position=position,
    )
