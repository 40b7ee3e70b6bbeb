"""Tiles of a HiPS: where their pixels are on the sky, where they lie on disk, smaller from larger.

A tile is an array of 512 x 512 pixels in the order of FITS rows: row 0 is the lowest. The pixel at
(x, y) of the tile's HEALPix grid (x towards north-east, y towards north-west) stands in row
511 - x and column y, so that its picture, which begins with the highest row, has x downwards.
Source: HiPS 1.0, "HiPS tiles"; Gorski et al. 2005, ApJ 622, 759 (nested numbering).
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import healpy
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from PIL import Image as Pillow

from vo_service.imaging.grey import Floats

__all__ = [
    "ALLSKY_ORDER",
    "CELLS",
    "TILE",
    "allsky",
    "cells_of",
    "children",
    "halved",
    "order_for",
    "pixel_size",
    "read_tile",
    "tile_directions",
    "tile_path",
    "write_picture",
    "write_tile",
]

#: Pixels of a tile's side, and log2 of it.
TILE = 512
_DEPTH = 9
#: The order whose tiles are shown together, and the side of each there.
ALLSKY_ORDER, _ALLSKY_TILE = 3, 64
#: Cells of a tile's side that are noted in the coverage of a HiPS: 8 x 8, 3 orders deeper.
CELLS = 8
_MOST_ORDER = 29 - _DEPTH


def pixel_size(order: int) -> float:
    """Degrees: the side of a square as large as a pixel of the tiles of an order."""
    return float(healpy.nside2resol(1 << (order + _DEPTH), arcmin=True)) / 60.0


def order_for(scale: float) -> int:
    """The first order whose pixels are not larger than *scale* degrees."""
    return next((order for order in range(_MOST_ORDER) if pixel_size(order) <= scale), _MOST_ORDER)


def tile_path(order: int, tile: int, ending: str) -> str:
    """Where a tile lies below the root of its HiPS."""
    return f"Norder{order}/Dir{tile // 10000 * 10000}/Npix{tile}.{ending}"


def tile_directions(order: int, tile: int) -> NDArray[np.float64]:
    """ICRS unit vectors of the centres of a tile's pixels, row by row, shape (512 * 512, 3)."""
    numbers = (tile << 2 * _DEPTH) + _nested().ravel()
    vectors = healpy.pix2vec(1 << (order + _DEPTH), numbers, nest=True)
    return np.column_stack(vectors)


def _nested() -> NDArray[np.int64]:
    """Numbers of the pixels within a tile, as its array has them."""
    bits = np.zeros(TILE, dtype=np.int64)
    along = np.arange(TILE)
    for bit in range(_DEPTH):
        bits |= ((along >> bit) & 1) << 2 * bit
    x, y = bits[::-1, None], bits[None, :]
    return np.asarray(x | y << 1, dtype=np.int64)


def children(tile: int) -> Iterator[tuple[int, slice, slice]]:
    """Tiles of the next order, and which rows and columns of their parent they are."""
    half = TILE // 2
    low, high = slice(0, half), slice(half, TILE)
    for number, (rows, columns) in enumerate(((high, low), (low, low), (high, high), (low, high))):
        yield 4 * tile + number, rows, columns


def halved(tile: Floats) -> Floats:
    """Means of 2 x 2 pixels, of those that are not blank."""
    parts = tile.reshape(tile.shape[0] // 2, 2, tile.shape[1] // 2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all four blank: blank again
        return np.asarray(np.nanmean(parts, axis=(1, 3)), dtype=np.float32)


def cells_of(tile: Floats) -> list[int]:
    """Which of the 64 cells of a tile, three orders deeper and nested, have a pixel."""
    side = TILE // CELLS
    there = np.isfinite(tile).reshape(CELLS, side, CELLS, side).any(axis=(1, 3))
    numbers = _nested().reshape(CELLS, side, CELLS, side)[:, 0, :, 0] >> 2 * (_DEPTH - 3)
    return sorted(int(number) for number in numbers[there])


def write_tile(place: Path, tile: Floats, order: int, number: int) -> None:
    """Write a FITS tile that is whole or absent; a hard link to an old one stays what it is."""
    header = fits.Header(
        [
            ("ORDER", order, "order of the tile"),
            ("NPIX", number, "number of the tile, nested"),
            ("COORDSYS", "C", "equatorial (ICRS)"),
        ]
    )
    _write(place, lambda out: fits.PrimaryHDU(tile.astype(">f4"), header).writeto(out))


def read_tile(place: Path) -> Floats | None:
    """A tile as it was written; None where there is none."""
    try:
        with fits.open(place, memmap=False) as hdus:
            return np.asarray(hdus[0].data, dtype=np.float32)
    except FileNotFoundError:
        return None


def write_picture(place: Path, picture: Pillow.Image, form: str) -> None:
    """Write a picture as ``png``, ``webp`` (blank pixels are transparent) or ``jpeg``."""
    if form == "jpeg":
        _write(place, lambda out: picture.getchannel("L").save(out, "JPEG", quality=90))
    elif form == "webp":
        _write(place, lambda out: picture.convert("RGBA").save(out, "WEBP", quality=90, method=2))
    else:
        _write(place, lambda out: picture.save(out, "PNG"))


def _write(place: Path, write: Callable[[IO[bytes]], object]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=".", dir=place.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            write(out)
        Path(draft).chmod(0o644)
        Path(draft).replace(place)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def allsky(root: Path, order: int) -> Floats:
    """All tiles of an order side by side, 64 pixels wide each, in rows from the highest on.

    Returns
    -------
    ndarray
        In the order of FITS rows; NaN where there is nothing.
    """
    number = 12 * 4**order
    across = int(number**0.5)
    down = -(-number // across)
    shown = np.full((down * _ALLSKY_TILE, across * _ALLSKY_TILE), np.nan, dtype=np.float32)
    for tile in range(number):
        found = read_tile(root / tile_path(order, tile, "fits"))
        if found is None:
            continue
        while found.shape[0] > _ALLSKY_TILE:
            found = halved(found)
        top = (down - 1 - tile // across) * _ALLSKY_TILE
        left = tile % across * _ALLSKY_TILE
        shown[top : top + _ALLSKY_TILE, left : left + _ALLSKY_TILE] = found
    return shown
