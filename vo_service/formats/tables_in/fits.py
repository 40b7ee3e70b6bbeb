"""Reader of uploaded FITS files: the first table, binary or ASCII.

astropy reads; a broken file may end in any exception of its own, which becomes a `UsageError`.
Source: FITS 4.0, "Binary table extension", "ASCII table extension".
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from astropy.io import fits
from numpy.typing import NDArray

from vo_service.errors import UsageError
from vo_service.formats.columns import ELEMENTS
from vo_service.formats.tables_in.refusal import unreadable
from vo_service.formats.tables_in.values import lists, masked, text_of
from vo_service.model.table import Field

__all__ = ["read_fits"]

_BATCH_ROWS = 20_000
_KINDS = {"i2": "short", "u1": "short", "i1": "short", "i4": "int", "u2": "int", "u4": "long",
          "i8": "long", "u8": "long", "f4": "float", "f8": "double", "c8": "float",
          "c16": "double", "b1": "boolean"}  # fmt: skip


def read_fits(file: BinaryIO) -> tuple[tuple[Field, ...], Iterator[pa.RecordBatch]]:
    """Columns and rows of the first table.

    Raises
    ------
    UsageError
        There is no table, or it cannot be read; from the iterator too.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hdus = fits.open(file, memmap=False, lazy_load_hdus=True, ignore_missing_simple=False)
            hdu = _first_table(hdus, file)
            columns = [_FitsColumn(hdu, number) for number in range(len(hdu.columns))]
    except UsageError:
        raise
    except Exception as error:  # astropy's parsers raise whatever a broken file provokes
        raise unreadable("the FITS table", error) from error
    if not columns:
        raise UsageError("the FITS table has no columns")
    return tuple(column.field for column in columns), _batches(hdu, columns)


def _first_table(hdus: fits.HDUList, file: BinaryIO) -> Any:
    number = 0
    while True:
        try:
            hdu = hdus[number]
        except IndexError:
            raise UsageError("the FITS file holds no table extension") from None
        if isinstance(hdu, fits.BinTableHDU | fits.TableHDU):
            break
        number += 1
    size = file.seek(0, 2)
    wanted = hdu.fileinfo()["datLoc"] + hdu.size
    if wanted > size:
        raise UsageError(f"the FITS file ends early: {size} bytes of at least {wanted} are there")
    return hdu


