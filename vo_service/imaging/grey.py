"""Stored pixels as physical values, and these as shades of grey.

Source: FITS 4.0, "Keywords that describe arrays" (BSCALE, BZERO, BLANK). Pictures have the first
FITS row at the bottom; blank pixels are black.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from astropy.visualization import ZScaleInterval
from numpy.typing import NDArray
from PIL import Image as Pillow

from vo_service.imaging.tiled import PIXEL_TYPES
from vo_service.ingest.cards import CardValue

__all__ = ["Floats", "grey", "physical", "pixel_type", "zscale"]

Floats = NDArray[np.float32]


def pixel_type(values: Mapping[str, CardValue]) -> np.dtype[np.generic]:
    """How the pixels of an image with these keywords are stored."""
    return np.dtype(PIXEL_TYPES[int(str(values["BITPIX"]))])


def physical(content: bytes, values: Mapping[str, CardValue]) -> Floats:
    """Physical values of stored pixels, in one row; NaN where blank."""
    kind = pixel_type(values)
    stored = np.frombuffer(content, kind)
    found = stored.astype(np.float32)
    scale, zero, blank = (values.get(key) for key in ("BSCALE", "BZERO", "BLANK"))
    if kind.kind != "f" and isinstance(blank, int):
        found[stored == blank] = np.nan
    if isinstance(scale, (int, float)):
        found *= scale
    if isinstance(zero, (int, float)):
        found += zero
    return found


def zscale(frame: Floats) -> tuple[float, float]:
    """IRAF's limits of what is shown: from black to white."""
    good = frame[np.isfinite(frame)]
    if good.size < 2:
        return 0.0, 1.0
    low, high = ZScaleInterval().get_limits(good)
    return float(low), float(high)


def grey(
    frame: Floats, limits: tuple[float, float], stretch: Callable[[Floats], Floats]
) -> Pillow.Image:
    """A frame as a picture; *stretch* leads from 0..1 to 0..1."""
    low, high = limits
    share = np.nan_to_num((frame - low) / max(high - low, 1e-30), nan=0.0, posinf=1.0, neginf=0.0)
    shade = stretch(np.clip(share, 0.0, 1.0).astype(np.float32)) * 255.0
    return Pillow.fromarray(np.rint(shade[::-1]).astype(np.uint8))
