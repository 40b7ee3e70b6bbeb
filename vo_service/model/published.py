"""The tables that every service publishes: ``ivoa.obscore``, TAP_SCHEMA itself and others.

`vo_service.db` writes them into TAP_SCHEMA at each upgrade. Source: ObsCore 1.1; TAP 1.1,
"TAP_SCHEMA" (which describes itself).
"""

from __future__ import annotations

from vo_service.model.elsewhere import ELSEWHERE, ELSEWHERE_KEYS
from vo_service.model.obscore import OBSCORE
from vo_service.model.provenance_tables import PROVENANCE, PROVENANCE_KEYS
from vo_service.model.relational_tables import RELATIONAL, RELATIONAL_KEYS
from vo_service.model.statistics import STATISTICS
from vo_service.model.table import Catalog, Column, ForeignKey, Position, Schema, Table

__all__ = ["OBSCORE_TABLE", "PUBLISHED"]

OBSCORE_TABLE = Table(
    name="ivoa.obscore",
    relation="archive.obscore",
    columns=OBSCORE,
    kind="view",
    description="All observations of this archive, as ObsCore 1.1 describes them",
    utype="ivo://ivoa.net/std/obscore#table-1.1",
    position=Position(ra="s_ra", dec="s_dec", point="position", partitioned=True),
)


def _text(name: str, description: str) -> Column:
    return _of_tap(name, "char", description, "*")


def _number(name: str, description: str) -> Column:
    return _of_tap(name, "int", description)


def _of_tap(name: str, datatype: str, description: str, arraysize: str | None = None) -> Column:
    return Column(
        name=name,
        datatype=datatype,
        arraysize=arraysize,
        description=description,
        principal=True,
        std=True,
    )


def _tap_table(name: str, description: str, *columns: Column) -> Table:
    full = f"tap_schema.{name}"
    return Table(name=full, relation=full, columns=columns, description=description)


_UTYPE = _text("utype", "Utype, where the thing belongs to a data model")
_DESCRIPTION = _text("description", "Short description")

_TAP_TABLES = (
    _tap_table(
        "schemas", "Schemas that can be queried",
        _text("schema_name", "Name of the schema"),
        _UTYPE, _DESCRIPTION,
        _number("schema_index", "Order of display"),
    ),
    _tap_table(
        "tables", "Tables that can be queried",
        _text("schema_name", "Schema of the table"),
        _text("table_name", "Name as it is to be written in a query"),
        _text("table_type", "table or view"),
        _UTYPE, _DESCRIPTION,
        _number("table_index", "Order of display"),
    ),
    _tap_table(
        "columns", "Columns of the tables",
        _text("table_name", "Table of the column"),
        _text("column_name", "Name as it is to be written in a query"),
        _text("datatype", "VOTable datatype"),
        _text("arraysize", "VOTable arraysize; null for a scalar"),
        _text("xtype", "VOTable xtype"),
        _number('"size"', "Length of fixed or limited arrays and strings"),
        _DESCRIPTION, _UTYPE,
        _text("unit", "Unit, in VOUnit syntax"),
        _text("ucd", "UCD: what kind of quantity it is"),
        _number("indexed", "1 if an index makes conditions on it fast"),
        _number("principal", "1 if the column is a core part of the content"),
        _number("std", "1 if a standard defines the column"),
        _number("column_index", "Order of display"),
    ),
    _tap_table(
        "keys", "Foreign keys between tables",
        _text("key_id", "Identifier of the key"),
        _text("from_table", "Table that refers"),
        _text("target_table", "Table that is referred to"),
        _DESCRIPTION, _UTYPE,
    ),
    _tap_table(
        "key_columns", "Columns of the foreign keys",
        _text("key_id", "Key, as in tap_schema.keys"),
        _text("from_column", "Column of the table that refers"),
        _text("target_column", "Column of the table that is referred to"),
    ),
)  # fmt: skip


def _key(number: int, source: str, target: str, *columns: tuple[str, str]) -> ForeignKey:
    return ForeignKey(
        key_id=f"tap_schema_{number}",
        from_table=f"tap_schema.{source}",
        target_table=f"tap_schema.{target}",
        columns=columns,
    )


PUBLISHED = Catalog(
    schemas=(
        Schema(
            name="ivoa", tables=(OBSCORE_TABLE,), description="Tables defined by IVOA data models"
        ),
        STATISTICS,
        PROVENANCE,
        ELSEWHERE,
        RELATIONAL,
        Schema(
            name="tap_schema",
            tables=_TAP_TABLES,
            description="What can be queried here (TAP 1.1)",
        ),
    ),
    keys=(  # in the order of their names
        *ELSEWHERE_KEYS,
        *PROVENANCE_KEYS,
        *RELATIONAL_KEYS,
        _key(1, "tables", "schemas", ("schema_name", "schema_name")),
        _key(2, "columns", "tables", ("table_name", "table_name")),
        _key(3, "keys", "tables", ("from_table", "table_name")),
        _key(4, "keys", "tables", ("target_table", "table_name")),
        _key(5, "key_columns", "keys", ("key_id", "key_id")),
    ),
)
