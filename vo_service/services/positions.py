"""Lists of positions that clients upload, for cutouts about each.

Angles are ICRS degrees. The columns of the position are found as TAP finds them in uploads
(`db.uploads.position_columns`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from vo_service.db.uploads import LoadedTable, position_columns
from vo_service.errors import UsageError
from vo_service.model.table import Field
from vo_service.params.soda import Position

__all__ = ["positions_of"]

_RADII = ("radius", "sr")
_NAMES = ("name", "id", "main_id", "source_id", "object")
_ID = "meta.id;meta.main"
_SHOWN = 60


def positions_of(table: LoadedTable, limit: int) -> list[Position]:
    """The rows of an uploaded table as positions; blocks.

    Parameters
    ----------
    table
        With a right ascension and a declination in degrees; it may have a column ``radius`` (or
        ``sr``, degrees) and one that names the rows: ``name``, ``id`` and the like, or the UCD
        ``meta.id;meta.main``.
    limit
        Rows at most.

    Raises
    ------
    UsageError
        If there are no such columns, no rows or too many; or a row has no position on the sky: the
        text names upload, row and column.
    """
    rows = _rows(table, limit)
    columns = _columns(table)
    values = [
        [None] * len(rows) if column is None else rows.column(column).to_pylist()
        for column in columns
    ]
    return [
        _position(table, columns, number, row)
        for number, row in enumerate(zip(*values, strict=True), 1)
    ]


def _rows(table: LoadedTable, limit: int) -> pa.Table:
    with pa.OSFile(str(table.file)) as file:
        reader = pa.ipc.open_file(file)
        batches: list[pa.RecordBatch] = []
        # No more is read than may be there.
        for number in range(reader.num_record_batches):
            batches.append(reader.get_batch(number))
            if sum(map(len, batches)) > limit:
                raise UsageError(
                    f"upload {table.name}: has more than {limit} rows: expected a position in each "
                    "of fewer"
                )
    if not sum(map(len, batches)):
        raise UsageError(f"upload {table.name}: has no rows: expected a position in each")
    return pa.Table.from_batches(batches)


def _columns(table: LoadedTable) -> list[int | None]:
    """Numbers of the columns of right ascension, declination, radius and name."""
    place = position_columns(table.fields)
    if place is None:
        raise UsageError(
            f"upload {table.name}: no columns of positions: expected one each called ra and dec, "
            "or with the UCDs pos.eq.ra;meta.main and pos.eq.dec;meta.main, in degrees"
        )
    return [*place, _column(table.fields, _is_radius), _column(table.fields, _is_name)]


def _position(
    table: LoadedTable, columns: Sequence[int | None], number: int, row: Sequence[Any]
) -> Position:
    ra, dec, radius, name = row
    bounds = ((ra, 0.0, 360.0), (dec, -90.0, 90.0), (radius, 0.0, 180.0))
    for (value, low, high), column in zip(bounds, columns[:3], strict=True):
        if column is None or (value is None and column == columns[2]):
            continue  # the radius may be left open
        if value is None or not low <= value <= high:
            raise UsageError(
                f"upload {table.name}: row {number}, {table.fields[column].name}: "
                f"{'no value' if value is None else value}: "
                f"expected degrees, {low:g} to {high:g}"
            )
    said = f"row {number}" + (f" ({str(name)[:_SHOWN]})" if name is not None else "")
    return Position(float(ra), float(dec), None if radius is None else float(radius), said)


def _column(fields: Sequence[Field], fits: Callable[[Field], bool]) -> int | None:
    """The first column that fits."""
    return next((number for number, field in enumerate(fields) if fits(field)), None)


def _is_radius(field: Field) -> bool:
    numeric = field.datatype in ("short", "int", "long", "float", "double")
    return numeric and field.arraysize is None and field.name.lower() in _RADII


def _is_name(field: Field) -> bool:
    return field.arraysize in (None, "*") and (
        field.name.lower() in _NAMES or (field.ucd or "").lower() == _ID
    )
