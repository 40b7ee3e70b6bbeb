"""Published tables and table-shaped results.

A `Field` says what a column is in VOTable terms; TAP_SCHEMA, VOSI tables and the FIELDs of
every answer are all made from it. Source: TAP 1.1, "TAP_SCHEMA"; VOTable 1.4, "FIELD".
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pyarrow as pa

__all__ = ["Catalog", "Column", "Field", "ForeignKey", "Position", "Rows", "Schema", "Table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One column of a result.

    *datatype* is VOTable's: ``boolean short int long float double char unicodeChar``;
    *arraysize* is None for a scalar and ``*`` for a string of any length.
    """

    name: str
    datatype: str
    arraysize: str | None = None
    xtype: str | None = None
    unit: str | None = None
    ucd: str | None = None
    utype: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Field):
    """One column of a published table.

    *name* is as it must be written in a query (with its quotes where it needs them).
    *geometry* names the pgSphere column of the table's relation that holds the same region
    as this column's text; None for every column that is no region. *indexed*, *principal*
    and *std* are TAP_SCHEMA's flags.
    """

    indexed: bool = False
    principal: bool = False
    std: bool = False
    geometry: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How a table's rows lie on the sky.

    Parameters
    ----------
    ra, dec
        The published columns (ICRS, degrees) that together are the position.
    point
        Column of the relation with the same position as an ``spoint``, GiST-indexed.
    reach
        Degrees from a row's position to the farthest point of its footprint, the largest
        over all rows; 0 where the table has no footprint.
    partitioned
        Whether RA bounds let PostgreSQL skip partitions.
    """

    ra: str
    dec: str
    point: str
    reach: float = 0.0
    partitioned: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """Rows that cannot be read now, by RA (degrees, the upper end not in it) and obs_collection."""

    ranges: tuple[tuple[float, float], ...]
    collections: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A published table.

    *name* is what a query says (``ivoa.obscore``), *relation* what PostgreSQL reads for it
    (``archive.obscore``). Rows of *without* are left out.
    """

    name: str
    relation: str
    columns: tuple[Column, ...]
    kind: str = "table"
    description: str | None = None
    utype: str | None = None
    position: Position | None = None
    without: Gap | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A key of TAP_SCHEMA.keys; *columns* pairs (from_column, target_column)."""

    key_id: str
    from_table: str
    target_table: str
    columns: tuple[tuple[str, str], ...]
    description: str | None = None
    utype: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A schema and its tables, in display order."""

    name: str
    tables: tuple[Table, ...]
    description: str | None = None
    utype: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Everything that may be queried: TAP_SCHEMA as a value."""

    schemas: tuple[Schema, ...]
    keys: tuple[ForeignKey, ...] = ()

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables of all schemas, in display order."""
        return tuple(table for schema in self.schemas for table in schema.tables)


async def _nothing() -> None:
    return


@dataclass(slots=True)
class Rows:
    """A result on its way: fields, Arrow batches, and whether MAXREC cut it.

    *batches* may be iterated once; its columns are those of *fields*, in order. *truncated*
    is meaningful only after the last batch. *missing* tells why rows are not there that should
    be; None where none is missing. *release* frees what stands behind the rows
    (cursor, connection) and may be called at any time, more than once. *held_s* are the seconds
    that a reader may take over all of it, since somebody else waits for what stands behind.
    """

    fields: tuple[Field, ...]
    source: AsyncIterator[pa.RecordBatch]
    truncated: bool = False
    missing: str | None = None
    release: Callable[[], Awaitable[None]] = field(default=_nothing)
    held_s: float = math.inf

    def batches(self) -> AsyncIterator[pa.RecordBatch]:
        """The record batches, once."""
        return self.source

    async def aclose(self) -> None:
        """Free the cursor and connection behind the rows."""
        await self.release()
