"""The picture of a spectrum: its values along its one axis, as a line.

The axis is in wavelength (nm) where the WCS tells, else in pixels, counted from 1. Each column of
the picture shows the least and the greatest value of the pixels that fall into it.
"""

from __future__ import annotations

import io
import math
import warnings

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image as Pillow

from vo_service.errors import HeaderError, UsageError
from vo_service.imaging.grey import Floats
from vo_service.ingest.axes import spectral_scale
from vo_service.ingest.images import Image

__all__ = ["is_line", "plot_of"]

_HEIGHT = 0.6
_DPI = 100


def is_line(image: Image) -> bool:
    """Whether all axes but one are one pixel long."""
    return sum(length > 1 for length in image.shape) <= 1


def plot_of(image: Image, values: Floats, size: int) -> Pillow.Image:
    """Draw the *values* of an image, *size* pixels wide.

    Raises
    ------
    UsageError
        If there is nothing to be drawn.
    """
    if len(values) < 2 or not np.isfinite(values).any():
        raise UsageError("there are not two pixels with a value")
    places, name = _axis(image, len(values))
    figure = Figure(figsize=(size / _DPI, size * _HEIGHT / _DPI), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*_columns(places, values, size), color="black", linewidth=1.0)
    axes.margins(x=0.01)
    axes.set_xlabel(name)
    axes.set_ylabel(str(image.values.get("BUNIT") or "value")[:40].replace("$", r"\$"))
    content = io.BytesIO()
    figure.savefig(content, format="png")
    content.seek(0)
    return Pillow.open(content).convert("L")


def _axis(image: Image, length: int) -> tuple[NDArray[np.float64], str]:
    """Where the pixels lie, and what that is called."""
    pixels = np.arange(1.0, length + 1.0)
    try:
        scale = spectral_scale(image)
    except HeaderError:
        scale = None
    if scale is not None and scale.pixels == length:
        ends = [scale.value(pixel) for pixel in np.linspace(1.0, length, min(length, 2000))]
        if all(map(math.isfinite, ends)):
            nodes = np.linspace(1.0, length, len(ends))
            return np.interp(pixels, nodes, np.array(ends) * 1e9), "wavelength [nm]"
    return pixels, "pixel"


def _columns(
    places: NDArray[np.float64], values: Floats, size: int
) -> tuple[NDArray[np.float64], Floats]:
    """At most two points a column: the least and the greatest value."""
    step = -(-len(values) // size)
    if step <= 2:
        return places, values
    number = len(values) // step
    parts = np.where(np.isfinite(values), values, np.nan)[: number * step].reshape(number, step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns that are blank: gaps
        both = np.column_stack((np.nanmin(parts, axis=1), np.nanmax(parts, axis=1)))
    return np.repeat(places[: number * step : step], 2), both.ravel()
