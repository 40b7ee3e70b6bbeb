"""The pictures of a file: what is in it, at a glance, in bounded memory.

The first image of a file is shown: averaged in squares until its longer side fits, from zscale's
lower limit to the brightest but a few, by asinh. Of a cube the mean of a few frames is shown. Of
very large frames not every row is read. Files without an image of two axes are for
`imaging.preview_plot`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as Pillow

from vo_service.errors import UsageError
from vo_service.imaging.boxes import Box
from vo_service.imaging.cutout import Pixels, Source, pixels_of
from vo_service.imaging.grey import Floats, grey, physical, pixel_type, zscale
from vo_service.imaging.preview_plot import is_line, plot_of
from vo_service.imaging.render import STRETCHES
from vo_service.imaging.tiled import TiledPixels
from vo_service.ingest.images import Image, images_of
from vo_service.model.observation import HDUHeader

__all__ = ["PREVIEW_SIZE", "THUMB_SIZE", "preview_of", "reduced", "thumbnail_of"]

#: Pixels of the longer side.
PREVIEW_SIZE, THUMB_SIZE = 1024, 128
#: Smaller images are enlarged, pixel by pixel, to about this.
_SMALLEST = 256

#: Frames of a cube that are averaged, evenly spaced.
_FRAMES = 5
#: Pixels that are read at most for one picture, and at once.
_MOST_READ = 100_000_000
_AT_ONCE = 4_000_000

#: The share of pixels that is shown white, at most: the cores of stars.
_WHITE = 0.002


def preview_of(source: Source, headers: Sequence[HDUHeader]) -> Pillow.Image:
    """The picture of a file, grey, at most `PREVIEW_SIZE` pixels wide and high; blocks.

    Raises
    ------
    HeaderError, UsageError
        If there is nothing to be shown, or it cannot be read: the text says why.
    TransientError
        If the file is not the one that the headers are of.
    OSError
        If it cannot be read.
    """
    images = images_of(tuple(headers))
    if not images:
        raise UsageError("the file holds no image")
    image = next((image for image in images if not is_line(image)), images[0])
    if headers[image.hdu].data_offset is None:
        raise UsageError("the file is compressed as a whole: pixels cannot be read one by one")
    if is_line(image):
        return plot_of(image, _line(source, headers, image), PREVIEW_SIZE)
    frame = reduced(source, headers, image, PREVIEW_SIZE)
    if not np.isfinite(frame).any():
        raise UsageError("all pixels are blank")
    picture = grey(frame, _limits(frame), STRETCHES["asinh"])
    enlarged = _SMALLEST // max(picture.size)
    if enlarged > 1:
        width, height = picture.size
        return picture.resize((width * enlarged, height * enlarged), Pillow.Resampling.NEAREST)
    return picture


def thumbnail_of(picture: Pillow.Image) -> Pillow.Image:
    """The same, small."""
    small = picture.copy()
    small.thumbnail((THUMB_SIZE, THUMB_SIZE), Pillow.Resampling.LANCZOS)
    return small


def reduced(source: Source, headers: Sequence[HDUHeader], image: Image, size: int) -> Floats:
    """An image of at least two axes, averaged until no side is longer than *size* pixels.

    Returns
    -------
    ndarray, shape (ny, nx)
        Physical values; NaN where all is blank.
    """
    plan = _Plan.of(image, size)
    total = np.zeros((plan.height, plan.width))
    number = np.zeros((plan.height, plan.width))
    for box in _frames(image):
        pixels = pixels_of(source, headers, image, box)
        try:
            for row in range(plan.height):
                _add(plan, _rows(image, pixels, plan, row), total[row], number[row])
        finally:
            if isinstance(pixels, TiledPixels):
                pixels.close()
    with np.errstate(invalid="ignore"):
        return (total / np.where(number > 0, number, np.nan)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Squares of *down* rows, of which *taken* are read, and *across* columns are one pixel."""

    across: int
    down: int
    taken: int
    width: int
    height: int

    @classmethod
    def of(cls, image: Image, size: int) -> _Plan:
        columns, rows = image.shape[:2]
        if columns > _AT_ONCE:
            raise UsageError(f"rows of {columns} pixels are too long to be shown")
        factor = max(1, -(-max(columns, rows) // size))
        across, down = min(factor, columns), min(factor, rows)
        height = rows // down
        allowed = _MOST_READ // (columns * height * min(_FRAMES, math.prod(image.shape[2:])))
        taken = min(down, max(1, allowed), max(1, _AT_ONCE // columns))
        return cls(across, down, taken, columns // across, height)


def _frames(image: Image) -> Iterator[Box]:
    """The boxes of a few frames, from the first to the last."""
    outer = image.shape[2:]
    number = math.prod(outer)
    for index in sorted(set(np.linspace(0, number - 1, min(_FRAMES, number)).astype(int).tolist())):
        place = np.unravel_index(index, outer, order="F") if outer else ()
        yield ((0, image.shape[0]), (0, image.shape[1]), *((int(i), int(i) + 1) for i in place))


def _rows(image: Image, pixels: Pixels, plan: _Plan, row: int) -> Floats:
    """The pixels of a row of squares, those in their middle, shape (taken, columns)."""
    columns = image.shape[0]
    first = row * plan.down + (plan.down - plan.taken) // 2
    width = columns * pixel_type(image.values).itemsize
    content = _exactly(pixels, first * width, plan.taken * width)
    return physical(content, image.values).reshape(plan.taken, columns)


def _exactly(pixels: Pixels, position: int, count: int) -> bytes:
    content = bytearray()
    while len(content) < count:
        content += pixels.read(position + len(content), count - len(content))
    return bytes(content)


def _add(plan: _Plan, rows: Floats, total: Floats, number: Floats) -> None:
    """Add the squares of a row to the sums."""
    squares = rows[:, : plan.width * plan.across].reshape(plan.taken, plan.width, plan.across)
    good = np.isfinite(squares)
    total += np.where(good, squares, 0.0).sum(axis=(0, 2), dtype=float)
    number += good.sum(axis=(0, 2))


def _line(source: Source, headers: Sequence[HDUHeader], image: Image) -> Floats:
    """All values of an image that is one line, averaged where it is longer than is read."""
    length = max(image.shape)
    if length > _AT_ONCE:
        raise UsageError(f"a line of {length} pixels is too long to be shown")
    box = tuple((0, axis) for axis in image.shape)
    pixels = pixels_of(source, headers, image, box)
    try:
        return physical(_exactly(pixels, 0, pixels.size), image.values)
    finally:
        if isinstance(pixels, TiledPixels):
            pixels.close()


def _limits(frame: Floats) -> tuple[float, float]:
    """From zscale's black to what all but a few pixels are below."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an image that is the same everywhere
        low, high = zscale(frame)
    brightest = float(np.nanquantile(np.where(np.isfinite(frame), frame, np.nan), 1.0 - _WHITE))
    return low, max(high, brightest)
