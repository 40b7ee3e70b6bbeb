"""The pixels of a box in an uncompressed image, read where they lie and copied as they are.

Positions count bytes of the box, first axis fastest, as they will stand in the cutout.
Source: FITS 4.0, "Primary data array".
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from vo_service.imaging.boxes import Box

__all__ = ["Read", "StoredPixels"]

#: Bytes of a file: (position, count) to at most as many; never none.
Read = Callable[[int, int], bytes]

#: Bytes between two rows that are read and thrown away rather than skipped: a page.
_GAP = 4096


@dataclass(frozen=True)
class StoredPixels:
    """A *box* of an image of *shape* whose data begin at *offset*; *width* is bytes per pixel."""

    read_file: Read
    offset: int
    shape: tuple[int, ...]
    width: int
    box: Box
    #: Bytes that lie together, the lengths of the axes outside of them, and their steps in bytes.
    run: int = field(init=False)
    outer: tuple[int, ...] = field(init=False)
    steps: tuple[int, ...] = field(init=False)
    start: int = field(init=False)

    def __post_init__(self) -> None:
        strides = [self.width * math.prod(self.shape[:axis]) for axis in range(len(self.shape))]
        lengths = [stop - start for start, stop in self.box]
        inner = 0
        while inner < len(self.shape) - 1 and lengths[inner] == self.shape[inner]:
            inner += 1
        fixed = object.__setattr__
        fixed(self, "run", strides[inner] * lengths[inner])
        fixed(self, "outer", tuple(lengths[inner + 1 :]))
        fixed(self, "steps", tuple(strides[inner + 1 :]))
        begin = sum(stride * start for stride, (start, _) in zip(strides, self.box, strict=True))
        fixed(self, "start", self.offset + begin)

    @property
    def size(self) -> int:
        """Bytes of the box."""
        return self.run * math.prod(self.outer)

    def read(self, position: int, count: int) -> bytes:
        """At least one byte and at most *count* of the box from *position* on.

        Raises
        ------
        OSError
            If the file ends before, or was changed.
        """
        index, within = divmod(position, self.run)
        if within or count < self.run:
            return self._exactly(self._place(index) + within, min(count, self.run - within))
        parts = []
        left = min(count // self.run, math.prod(self.outer) - index)
        while left:
            along = min(left, self.outer[0] - index % self.outer[0]) if self.outer else left
            parts.append(self._runs(self._place(index), along))
            index, left = index + along, left - along
        return b"".join(parts)

    def _runs(self, place: int, number: int) -> bytes:
        """Runs that follow each other along the first of the outer axes."""
        if number == 1 or not self.steps:
            return self._exactly(place, self.run)
        step = self.steps[0]
        if step - self.run > _GAP:
            return b"".join(self._exactly(place + step * row, self.run) for row in range(number))
        span = self._exactly(place, step * (number - 1) + self.run)
        rows = np.lib.stride_tricks.as_strided(
            np.frombuffer(span, np.uint8), (number, self.run), (step, 1), writeable=False
        )
        return rows.tobytes()

    def _place(self, index: int) -> int:
        """Where in the file a run begins."""
        place = self.start
        for length, step in zip(self.outer, self.steps, strict=True):
            index, along = divmod(index, length)
            place += along * step
        return place

    def _exactly(self, place: int, count: int) -> bytes:
        part = self.read_file(place, count)
        if len(part) == count:
            return part
        parts = [part]
        while part and (got := sum(map(len, parts))) < count:
            part = self.read_file(place + got, count - got)
            parts.append(part)
        if sum(map(len, parts)) < count:
            raise OSError(errno.EIO, "the file is shorter than its header says")
        return b"".join(parts)
