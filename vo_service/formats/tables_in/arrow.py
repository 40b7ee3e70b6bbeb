"""Arrow tables, as CSV and Parquet readers give them, in the types of our fields.

Whole numbers keep their size (unsigned ones the next larger), decimals become ``double``,
dates and times of day with a date become timestamps, everything else that is text is text.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from vo_service.errors import UsageError
from vo_service.formats.columns import ELEMENTS
from vo_service.model.table import Field

__all__ = ["field_of", "values_of"]

_TYPES: tuple[tuple[str, Any], ...] = (
    ("boolean", pa.types.is_boolean),
    ("short", lambda t: t in (pa.int8(), pa.uint8(), pa.int16())),
    ("int", lambda t: t in (pa.uint16(), pa.int32())),
    ("long", pa.types.is_integer),
    ("float", lambda t: pa.types.is_float16(t) or pa.types.is_float32(t)),
    ("double", lambda t: pa.types.is_float64(t) or pa.types.is_decimal(t)),
    ("char", lambda t: pa.types.is_string(t) or pa.types.is_large_string(t)),
    ("char", lambda t: pa.types.is_string_view(t) or pa.types.is_null(t) or pa.types.is_time(t)),
)


def field_of(name: str, kind: Any, **metadata: str | None) -> Field:
    """The field of an Arrow column of type *kind*; *metadata* as in `Field`.

    Raises
    ------
    UsageError
        No column of ours can hold such values.
    """
    kind = _plain(kind)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        metadata["xtype"] = "timestamp"
        return Field(name=name, datatype="char", arraysize="*", **metadata)
    if (inner := _list_element(kind)) is not None:
        datatype = _datatype(_plain(inner))
        if datatype in (None, "char"):
            raise UsageError(f"column {name}: lists of {inner} cannot be read")
        size = kind.list_size if pa.types.is_fixed_size_list(kind) else 0
        return Field(name=name, datatype=datatype or "", arraysize=str(size or "*"), **metadata)
    datatype = _datatype(kind)
    if datatype is None:
        raise UsageError(f"column {name}: values of type {kind} cannot be read")
    return Field(
        name=name, datatype=datatype, arraysize="*" if datatype == "char" else None, **metadata
    )


def values_of(column: pa.Array, field: Field) -> pa.Array:
    """A column in the Arrow type of its field.

    Raises
    ------
    UsageError
        A value has no place in it: an unsigned number above 2^63, a null in an array of whole
        numbers.
    """
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        if field.xtype == "timestamp" and not pa.types.is_string(column.type):
            # An instant with a zone becomes UTC; whatever is finer than a microsecond is cut.
            stamp = column.cast(pa.timestamp("us", getattr(column.type, "tz", None)), safe=False)
            return stamp.cast(pa.timestamp("us"))
        element = ELEMENTS[field.datatype]
        if _list_element(column.type) is not None:
            column = column.cast(pa.list_(_list_element(column.type)))
            inner = column.flatten()
            if inner.null_count and not pa.types.is_floating(element):
                raise UsageError(
                    f"column {field.name}: an array of {field.datatype} cannot hold nulls"
                )
            return column.cast(pa.list_(element))
        return column.cast(element)
    except pa.ArrowInvalid as error:
        raise UsageError(f"column {field.name}: {error}") from error


def _plain(kind: Any) -> Any:
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _list_element(kind: Any) -> Any:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return kind.value_type
    return None


def _datatype(kind: Any) -> str | None:
    return next((name for name, holds in _TYPES if holds(kind)), None)
