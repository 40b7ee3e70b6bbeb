"""Pixels of frames as pixels of a HiPS: sampled where its pixels are, and averaged.

A pixel of a tile is the bilinear value of a frame at its centre; of several frames the mean. Only
the box of a frame is read that lies under the tile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from vo_service.errors import UsageError
from vo_service.imaging.boxes import Box
from vo_service.imaging.cutout import Source, pixels_of
from vo_service.imaging.grey import Floats, physical
from vo_service.imaging.hips_tiles import TILE, tile_directions
from vo_service.imaging.preview import reduced
from vo_service.imaging.tiled import TiledPixels
from vo_service.ingest.images import Image, images_of
from vo_service.ingest.sky import Sky, sky_of
from vo_service.model.observation import HDUHeader

__all__ = ["SkyFrame", "pixel_scale", "tile_of"]

#: Directions are tried at every so manyth pixel first: a frame is rarely under a whole tile.
_STEP = 16


@dataclass
class SkyFrame:
    """The first image with a WCS of an open file.

    Raises
    ------
    UsageError, HeaderError
        If there is none that can be drawn.
    """

    source: Source
    headers: Sequence[HDUHeader]
    subtract_sky: bool = False
    images: list[tuple[Image, Sky]] = field(init=False)
    _levels: dict[int, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        found = [
            (image, sky)
            for image in images_of(tuple(self.headers))
            if all(length == 1 for length in image.shape[2:]) and len(image.shape) >= 2
            if (sky := sky_of(image)) is not None and sky.axes == (0, 1)
        ]
        if not found:
            raise UsageError("the file holds no image with two axes on the sky")
        if any(self.headers[image.hdu].data_offset is None for image, _ in found):
            raise UsageError("the file is compressed as a whole")
        self.images = found

    def sample(self, directions: NDArray[np.float64]) -> list[Floats]:
        """Values at the directions of a tile, of each image that is under it; NaN elsewhere."""
        return [
            found for pair in self.images if (found := self._sample(*pair, directions)) is not None
        ]

    def _sample(self, image: Image, sky: Sky, directions: NDArray[np.float64]) -> Floats | None:
        near = _near(sky, directions)
        if not near.any():
            return None
        places = sky.pixels(directions[near]) - 1.0
        width, height = image.shape[:2]
        with np.errstate(invalid="ignore"):
            inside = (
                (places[:, 0] >= -0.5) & (places[:, 0] < width - 0.5)
                & (places[:, 1] >= -0.5) & (places[:, 1] < height - 0.5)
            )  # fmt: skip
        if not inside.any():
            return None
        places = places[inside]
        (x0, x1), (y0, y1) = box = (
            _bounds(places[:, 0], width),
            _bounds(places[:, 1], height),
        )
        section = self._read(image, (*box, *((0, 1) for _ in image.shape[2:])))
        section = section.reshape(y1 - y0, x1 - x0) - self._level(image)
        here = np.column_stack((places[:, 1] - y0, places[:, 0] - x0)).T
        found = np.full(len(directions), np.nan, dtype=np.float32)
        where = np.flatnonzero(near)[inside]
        found[where] = map_coordinates(section, here, order=1, mode="nearest", output=np.float32)
        return found

    def _read(self, image: Image, box: Box) -> Floats:
        pixels = pixels_of(self.source, self.headers, image, box)
        content = bytearray()
        try:
            while len(content) < pixels.size:
                content += pixels.read(len(content), pixels.size - len(content))
        finally:
            if isinstance(pixels, TiledPixels):
                pixels.close()
        return physical(bytes(content), image.values)

    def _level(self, image: Image) -> float:
        """What is subtracted: the median of the image, or nothing."""
        if not self.subtract_sky:
            return 0.0
        if image.hdu not in self._levels:
            level = float(np.nanmedian(reduced(self.source, self.headers, image, 256)))
            self._levels[image.hdu] = level if np.isfinite(level) else 0.0
        return self._levels[image.hdu]


def _near(sky: Sky, directions: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Directions that may be on the image: parts of the tile of which some sample nearly is."""
    parts = directions.reshape(TILE // _STEP, _STEP, TILE // _STEP, _STEP, 3)
    middles = parts.mean(axis=(1, 3)).reshape(-1, 3)
    middles /= np.linalg.norm(middles, axis=1)[:, None]
    places = sky.pixels(middles)
    corners = parts[:, 0, :, 0].reshape(-1, 3)
    with np.errstate(invalid="ignore"):
        reach = 3.0 * np.nanmax(np.abs(places - sky.pixels(corners)), initial=1.0) + 1.0
        meets = (
            (places > -reach).all(axis=1) & (places < np.array(sky.lengths) + reach).all(axis=1)
        )  # fmt: skip
    wide = meets.reshape(TILE // _STEP, 1, TILE // _STEP, 1)
    return np.broadcast_to(wide, (TILE // _STEP, _STEP, TILE // _STEP, _STEP)).ravel()


def _bounds(places: NDArray[np.float64], length: int) -> tuple[int, int]:
    """Pixels that values at *places* are made from."""
    low = max(0, int(np.floor(places.min())))
    return low, min(length, max(low, int(np.floor(places.max()))) + 2)


def tile_of(order: int, number: int, frames: Iterable[SkyFrame], depth: int) -> Floats | None:
    """A tile from the frames that may be under it; None where none is.

    *depth* is the number of frames after which no more are looked at, if every pixel has so
    many.
    """
    directions = tile_directions(order, number)
    total = np.zeros(len(directions))
    count = np.zeros(len(directions), dtype=np.int64)
    for frame in frames:
        for values in frame.sample(directions):
            good = np.isfinite(values)
            total[good] += values[good]
            count += good
        if count.min() >= depth:
            break
    if not count.any():
        return None
    mean = total / np.where(count > 0, count, np.nan)
    return mean.reshape(TILE, TILE).astype(np.float32)


def pixel_scale(headers: Sequence[HDUHeader]) -> float | None:
    """Degrees between neighbours on the first image with a WCS; None where there is none."""
    for image in images_of(tuple(headers)):
        sky = sky_of(image)
        if sky is not None:
            middle = (np.array(sky.lengths) + 1.0) / 2.0
            two = sky.directions(np.array([middle, middle + np.array([1.0, 0.0])]))
            step = float(np.degrees(np.linalg.norm(two[1] - two[0])))
            if 0.0 < step < 10.0:
                return step
    return None
