"""Which pixels of which images a stencil selects.

An image is cut along each of its axes that a filter speaks of: those of the sky, wavelength,
time, polarization. Where a file has no such axis, the whole image belongs to one position,
wavelength or time, which ObsCore tells: it is taken whole or not at all. What neither knows
cannot be selected by, which is an error of the request.

Source: SODA 1.0, "Filtering parameters"; "a cutout is clipped to the data" there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vo_service.errors import HeaderError, UsageError
from vo_service.imaging.boxes import Box, pixel_box
from vo_service.imaging.shapes import Distance, distance_from, unit_vectors
from vo_service.ingest.axes import Scale, polarization_scale, spectral_scale, time_scale
from vo_service.ingest.images import Image
from vo_service.ingest.sky import Sky, sky_of
from vo_service.model.stencil import Bounds, PixelStencil, Stencil

__all__ = ["Coverage", "Selection", "select"]

#: Bisection steps: a pixel to 1e-9 of any axis.
_STEPS = 64
#: Parts of a pixel that an interval must reach into, so that its end on an edge is no overlap.
_SLIVER = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What ObsCore says of a dataset: degrees (ICRS), MJD (UTC), seconds, metres."""

    s_ra: float | None = None
    s_dec: float | None = None
    s_fov: float | None = None
    t_min: float | None = None
    t_max: float | None = None
    t_resolution: float | None = None
    t_xel: int | None = None
    em_min: float | None = None
    em_max: float | None = None
    pol_states: str | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """A box of pixels of one image; never empty."""

    image: Image
    box: Box


class _MissedError(Exception):
    """The stencil does not meet this image."""


def select(images: Sequence[Image], stencil: Stencil, coverage: Coverage) -> list[Selection]:
    """What a stencil selects of the images of a file, in their order; may be nothing.

    Raises
    ------
    UsageError
        If the dataset cannot be selected from in this way, or has no such HDU or axis.
    """
    if stencil.pixels is not None:
        images = [_named(images, stencil.pixels)]
    distance = None if stencil.shape is None else distance_from(stencil.shape)
    skies = {image.hdu: _sky(image) for image in images} if distance else {}
    on_sky = any(skies.values())
    selections = []
    for image in images:
        cut = _Cut(image)
        try:
            if distance is not None:
                cut.by_sky(skies[image.hdu], distance, coverage, others=on_sky)
            if stencil.band is not None:
                cut.by_band(stencil.band, coverage)
            if stencil.time is not None:
                cut.by_time(stencil.time, coverage)
            if stencil.states:
                cut.by_states(stencil.states, coverage)
            if stencil.pixels is not None:
                cut.by_pixels(stencil.pixels)
        except _MissedError:
            continue
        except HeaderError as error:
            raise UsageError(f"HDU {image.hdu} cannot be cut: {error}") from error
        selections.append(Selection(image, cut.box))
    return selections


def _frames_of(image: Image, coverage: Coverage) -> Scale | None:
    """The times (MJD, UTC) along an image's frames: from its WCS, or evenly from ObsCore."""
    scale = time_scale(image)
    if scale is not None:
        return scale
    start, step = coverage.t_min, coverage.t_resolution
    if start is None or not coverage.t_xel or coverage.t_xel < 2:
        return None
    axis = next((i for i in range(2, len(image.shape)) if image.shape[i] == coverage.t_xel), None)
    if axis is None:
        return None
    if step:
        step_d = step / 86400.0
    elif coverage.t_max is not None:
        step_d = (coverage.t_max - start) / coverage.t_xel
    else:
        return None
    return Scale(axis, coverage.t_xel, lambda pixel: start + (pixel - 0.5) * step_d)


def _named(images: Sequence[Image], pixels: PixelStencil) -> Image:
    if pixels.hdu is None:
        return images[0]
    for image in images:
        name = str(image.values.get("EXTNAME") or "").strip().upper()
        if pixels.hdu == image.hdu or (isinstance(pixels.hdu, str) and pixels.hdu.upper() == name):
            return image
    known = ", ".join(str(image.hdu) for image in images[:20])
    raise UsageError(f"PIXEL: HDU {pixels.hdu!r} is no image of the dataset: expected {known}")


def _sky(image: Image) -> Sky | None:
    try:
        return sky_of(image)
    except HeaderError as error:
        raise UsageError(
            f"HDU {image.hdu} has no usable celestial coordinates ({error}): "
            "expected no position, or PIXEL"
        ) from error


