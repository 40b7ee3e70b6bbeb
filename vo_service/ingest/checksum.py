"""FITS checksums of a header, without a look at its data.

Source: FITS 4.0, "Checksum keywords" and "Checksum implementation guidelines": sums of 32-bit
big-endian words in 1's complement arithmetic; that of a whole HDU is -0, all bits set.
"""

from __future__ import annotations

import numpy as np

__all__ = ["encode_checksum", "sum32"]

_ONES = 0xFFFFFFFF
#: Characters between digits and letters, which the encoding avoids.
_AVOIDED = frozenset((*range(0x3A, 0x41), *range(0x5B, 0x61)))


def sum32(data: bytes, start: int = 0) -> int:
    """The sum of *start* and all words of *data*, whose length is a multiple of 4."""
    total = start + int(np.frombuffer(data, ">u4").sum(dtype=np.uint64))
    while total > _ONES:
        total = (total & _ONES) + (total >> 32)
    return total


def encode_checksum(total: int) -> str:
    """CHECKSUM of an HDU whose sum is *total* with sixteen zeros in its place."""
    value = total ^ _ONES
    characters = [0] * 16
    for place, shift in enumerate((24, 16, 8, 0)):
        byte = value >> shift & 0xFF
        four = [byte // 4 + byte % 4 + 0x30, *[byte // 4 + 0x30] * 3]
        while any(character in _AVOIDED for character in four):
            for first in (0, 2):
                if {four[first], four[first + 1]} & _AVOIDED:
                    four[first] += 1
                    four[first + 1] -= 1
        characters[place::4] = four
    text = bytes(characters).decode("ascii")
    # The value of a card begins in its twelfth byte: one byte before a word.
    return text[-1] + text[:-1]
