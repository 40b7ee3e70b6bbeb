"""A cutout as a picture: PNG of its first frame, or WebP, animated where there are more.

Pixels are averaged in squares until the longer side fits, then shown from black to white; the
first FITS row is at the bottom. Blank pixels are black. The limits, where none are given, are
zscale's of the first frame, the same for all frames.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator

import numpy as np

from vo_service.errors import UsageError
from vo_service.imaging.cutout import Pixels
from vo_service.imaging.grey import Floats, grey, physical, pixel_type, zscale
from vo_service.imaging.select import Selection
from vo_service.params.soda import Picture

__all__ = ["STRETCHES", "picture_of"]

#: Pixels that are read for one picture at most.
_MOST_READ = 200_000_000
#: Pixels of one picture, all frames together: they are all in memory.
_MOST_SHOWN = 50_000_000
_FRAME_MS = 100
_SOFTENING = 10.0

#: From 0..1 to 0..1.
STRETCHES: dict[str, Callable[[Floats], Floats]] = {
    "linear": lambda value: value,
    "sqrt": np.sqrt,
    "asinh": lambda value: np.arcsinh(_SOFTENING * value) / math.asinh(_SOFTENING),
    "log": lambda value: np.log1p(1000.0 * value) / math.log1p(1000.0),
}


def picture_of(selection: Selection, pixels: Pixels, look: Picture, *, animated: bool) -> bytes:
    """A cutout as WebP where *animated*, else as PNG; reads the pixels, so call it in a thread.

    Raises
    ------
    UsageError
        If it is larger than pictures may be, or has one axis only.
    OSError
        If the pixels cannot be read.
    """
    lengths = [stop - start for start, stop in selection.box]
    if len(lengths) < 2:
        raise UsageError("a picture needs two axes: expected RESPONSEFORMAT=application/fits")
    frames = math.prod(lengths[2:]) if animated else 1
    factor = max(1, -(-max(lengths[:2]) // look.size))
    width, height = (max(1, length // factor) for length in lengths[:2])
    if lengths[0] * lengths[1] * frames > _MOST_READ or width * height * frames > _MOST_SHOWN:
        raise UsageError(
            f"a picture of {frames} frames of {lengths[0]} x {lengths[1]} pixels is too large: "
            f"expected a smaller cutout, a smaller SIZE (now {look.size}) or FITS"
        )
    limits = look.limits
    shown = []
    for frame in _frames(selection, pixels, frames, factor):
        if limits is None:
            limits = zscale(frame)
        shown.append(grey(frame, limits, STRETCHES[look.stretch]))
    content = io.BytesIO()
    first, *others = shown
    if animated:
        # Lossless: a pixel of a star is no block of colour.
        film = {"save_all": True, "append_images": others, "duration": _FRAME_MS}
        first.save(content, "WEBP", lossless=True, quality=20, method=2, **(film if others else {}))
    else:
        first.save(content, "PNG")
    return content.getvalue()


def _frames(selection: Selection, pixels: Pixels, number: int, factor: int) -> Iterator[Floats]:
    """Frames of physical values, averaged in squares of *factor* pixels; NaN where blank."""
    values = selection.image.values
    (x0, x1), (y0, y1) = selection.box[:2]
    size = (x1 - x0) * (y1 - y0) * pixel_type(values).itemsize
    for frame in range(number):
        content = bytearray()
        while len(content) < size:
            content += pixels.read(frame * size + len(content), size - len(content))
        yield _averaged(physical(bytes(content), values).reshape(y1 - y0, x1 - x0), factor)


def _averaged(frame: Floats, factor: int) -> Floats:
    height, width = (max(1, length // factor) for length in frame.shape)
    # An axis shorter than the square is averaged as a whole.
    down, across = (min(factor, length) for length in frame.shape)
    squares = frame[: height * down, : width * across].reshape(height, down, width, across)
    return np.asarray(squares.mean(axis=(1, 3)), dtype=np.float32)
