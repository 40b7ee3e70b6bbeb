"""Pixels: stars of the pseudo-catalogue through a camera, a movie, a spectrum, a dark.

Painters give the expected counts of a plan, `expose` adds sky and noise. Star positions come
from the WCS of the plan's own header, so header and pixels agree by construction.
Units: counts (adu), pixels counted from 0 at the centre of the first one.
"""

from __future__ import annotations

import warnings

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.utils import skycoord_to_pixel
from numpy.typing import NDArray

from vo_service.demo.plan import Camera, Plan
from vo_service.demo.sky import Stars, stars_within

__all__ = [
    "celestial_wcs",
    "draw",
    "expose",
    "paint_dark",
    "paint_movie",
    "paint_spectrum",
    "paint_stars",
    "stars_on",
]

Image = NDArray[np.float32]

#: Half the side of the square into which a star is drawn.
_REACH = 20

#: Night-sky emission lines in the spectra, vacuum nanometres.
_SKY_LINES = (557.89, 589.16, 589.76, 630.20, 636.55, 686.56, 734.28, 779.60, 834.69)
_H_ALPHA, _H_BETA = 656.46, 486.27


def celestial_wcs(plan: Plan) -> WCS:
    """The two celestial axes of a plan's header."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)  # MJD-OBS made from DATE-OBS: fine
        return WCS(plan.header).celestial


def stars_on(plan: Plan) -> tuple[Stars, NDArray[np.float64], NDArray[np.float64]]:
    """The stars that may touch a plan's image, with their pixel positions (x, y)."""
    wcs = celestial_wcs(plan)
    height, width = plan.shape[-2:]
    centre = wcs.pixel_to_world((width - 1) / 2, (height - 1) / 2).icrs
    corner = wcs.pixel_to_world(-_REACH, -_REACH).icrs
    radius = float(centre.separation(corner).deg)
    stars = stars_within(centre.ra.deg, centre.dec.deg, radius, plan.camera.faintest)
    x, y = skycoord_to_pixel(SkyCoord(stars.ra, stars.dec, unit="deg"), wcs, mode="wcs")
    return stars, x, y


def draw(image: Image, x: float, y: float, flux: float, fwhm: float) -> None:
    """Add one star of *flux* counts: a Moffat profile with beta = 3, cut at 20 pixels."""
    height, width = image.shape
    left, right = max(0, round(x) - _REACH), min(width, round(x) + _REACH + 1)
    low, high = max(0, round(y) - _REACH), min(height, round(y) + _REACH + 1)
    if left >= right or low >= high:
        return
    core2 = (fwhm / 2.0) ** 2 / (2.0 ** (1.0 / 3.0) - 1.0)
    dx = np.arange(left, right, dtype=np.float32) - np.float32(x)
    dy = np.arange(low, high, dtype=np.float32) - np.float32(y)
    fall = 1.0 + (dx**2 + dy[:, None] ** 2) / np.float32(core2)
    image[low:high, left:right] += np.float32(2.0 * flux / (np.pi * core2)) / (fall * fall * fall)


def paint_stars(plan: Plan, rng: np.random.Generator) -> Image:
    """The field; in a cube the star at the tangent point is added and flickers."""
    signal = np.zeros(plan.shape, np.float32)
    planes = signal.reshape(-1, *plan.shape[-2:])
    _draw_field(plan, planes[0])
    planes[1:] = planes[0]
    if len(planes) > 1:
        x, y = celestial_wcs(plan).wcs.crpix - 1.0
        for plane in planes:
            draw(plane, x, y, rng.uniform(0.7, 1.3) * 1e5, plan.camera.fwhm)
    return signal


def paint_movie(plan: Plan, rng: np.random.Generator) -> Image:
    """A cut-out movie: the field, and a body that crosses its middle in a straight line."""
    signal = np.zeros(plan.shape, np.float32)
    count, height, width = plan.shape
    _draw_field(plan, signal[0])
    signal[1:] = signal[0]
    angle = rng.uniform(0.0, 2.0 * np.pi)
    for plane, step in zip(signal, np.linspace(-10.0, 10.0, count), strict=True):
        x = (width - 1) / 2 + step * np.cos(angle)
        y = (height - 1) / 2 + step * np.sin(angle)
        draw(plane, x, y, 1500.0, plan.camera.fwhm)
    return signal


def paint_spectrum(plan: Plan, _rng: np.random.Generator) -> Image:
    """A continuum with Balmer emission along axis 1, crossed by night-sky lines."""
    header, (_, height, width) = plan.header, plan.shape
    wave = header["CRVAL1"] + (np.arange(1, width + 1) - header["CRPIX1"]) * header["CDELT1"]
    line_width = 3.0 * header["CDELT1"]

    def line(centre: float) -> NDArray[np.float64]:
        shape: NDArray[np.float64] = np.exp(-0.5 * ((wave - centre) / line_width) ** 2)
        return shape

    star = 800.0 * (550.0 / wave) + 2500.0 * line(_H_ALPHA) + 1200.0 * line(_H_BETA)
    sky = sum((400.0 * line(centre) for centre in _SKY_LINES), np.zeros(width))
    along = np.arange(height) - (header["CRPIX2"] - 1.0)
    profile = np.exp(-0.5 * (along / (plan.camera.fwhm / 2.3548)) ** 2)
    frame = (profile[:, None] * star + sky).astype(np.float32)
    return np.broadcast_to(frame, plan.shape).copy()


def paint_dark(plan: Plan, rng: np.random.Generator) -> Image:
    """Nothing but hot pixels, the same in every plane."""
    frame = np.zeros(plan.shape[-2:], np.float32)
    hot = rng.integers(frame.size, size=frame.size // 5000)
    frame.ravel()[hot] = rng.exponential(300.0, hot.size)
    return np.broadcast_to(frame, plan.shape).copy()


def expose(signal: Image, camera: Camera, rng: np.random.Generator) -> NDArray[np.generic]:
    """Counts as the camera would write them: sky, noise of sky and stars, whole numbers."""
    if camera.noise:
        spread = np.sqrt(signal + np.float32(camera.noise**2))
        spread *= rng.standard_normal(signal.shape, np.float32)
        signal = signal + spread
    limits = np.iinfo(camera.dtype)
    counts = np.clip(np.rint(signal + np.float32(camera.sky)), limits.min, limits.max)
    whole: NDArray[np.generic] = counts.astype(camera.dtype)
    return whole


def _draw_field(plan: Plan, image: Image) -> None:
    stars, x, y = stars_on(plan)
    magnitude = stars.magnitude + plan.colour * stars.colour
    flux = 10.0 ** (0.4 * (plan.camera.zero_point - magnitude))
    for place in zip(x.tolist(), y.tolist(), flux.tolist(), strict=True):
        draw(image, *place, plan.camera.fwhm)
