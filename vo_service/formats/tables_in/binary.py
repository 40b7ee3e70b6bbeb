"""Decoder of the BINARY and BINARY2 streams of VOTable, in columns.

Where each piece of fixed width starts in a row is found row by row; its bytes are then taken
for all rows at once. A table without columns of varying width needs no loop at all.
Source: VOTable 1.4, "Data Stream formats: BINARY, BINARY2".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from vo_service.errors import UsageError
from vo_service.formats.tables_in.fields import Spec
from vo_service.formats.tables_in.values import Bytes, from_bytes, lists, masked, text_of

__all__ = ["BinaryDecoder"]

_LENGTH = struct.Struct(">i")
_BATCH_BYTES = 4_000_000
_BATCH_ROWS = 50_000


@dataclass(slots=True)
class _Run:
    """Neighbouring columns of fixed width and the column of varying width that ends them."""

    fixed: list[tuple[int, int, int]] = field(default_factory=list)  # column, start, end
    size: int = 0
    varying: int | None = None


class BinaryDecoder:
    """Bytes of a stream to record batches.

    Parameters
    ----------
    specs
        The columns.
    flags
        True for BINARY2 (null flags before each row), False for BINARY.
    """

    def __init__(self, specs: Sequence[Spec], *, flags: bool) -> None:
        self._specs = tuple(specs)
        self._flag_bytes = (len(specs) + 7) // 8 if flags else 0
        self._runs = self._make_runs()
        self._names = [spec.name for spec in specs]
        self._buffer = bytearray()
        self._rows = 0

    def feed(self, data: bytes) -> Iterator[pa.RecordBatch]:
        """Take bytes; the rows that they complete come in large batches."""
        self._buffer += data
        if len(self._buffer) >= _BATCH_BYTES:
            yield from self._decode()

    def finish(self) -> Iterator[pa.RecordBatch]:
        """The last rows.

        Raises
        ------
        UsageError
            The stream ends within a row.
        """
        yield from self._decode()
        if self._buffer:
            raise UsageError(
                f"row {self._rows + 1}: the data end within the row, "
                f"{len(self._buffer)} bytes are left"
            )

    def _make_runs(self) -> list[_Run]:
        runs = [_Run(size=self._flag_bytes)]
        for index, spec in enumerate(self._specs):
            run = runs[-1]
            if spec.width is None:
                run.size += _LENGTH.size
                run.varying = index
                runs.append(_Run())
            else:
                run.fixed.append((index, run.size, run.size + spec.width))
                run.size += spec.width
        if runs[-1].size == 0:
            runs.pop()
        if not runs:
            raise UsageError("the rows of this table have no bytes")
        return runs

    def _decode(self) -> Iterator[pa.RecordBatch]:
        while True:
            starts, cells, end = self._scan()
            if not starts[0]:
                return
            data = bytes(self._buffer[:end])
            del self._buffer[:end]
            yield self._batch(np.frombuffer(data, np.uint8), data, starts, cells)

    def _scan(self) -> tuple[list[list[int]], list[list[tuple[int, int]]], int]:
        """Where runs start and cells of varying width lie, for the whole rows in the buffer."""
        buffer, end = self._buffer, 0
        starts: list[list[int]] = [[] for _ in self._runs]
        cells: list[list[tuple[int, int]]] = [[] for _ in self._specs]
        if len(self._runs) == 1 and self._runs[0].varying is None:
            size = self._runs[0].size
            count = min(len(buffer) // size, _BATCH_ROWS)
            return [list(range(0, count * size, size))], cells, count * size
        for _ in range(_BATCH_ROWS):
            at = end
            row: list[int] = []
            found: list[tuple[int, tuple[int, int]]] = []
            for run in self._runs:
                row.append(at)
                at += run.size
                if at > len(buffer):
                    return starts, cells, end
                if run.varying is not None:
                    size = self._size_at(at - _LENGTH.size, run.varying, len(starts[0]))
                    found.append((run.varying, (at, at + size)))
                    at += size
            if at > len(buffer):
                return starts, cells, end
            for collected, start in zip(starts, row, strict=True):
                collected.append(start)
            for column, cell in found:
                cells[column].append(cell)
            end = at
        return starts, cells, end

    def _size_at(self, at: int, column: int, row: int) -> int:
        (count,) = _LENGTH.unpack_from(self._buffer, at)
        spec = self._specs[column]
        if count < 0:
            raise UsageError(
                f"row {self._rows + row + 1}, column {spec.name}: an array of {count} elements"
            )
        return spec.bytes_of(count)

    def _batch(
        self,
        raw: Bytes,
        data: bytes,
        starts: list[list[int]],
        cells: list[list[tuple[int, int]]],
    ) -> pa.RecordBatch:
        first = self._rows + 1
        self._rows += len(starts[0])
        pieces = [
            sliding_window_view(raw, run.size)[begins]
            for run, begins in zip(self._runs, starts, strict=True)
        ]
        absent = self._absent(pieces[0])
        columns: list[pa.Array | None] = [None] * len(self._specs)
        for run, piece in zip(self._runs, pieces, strict=True):
            for index, begin, end in run.fixed:
                values = np.ascontiguousarray(piece[:, begin:end])
                columns[index] = _fixed(
                    values, self._specs[index], first, empty_is_null=absent is None
                )
            if run.varying is not None:
                contents = [data[begin:end] for begin, end in cells[run.varying]]
                counts = np.ascontiguousarray(piece[:, -_LENGTH.size :]).view(">i4").ravel()
                columns[run.varying] = _varying(
                    contents, counts, self._specs[run.varying], first,
                    empty_is_null=absent is None,
                )  # fmt: skip
        if absent is not None:
            columns = [
                masked(column, absent[:, index]) if absent[:, index].any() else column
                for index, column in enumerate(columns)
            ]
        return pa.RecordBatch.from_arrays(columns, names=[str(i) for i in range(len(columns))])

    def _absent(self, piece: Bytes) -> NDArray[np.bool_] | None:
        if not self._flag_bytes:
            return None
        bits = np.unpackbits(np.ascontiguousarray(piece[:, : self._flag_bytes]), axis=1)
        return bits[:, : len(self._specs)].astype(bool)


def _fixed(values: Bytes, spec: Spec, first_row: int, *, empty_is_null: bool) -> pa.Array:
    """A column whose values all have the same width; *values* has one row of bytes for each."""
    rows = len(values)
    if spec.is_text:
        return _text([row.tobytes() for row in values], spec, empty_is_null=empty_is_null)
    if spec.datatype == "bit" and not spec.is_list:
        values = values != 0  # the first bit by the standard, the fifth as astropy writes it
    elif spec.datatype == "bit":
        values = np.ascontiguousarray(np.unpackbits(values, axis=1)[:, : spec.count])
    elements = from_bytes(values.reshape(-1), spec, first_row)
    if not spec.is_list:
        return _without_null(elements, spec)
    length = len(elements) // rows if rows else 0
    return _array_column(elements, np.full(rows, length), spec, first_row)


def _varying(
    contents: Sequence[bytes],
    counts: NDArray[np.int32],
    spec: Spec,
    first_row: int,
    *,
    empty_is_null: bool,
) -> pa.Array:
    """A column whose values differ in width; an empty one is null where nothing else tells."""
    if spec.is_text:
        return _text(contents, spec, empty_is_null=empty_is_null)
    raw = np.frombuffer(b"".join(contents), np.uint8)
    if spec.datatype == "bit":
        bits = [
            np.unpackbits(np.frombuffer(content, np.uint8))[:count]
            for content, count in zip(contents, counts, strict=True)
        ]
        raw = np.concatenate(bits) if bits else raw
    lengths = counts * 2 if spec.datatype.endswith("Complex") else counts
    elements = from_bytes(raw, spec, first_row)
    made = _array_column(elements, lengths, spec, first_row)
    return masked(made, counts == 0) if empty_is_null else made


def _array_column(
    elements: pa.Array, lengths: NDArray[np.int32], spec: Spec, first_row: int
) -> pa.Array:
    """Lists of elements; one of unknown truth values alone is null."""
    made = lists(elements, lengths, None)
    if not elements.null_count:
        return made
    absent = np.zeros(len(made), bool)
    for row, values in enumerate(made.to_pylist()):
        if values and all(value is None for value in values):
            absent[row] = True
    return masked(made, absent)


def _text(contents: Sequence[bytes], spec: Spec, *, empty_is_null: bool) -> pa.Array:
    """Strings: they end at the first NUL; in a list of strings NUL is padding."""
    padded = "x" in (spec.field.arraysize or "")
    if spec.datatype == "unicodeChar":
        texts = [content.decode("utf-16-be", "replace") for content in contents]
        cut = [t.replace("\0", " ") if padded else t.split("\0", 1)[0] for t in texts]
        column = pa.array(cut, pa.string())
    else:
        chars = [c.replace(b"\0", b" ") if padded else c.split(b"\0", 1)[0] for c in contents]
        column = text_of(pa.array(chars, pa.binary()))
    if empty_is_null:
        return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    return column


def _without_null(elements: pa.Array, spec: Spec) -> pa.Array:
    """*elements* with null instead of the declared number for it."""
    if spec.null is None or not pa.types.is_integer(elements.type):
        return elements
    try:
        null = pa.scalar(int(spec.null, 0), elements.type)
    except (ValueError, OverflowError, pa.ArrowException):
        return elements  # no value of this type: nothing can be it
    return pc.if_else(pc.equal(elements, null), pa.scalar(None, elements.type), elements)