class _Cut:
    """The box of one image, made smaller by one filter after the other."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._bounds = [(0, length) for length in image.shape]

    @property
    def box(self) -> Box:
        return tuple(self._bounds)

    def by_sky(
        self, sky: Sky | None, distance: Distance, coverage: Coverage, *, others: bool
    ) -> None:
        if sky is None:
            if others or not _near(distance, coverage):
                raise _MissedError
            return
        found = pixel_box(sky, distance)
        if found is None:
            raise _MissedError
        for axis, bounds in zip(sky.axes, found, strict=True):
            self._narrow(axis, *bounds)

    def by_band(self, band: Bounds, coverage: Coverage) -> None:
        scale = spectral_scale(self._image)
        if scale is None:
            _overlap("BAND", "wavelength", band, (coverage.em_min, coverage.em_max))
        else:
            self._narrow(scale.axis, *_pixels(scale, band))

    def by_time(self, time: Bounds, coverage: Coverage) -> None:
        scale = _frames_of(self._image, coverage)
        if scale is None:
            _overlap("TIME", "time", time, (coverage.t_min, coverage.t_max))
        else:
            self._narrow(scale.axis, *_pixels(scale, time))

    def by_states(self, wanted: frozenset[str], coverage: Coverage) -> None:
        scale = polarization_scale(self._image)
        if scale is None:
            if coverage.pol_states is None:
                raise UsageError("POL: the dataset does not tell its polarization states")
            if not wanted & set(coverage.pol_states.split("/")):
                raise _MissedError
            return
        axis, states = scale
        places = [place for place, state in enumerate(states) if state in wanted]
        if not places:
            raise _MissedError
        self._narrow(axis, places[0], places[-1] + 1)

    def by_pixels(self, pixels: PixelStencil) -> None:
        if len(pixels.axes) > len(self._bounds):
            raise UsageError(
                f"PIXEL has {len(pixels.axes)} axes: HDU {self._image.hdu} has {len(self._bounds)}"
            )
        for axis, wanted in enumerate(pixels.axes):
            if wanted is not None:
                self._narrow(axis, wanted[0] - 1, wanted[1])

    def _narrow(self, axis: int, low: int, high: int) -> None:
        if axis >= len(self._bounds):  # an axis that only the WCS has, one pixel long
            self_low, self_high = 0, 1
        else:
            self_low, self_high = self._bounds[axis]
        low, high = max(low, self_low), min(high, self_high)
        if low >= high:
            raise _MissedError
        if axis < len(self._bounds):
            self._bounds[axis] = (low, high)


def _near(distance: Distance, coverage: Coverage) -> bool:
    """Whether the shape meets the circle that ObsCore gives the dataset."""
    if coverage.s_ra is None or coverage.s_dec is None:
        raise UsageError("the dataset has no position on the sky: expected no CIRCLE, POLYGON, POS")
    centre = unit_vectors(np.array([coverage.s_ra]), np.array([coverage.s_dec]))
    return bool(distance(centre)[0] <= (coverage.s_fov or 0.0) / 2.0)


def _overlap(name: str, what: str, asked: Bounds, known: tuple[float | None, float | None]) -> None:
    low, high = known
    if low is None or high is None:
        raise UsageError(f"{name}: the dataset does not tell its {what}")
    if asked[0] > high or asked[1] < low:
        raise _MissedError


def _pixels(scale: Scale, asked: Bounds) -> tuple[int, int]:
    """Pixels (from, to, counted from 0) that reach into an interval of the coordinate."""
    ends = (0.5, scale.pixels + 0.5)
    values = [scale.value(end) for end in ends]
    if not all(math.isfinite(value) for value in values):
        raise UsageError("the coordinates of the axis are not known at its ends")
    rising = values[0] <= values[1]
    if asked[0] > max(values) or asked[1] < min(values):
        raise _MissedError
    places = sorted(_place(scale, value, rising) for value in asked)
    low = math.floor(places[0] - 0.5 + _SLIVER)
    high = math.ceil(places[1] - 0.5 - _SLIVER)
    low = min(low, scale.pixels - 1)
    return low, max(high, low + 1)


def _place(scale: Scale, value: float, rising: bool) -> float:
    """The pixel at which the coordinate has a value; the nearer edge where none has."""
    low, high = 0.5, scale.pixels + 0.5
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        if (scale.value(middle) < value) == rising:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0
