"""Loops over the bytes of rows, compiled by Numba: the only work done for each value.

A message is a type and an int32 length that counts itself; a row (DataRow) holds an int16 count
of fields, each an int32 length (-1: null) and its bytes; numbers have the highest byte first.
Source: PostgreSQL, "Frontend/Backend Protocol", "Message Formats"; arrays as `array_send` writes
them. All loops run without Python's lock, beside the thread that encodes what they made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["BITS", "LIST", "NUMBERS", "PLAN", "TEXT", "TIMES", "fill", "index", "measure", "walk"]

_F = TypeVar("_F", bound=Callable[..., Any])
Bytes = NDArray[np.uint8]
#: Of a column: where each value begins, and its length; of all: (columns, 2, rows).
Found = NDArray[np.int32]
Integers = NDArray[np.int64]

#: What a column is made into: bits, numbers of 1 to 8 bytes, times, bytes of any length, lists.
BITS, NUMBERS, TIMES, TEXT, LIST = range(5)

#: Numbers that plan a column: where its validity, offsets, values and the validity of its
#: elements begin, its elements or bytes (once filled: its null elements), its nulls.
PLAN = 6
_VALID, _OFFSETS, _VALUES, _INNER, _COUNT, _NULLS = range(PLAN)

#: Microseconds from 1970 to 2000, from which PostgreSQL counts.
_EPOCH = 946_684_800_000_000
_ROW = ord("D")
_HEADING = 5
_ALIGNED = 64
#: Of an array: dimensions, flags, type of its elements, and for its one dimension length, bound.
_LIST_HEADING = 20


def _compiled(function: _F) -> _F:
    """*function* as machine code, kept on disk where a directory for that can be written."""
    try:
        return numba.njit(function, nogil=True, cache=True)  # type: ignore[no-any-return] # untyped
    except RuntimeError:  # no such directory
        return numba.njit(function, nogil=True)  # type: ignore[no-any-return] # untyped


@_compiled
def _int32(buffer: Bytes, at: int) -> int:
    value = (
        (np.uint32(buffer[at]) << 24)
        | (np.uint32(buffer[at + 1]) << 16)
        | (np.uint32(buffer[at + 2]) << 8)
        | np.uint32(buffer[at + 3])
    )
    return np.int64(np.int32(value))  # type: ignore[return-value]  # an int to Numba


@_compiled
def walk(buffer: Bytes, at: int, end: int) -> tuple[int, int, int]:
    """Go from message to message while they are rows.

    Returns
    -------
    next, last, rows
        Where the first message begins that is no row, or of which too little is there (it may
        lie behind *end*; -1: there is none), where the last one that was counted begins, and how
        many were.
    """
    last, rows = at, 0
    while at + _HEADING <= end and buffer[at] == _ROW:
        length = _int32(buffer, at + 1)
        if length < 4:
            return -1, last, rows
        last = at
        at += 1 + length
        rows += 1
    return at, last, rows


@_compiled
def index(buffer: Bytes, found: Found) -> bool:
    """Find all values; False if a row has another number of fields, or ends elsewhere."""
    at, columns = 0, found.shape[0]
    for row in range(found.shape[2]):
        end = at + 1 + _int32(buffer, at + 1)
        at += _HEADING
        if (np.int64(buffer[at]) << 8) | buffer[at + 1] != columns:
            return False
        at += 2
        for column in range(columns):
            if at + 4 > end:
                return False
            length = _int32(buffer, at)
            at += 4
            found[column, 0, row] = at
            found[column, 1, row] = length
            at += max(length, 0)
        if at != end:
            return False
    return True


@_compiled
def _elements(buffer: Bytes, at: int, length: int) -> int:
    """How many elements an array has; -1 if it has more than one dimension."""
    if length < 12 or _int32(buffer, at) == 0:
        return 0
    return _int32(buffer, at + 12) if _int32(buffer, at) == 1 else -1


@_compiled
def _count(buffer: Bytes, kind: int, size: int, found: Found, plan: Integers) -> bool:
    """Count nulls, and elements or bytes; False if a value has another size than its type."""
    plan[_COUNT] = plan[_NULLS] = 0
    for row in range(found.shape[1]):
        length = found[1, row]
        if length < 0:
            plan[_NULLS] += 1
        elif kind == TEXT:
            plan[_COUNT] += length
        elif kind == LIST:
            elements = _elements(buffer, found[0, row], length)
            if elements < 0:
                return False
            plan[_COUNT] += elements
        elif length != size:
            return False
    return True


@_compiled
def _room(size: int) -> int:
    return (size + _ALIGNED - 1) // _ALIGNED * _ALIGNED


@_compiled
def measure(buffer: Bytes, kinds: Integers, found: Found, plan: Integers) -> int:
    """Lay out the columns one after the other in *plan* (columns, PLAN).

    *kinds* (columns, 2) holds what each is made into, and the bytes of a value or element.
    Returns the bytes of all, or minus the number of the first column (from 1) with a value that
    is not of its type.
    """
    at, rows = 0, found.shape[2]
    bits = _room((rows + 7) // 8)
    for column in range(len(kinds)):
        kind, size = kinds[column]
        if not _count(buffer, kind, size, found[column], plan[column]):
            return -(column + 1)
        varies = kind >= TEXT
        count = plan[column, _COUNT]
        plan[column, _VALID] = at
        plan[column, _OFFSETS] = at + bits
        plan[column, _VALUES] = at + bits + (_room(4 * (rows + 1)) if varies else 0)
        values = bits if kind == BITS else count if kind == TEXT else size * (
            count if kind == LIST else rows)  # fmt: skip
        plan[column, _INNER] = plan[column, _VALUES] + _room(values)
        at = plan[column, _INNER] + (_room((count + 7) // 8) if kind == LIST else 0)
    return at


@_compiled
def _swap(buffer: Bytes, at: int, size: int, made: Bytes, to: int) -> None:
    for byte in range(size):
        made[to + byte] = buffer[at + size - 1 - byte]


@_compiled
def _write(made: Bytes, to: int, value: int, size: int) -> None:
    for byte in range(size):
        made[to + byte] = (value >> (8 * byte)) & 0xFF


@_compiled
def _mark(made: Bytes, to: int, number: int) -> None:
    made[to + (number >> 3)] |= 1 << (number & 7)


@_compiled
def _bits(buffer: Bytes, found: Found, plan: Integers, made: Bytes) -> None:
    for row in range(found.shape[1]):
        if found[1, row] >= 0:
            _mark(made, plan[_VALID], row)
            if buffer[found[0, row]]:
                _mark(made, plan[_VALUES], row)


@_compiled
def _numbers(buffer: Bytes, size: int, found: Found, plan: Integers, made: Bytes) -> None:
    valid, values = plan[_VALID], plan[_VALUES]
    for row in range(found.shape[1]):
        if found[1, row] >= 0:
            _mark(made, valid, row)
            if size == 8:  # loops of known length become single instructions
                _swap(buffer, found[0, row], 8, made, values + 8 * row)
            elif size == 4:
                _swap(buffer, found[0, row], 4, made, values + 4 * row)
            else:
                _swap(buffer, found[0, row], size, made, values + size * row)


@_compiled
def _times(buffer: Bytes, found: Found, plan: Integers, made: Bytes) -> None:
    """Microseconds since 1970. An infinite time, which has no form, is null."""
    for row in range(found.shape[1]):
        if found[1, row] < 0:
            continue
        value = np.int64(0)
        for byte in range(8):
            value = (value << 8) | np.int64(buffer[found[0, row] + byte])
        if -(2**63) < value < 2**63 - 1:
            _mark(made, plan[_VALID], row)
            _write(made, plan[_VALUES] + 8 * row, int(value + _EPOCH), 8)
        else:
            plan[_NULLS] += 1


@_compiled
def _texts(buffer: Bytes, found: Found, plan: Integers, made: Bytes) -> None:
    valid, offsets, values = plan[_VALID], plan[_OFFSETS], plan[_VALUES]
    rows, count = found.shape[1], 0
    for row in range(rows):
        _write(made, offsets + 4 * row, count, 4)
        at, length = found[0, row], found[1, row]
        if length >= 0:
            _mark(made, valid, row)
            to = values + count
            for byte in range(length):
                made[to + byte] = buffer[at + byte]
            count += length
    _write(made, offsets + 4 * rows, count, 4)


@_compiled
def _lists(buffer: Bytes, size: int, found: Found, plan: Integers, made: Bytes) -> None:
    rows, count, nulls = found.shape[1], 0, 0
    for row in range(rows):
        _write(made, plan[_OFFSETS] + 4 * row, count, 4)
        at, length = found[0, row], found[1, row]
        if length < 0:
            continue
        _mark(made, plan[_VALID], row)
        elements = _elements(buffer, at, length)
        at += _LIST_HEADING
        for _ in range(elements):
            held = _int32(buffer, at)
            at += 4 + max(held, 0)
            if held == size:
                _mark(made, plan[_INNER], count)
                _swap(buffer, at - size, size, made, plan[_VALUES] + count * size)
            else:
                nulls += 1
            count += 1
    _write(made, plan[_OFFSETS] + 4 * rows, count, 4)
    plan[_COUNT] = nulls


@_compiled
def fill(buffer: Bytes, kinds: Integers, found: Found, plan: Integers, made: Bytes) -> None:
    """Write the columns into *made* (zeroed bytes) as Arrow lays them out, where *plan* says."""
    for column in range(len(kinds)):
        kind, size = kinds[column]
        if kind == TEXT:
            _texts(buffer, found[column], plan[column], made)
        elif kind == LIST:
            _lists(buffer, size, found[column], plan[column], made)
        elif kind == BITS:
            _bits(buffer, found[column], plan[column], made)
        elif kind == TIMES:
            _times(buffer, found[column], plan[column], made)
        else:
            _numbers(buffer, size, found[column], plan[column], made)