class _FitsColumn:
    """One column: its field, and its values as Arrow arrays."""

    def __init__(self, hdu: Any, number: int) -> None:
        column = hdu.columns[number]
        self._number = number
        self._null = column.null
        name = (column.name or "").strip()
        if not name:
            raise UsageError(f"column {number + 1} of the FITS table has no name")
        self._width = 0  # of each string in a list of strings
        sample = hdu.data.field(number)[:0]
        self._varying = sample.dtype == object
        header = hdu.header
        self.field = Field(
            name=name,
            **self._types(column, sample),
            unit=column.unit or None,
            ucd=_card(header, "TUCD", number),
            utype=_card(header, "TUTYP", number),
            xtype=_card(header, "TXTYP", number),
            description=_card(header, "TCOMM", number) or _card(header, "TDESC", number),
        )

    def _types(self, column: Any, sample: Any) -> dict[str, Any]:
        if self._varying:
            code = re.match(r"\d*[PQ]([A-Z])", str(column.format))
            letter = code[1] if code else ""
            if letter == "A":
                return {"datatype": "char", "arraysize": "*"}
            varying = {"L": "b1", "X": "b1", "B": "u1", "I": "i2", "J": "i4", "K": "i8",
                       "E": "f4", "D": "f8", "C": "c8", "M": "c16"}  # fmt: skip
            if letter not in varying:
                raise UsageError(f"column {column.name}: format {column.format} cannot be read")
            pair = "2x*" if letter in "CM" else "*"
            return {"datatype": _KINDS[varying[letter]], "arraysize": pair}
        if sample.dtype.kind in "SU":
            inner = sample.shape[1:]
            if not inner:
                return {"datatype": "char", "arraysize": "*"}
            self._width = sample.dtype.itemsize // (4 if sample.dtype.kind == "U" else 1)
            return {"datatype": "char", "arraysize": _shape((*inner, self._width))}
        code_of = f"{sample.dtype.kind}{sample.dtype.itemsize}"
        if code_of not in _KINDS:
            raise UsageError(f"column {column.name}: format {column.format} cannot be read")
        shape: tuple[int, ...] = sample.shape[1:]
        if sample.dtype.kind == "c":
            shape = (*shape, 2)
        return {"datatype": _KINDS[code_of], "arraysize": _shape(shape)}

    def values(self, data: Any, first_row: int) -> pa.Array:
        """The column of some rows."""
        found = data.field(self._number)
        if self._varying:
            return self._lists(found)
        if found.dtype.kind in "SU":
            return self._strings(np.asarray(found))
        plain = np.ascontiguousarray(np.asarray(found))
        element = ELEMENTS[self.field.datatype]
        if plain.dtype.kind == "c":
            plain = plain.view(plain.real.dtype)
        flat = plain.reshape(-1)
        native = flat.astype(flat.dtype.newbyteorder("="), copy=False)
        try:
            elements = pa.array(native).cast(element)
        except pa.ArrowInvalid as error:
            raise UsageError(f"column {self.field.name}: a value is too large: {error}") from error
        if self.field.arraysize is not None:
            rows = len(found)
            length = len(elements) // rows if rows else 0
            return lists(elements, np.full(rows, length), None)
        absent = self._absent(data, native)
        return elements if absent is None else masked(elements, absent)

    def _absent(self, data: Any, values: NDArray[Any]) -> NDArray[np.bool_] | None:
        if self.field.datatype == "boolean":
            raw = _raw_field(data, self._number)
            return np.asarray(raw == 0) if raw.dtype.kind in "iu" and (raw == 0).any() else None
        if self._null in (None, "") or values.dtype.kind not in "iu":
            return None
        return np.asarray(values == int(self._null))

    def _strings(self, found: NDArray[Any]) -> pa.Array:
        if found.dtype.kind == "U":
            found = np.char.encode(found, "utf-8", "replace")
        if found.ndim > 1:
            padded = [
                b"".join(bytes(text).ljust(self._width) for text in row.reshape(-1))
                for row in found
            ]
            return text_of(pa.array(padded, pa.binary()))
        texts = [bytes(text).rstrip(b" \0") or None for text in found.tolist()]
        return text_of(pa.array(texts, pa.binary()))

    def _lists(self, found: Any) -> pa.Array:
        if self.field.datatype == "char":
            return pa.array([_joined(value) for value in found], pa.string())
        element = ELEMENTS[self.field.datatype]
        parts = [np.asarray(value).reshape(-1) for value in found]
        if self.field.arraysize == "2x*":
            parts = [np.ascontiguousarray(part).view(part.real.dtype) for part in parts]
        lengths = [len(part) for part in parts]
        flat = np.concatenate(parts) if parts else np.empty(0)
        native = flat.astype(flat.dtype.newbyteorder("="))
        return lists(pa.array(native).cast(element), lengths, [n == 0 for n in lengths])


def _raw_field(data: Any, number: int) -> NDArray[Any]:
    return np.asarray(data.view(np.ndarray)[data.dtype.names[number]])


def _joined(value: Any) -> str | None:
    text = value if isinstance(value, str) else "".join(np.asarray(value).astype(str).reshape(-1))
    return text.rstrip(" \0") or None


def _shape(shape: tuple[int, ...]) -> str | None:
    """The arraysize of numpy's shape: the first VOTable dimension varies fastest."""
    if not shape:
        return None
    if 0 in shape:
        return "*"
    return "x".join(str(side) for side in reversed(shape))


def _card(header: Any, keyword: str, number: int) -> str | None:
    value = header.get(f"{keyword}{number + 1}")
    return str(value).strip() or None if value is not None else None


def _batches(hdu: Any, columns: list[_FitsColumn]) -> Iterator[pa.RecordBatch]:
    names = [str(number) for number in range(len(columns))]
    for start in range(0, len(hdu.data), _BATCH_ROWS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                part = hdu.data[start : start + _BATCH_ROWS]
                arrays = [column.values(part, start + 1) for column in columns]
        except UsageError:
            raise
        except Exception as error:  # as in `read_fits`
            raise unreadable("the FITS table", error) from error
        yield pa.RecordBatch.from_arrays(arrays, names=names)
