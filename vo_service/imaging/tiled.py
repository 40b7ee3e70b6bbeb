"""The pixels of a box in a tile-compressed image: only the tiles that it meets are unpacked.

They come out as an uncompressed image has them: stored values, big-endian, to be scaled by
BSCALE and BZERO; floating-point images have NaN where they are blank.
Source: FITS 4.0, "Tiled image compression".
"""

from __future__ import annotations

import errno
import io
import math
import os
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.io import fits

from vo_service.errors import UsageError
from vo_service.imaging.boxes import Box

__all__ = ["PIXEL_TYPES", "TiledPixels"]

#: Bytes unpacked at once where the tiles are smaller.
_SLAB = 1 << 20
#: Bytes of one row of tiles at most: they are all in memory at once.
_LARGEST = 512 << 20

#: BITPIX to the numpy type of stored pixels.
PIXEL_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


@dataclass
class TiledPixels:
    """A *box* of the image in HDU *hdu* of the open file *descriptor*."""

    descriptor: int
    hdu: int
    bitpix: int
    shape: tuple[int, ...]
    tile: tuple[int, ...]
    box: Box
    _file: Any = field(init=False, default=None)
    _slab: tuple[int, bytes] = field(init=False, default=(-1, b""))

    def __post_init__(self) -> None:
        rows = (1,) * (len(self.shape) - 1)  # the default: a tile is a row
        tiles = self.tile[1:] if len(self.tile) == len(self.shape) else rows
        deep = math.prod(map(min, tiles, self.shape[1:]))
        if deep * self.shape[0] * self._width > _LARGEST:
            raise UsageError(
                f"HDU {self.hdu}: its tiles have more than {_LARGEST} bytes in a row; "
                "expected smaller ones, or the whole file from /data/"
            )
        lengths = [stop - start for start, stop in self.box]
        self._row = lengths[0] * self._width
        self._rows = lengths[1] if len(lengths) > 1 else 1
        self._outer = lengths[2:]
        height = tiles[0] if tiles else 1
        self._height = height * max(1, _SLAB // max(1, self._row * height))

    @property
    def _width(self) -> int:
        return abs(self.bitpix) // 8

    @property
    def size(self) -> int:
        """Bytes of the box."""
        return self._row * self._rows * math.prod(self._outer)

    def read(self, position: int, count: int) -> bytes:
        """At least one byte and at most *count* of the box from *position* on.

        Raises
        ------
        OSError
            If the tiles are damaged or the file cannot be read.
        """
        first, slab = self._slab
        if not first <= position < first + len(slab) or first < 0:
            first, slab = self._slab = self._unpacked(position)
        return slab[position - first : position - first + count]

    def _unpacked(self, position: int) -> tuple[int, bytes]:
        """Some rows around a position, and where they begin; cut at the edges of tiles."""
        plane, row = divmod(position // self._row, self._rows)
        index: list[slice] = []
        for length, (start, _) in zip(self._outer, self.box[2:], strict=True):
            plane, along = divmod(plane, length)
            index.insert(0, slice(start + along, start + along + 1))
        if len(self.box) > 1:
            start, stop = self.box[1]
            low = (start + row) // self._height * self._height
            index.append(slice(max(low, start), min(low + self._height, stop)))
            first = position // self._row - row + max(low, start) - start
        else:
            first = 0
        index.append(slice(*self.box[0]))
        return first * self._row, self._section(tuple(index))

    def _section(self, index: tuple[slice, ...]) -> bytes:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if self._file is None:
                    self._file = _opened(self.descriptor)
                pixels = np.asarray(self._file[self.hdu].section[index])
        except Exception as error:  # every codec has its own
            raise OSError(errno.EIO, f"the tiles of HDU {self.hdu} cannot be unpacked") from error
        return pixels.astype(PIXEL_TYPES[self.bitpix]).tobytes()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()


def _opened(descriptor: int) -> Any:
    file = io.FileIO(os.dup(descriptor), "rb")
    file.seek(0)
    return fits.open(file, memmap=True, do_not_scale_image_data=True, lazy_load_hdus=True)
