"""Readers of uploaded text tables: CSV, TSV and ECSV.

CSV has a header line; types are found by looking at all values. ECSV says its types, units
and descriptions in a YAML header. Source: RFC 4180; ECSV 1.0 (APE 6).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import yaml
from pyarrow import csv

from vo_service.errors import UsageError
from vo_service.formats.columns import ELEMENTS
from vo_service.formats.tables_in.arrow import field_of, values_of
from vo_service.formats.tables_in.refusal import unreadable
from vo_service.model.table import Field

__all__ = ["read_delimited", "read_ecsv"]

_NULLS = ["", "NaN", "nan", "NULL", "null"]
_HEADER_BYTES = 1_000_000
_BATCH_ROWS = 50_000

_ECSV_TYPES = {
    "bool": "boolean",
    "int8": "short",
    "uint8": "short",
    "int16": "short",
    "uint16": "int",
    "int32": "int",
    "uint32": "long",
    "int64": "long",
    "uint64": "long",
    "float16": "float",
    "float32": "float",
    "float64": "double",
    "float128": "double",
    "string": "char",
}
_SUBTYPE = re.compile(r"(\w+)\[([\d,\s]+|[\d,\s]*null)\]")

Read = tuple[tuple[Field, ...], Iterator[pa.RecordBatch]]


def read_delimited(file: BinaryIO, delimiter: str) -> Read:
    """A table with a header line; empty cells (outside quotes) are null.

    Raises
    ------
    UsageError
        The text cannot be read; names the row.
    """
    table = _table(file, delimiter, _NULLS)
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_binary(column.type):  # what pyarrow makes of other bytes
            raise UsageError(f"column {name}: a value is not UTF-8")
    fields = tuple(field_of(column.name, column.type) for column in table.schema)
    return fields, _batches(table, fields)


def _table(
    file: BinaryIO, delimiter: str, nulls: list[str], types: dict[str, Any] | None = None
) -> pa.Table:
    """The table; with *types* (ECSV) an empty cell is null in quotes too."""
    try:
        table = csv.read_csv(
            file,
            read_options=csv.ReadOptions(use_threads=False, block_size=1 << 24),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                null_values=nulls,
                strings_can_be_null=True,
                quoted_strings_can_be_null=types is not None,
                column_types=types,
            ),
        )
    except (pa.ArrowException, OSError) as error:
        raise unreadable("the text", error) from error
    try:
        table.column_names  # noqa: B018 - pyarrow decodes them here and not before
    except UnicodeDecodeError as error:
        raise UsageError("the header line is not UTF-8") from error
    return table


def _batches(table: pa.Table, fields: tuple[Field, ...]) -> Iterator[pa.RecordBatch]:
    names = [str(number) for number in range(len(fields))]
    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        arrays = [
            values_of(values, field) for values, field in zip(batch.columns, fields, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(arrays, names=names)


class _Loader(yaml.SafeLoader):
    """YAML that builds nothing: values with a tag of astropy's are read as plain ones."""


def _plain(loader: yaml.SafeLoader, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)  # noqa: S101 - there are three kinds of nodes
    return loader.construct_mapping(node, deep=True)


_Loader.add_multi_constructor("!", _plain)


def read_ecsv(file: BinaryIO) -> Read:
    """An ECSV table.

    Raises
    ------
    UsageError
        Header or data cannot be read.
    """
    header, start = _header(file)
    columns = header.get("datatype")
    if not isinstance(columns, list) or not all(isinstance(c, dict) for c in columns):
        raise UsageError("the ECSV header has no list of columns (datatype)")
    delimiter = header.get("delimiter", " ")
    if delimiter not in (" ", ","):
        raise UsageError(f"the ECSV delimiter is {str(delimiter)[:20]!r}: expected ' ' or ','")
    fields, arrays = zip(*(_ecsv_field(column) for column in columns), strict=True)
    types = {
        field.name: pa.string() if is_json else ELEMENTS[field.datatype]
        for field, is_json in zip(fields, arrays, strict=True)
    }
    file.seek(start)
    table = _table(file, delimiter, [""], types)
    if table.column_names != [field.name for field in fields]:
        raise UsageError("the columns of the ECSV header are not those of the table")
    return tuple(fields), _ecsv_batches(table, tuple(fields), arrays)


def _header(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """The YAML header, and where the table starts."""
    lines: list[str] = []
    size = start = 0
    file.seek(0)
    for line in file:
        if not line.startswith(b"#"):
            break
        size += len(line)
        if size > _HEADER_BYTES:
            raise UsageError(f"the ECSV header has more than {_HEADER_BYTES} bytes")
        start += len(line)
        lines.append(line.decode("utf-8", "replace")[1:].removeprefix(" "))
    try:
        header = yaml.load("".join(lines[1:]), _Loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise UsageError(f"the ECSV header is not YAML: {said[:200]}") from error
    if not isinstance(header, dict):
        raise UsageError("the ECSV header is no mapping")
    return header, start


def _ecsv_field(column: dict[str, Any]) -> tuple[Field, bool]:
    """A field, and whether its cells are JSON arrays."""
    name = str(column.get("name", "")).strip()
    if not name:
        raise UsageError("a column of the ECSV header has no name")
    datatype = str(column.get("datatype", ""))
    if datatype not in _ECSV_TYPES:
        known = ", ".join(_ECSV_TYPES)
        raise UsageError(f"column {name}: datatype {datatype[:60]!r}: expected one of {known}")
    metadata = {
        key: str(column[key]) if column.get(key) else None for key in ("unit", "description")
    }
    meta = column.get("meta")
    if isinstance(meta, dict):
        metadata |= {key: str(meta[key]) for key in ("ucd", "utype", "xtype") if meta.get(key)}
    shape = _SUBTYPE.fullmatch(str(column.get("subtype", "")))
    if shape and shape[1] in _ECSV_TYPES and shape[1] != "string":
        sides = [side.strip() for side in shape[2].split(",")]
        varies = "null" in sides
        arraysize = "*" if varies else "x".join(reversed(sides))
        made = Field(name=name, datatype=_ECSV_TYPES[shape[1]], arraysize=arraysize, **metadata)
        return made, True
    ours = _ECSV_TYPES[datatype]
    return Field(
        name=name, datatype=ours, arraysize="*" if ours == "char" else None, **metadata
    ), False


def _ecsv_batches(
    table: pa.Table, fields: tuple[Field, ...], json_arrays: tuple[bool, ...]
) -> Iterator[pa.RecordBatch]:
    names = [str(number) for number in range(len(fields))]
    row = 1
    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        yield pa.RecordBatch.from_arrays(
            [
                _from_json(values, field, row) if is_json else values_of(values, field)
                for values, field, is_json in zip(batch.columns, fields, json_arrays, strict=True)
            ],
            names=names,
        )
        row += batch.num_rows


def _from_json(cells: pa.Array, field: Field, first_row: int) -> pa.Array:
    element = ELEMENTS[field.datatype]
    values = []
    for row, cell in enumerate(cells.to_pylist(), start=first_row):
        try:
            parsed = None if cell is None else _flat(json.loads(cell))
            values.append(parsed)
            pa.array(parsed or [], element)
        except (ValueError, TypeError, RecursionError, pa.ArrowException):
            shown = str(cell)[:40]
            raise UsageError(
                f"row {row}, column {field.name}: {shown!r} is no array of {field.datatype}"
            ) from None
    return values_of(pa.array(values, pa.list_(element)), field)


def _flat(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("no array")
    if value and all(isinstance(inner, list) for inner in value):
        return [element for inner in value for element in _flat(inner)]
    return value
