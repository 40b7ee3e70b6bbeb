"""Celestial axes of an image: pixels to ICRS directions.

Equatorial (ICRS, FK5, FK4, FK4-NO-E), galactic, supergalactic and ecliptic headers with any
equinox are turned into ICRS; the old RADECSYS and EPOCH are understood.
Pixels count from 1 at the centre of the first; directions are unit vectors.
Source: FITS WCS paper II (Calabretta & Greisen 2002), "Celestial coordinate systems".
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from astropy.coordinates import (
    FK4,
    FK5,
    ICRS,
    BarycentricMeanEcliptic,
    FK4NoETerms,
    Galactic,
    SkyCoord,
    Supergalactic,
)
from astropy.time import Time
from astropy.wcs import WCS, InvalidSubimageSpecificationError
from numpy.typing import NDArray

from vo_service.errors import HeaderError
from vo_service.ingest.cards import CardValue
from vo_service.ingest.images import Image

__all__ = ["Sky", "sky_of"]

_NATIVE = {"RA": "DEC", "GLON": "GLAT", "ELON": "ELAT", "SLON": "SLAT"}


@dataclass(frozen=True)
class Sky:
    """What `footprint` needs of an image: its two axes on the sky, and the way there.

    *lengths* are pixels along the two pixel axes that move the position (*axes*, counted
    from 0), in FITS order.
    """

    hdu: int
    axes: tuple[int, int]
    lengths: tuple[int, int]
    wcs: WCS
    longitude: int
    latitude: int
    frame: tuple[str, float]

    def directions(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """ICRS unit vectors, shape (n, 3), of *pixels*, shape (n, 2); NaN where no sky is."""
        full = np.ones((len(pixels), self.wcs.naxis))
        # Axes that do not move the position stay at their reference.
        full += np.where(np.isfinite(self.wcs.wcs.crpix), self.wcs.wcs.crpix, 1.0) - 1.0
        columns = (0, 1) if self.wcs.naxis == 2 else self.axes
        full[:, columns] = pixels
        try:
            world = self.wcs.all_pix2world(full, 1)
        except Exception as error:  # wcslib and astropy have over a dozen kinds
            reason = " ".join(str(error).split())
            raise HeaderError(f"pixels have no position: {reason}", self.hdu, "CTYPE1") from error
        longitude = np.radians(world[:, self.longitude])
        latitude = np.radians(world[:, self.latitude])
        flat = np.cos(latitude)
        xyz = np.column_stack(
            (flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude))
        )
        return _to_icrs(xyz, self.frame)

    def pixels(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels, shape (n, 2), of ICRS unit vectors, shape (n, 3); NaN where none is.

        Raises
        ------
        HeaderError
            If the position depends on a third axis, or the projection cannot be inverted.
        """
        if self.wcs.naxis != 2:
            raise HeaderError("the position depends on more than two axes", self.hdu, "CTYPE1")
        x, y, z = _from_icrs(directions, self.frame).T
        world = np.empty((len(directions), 2))
        world[:, self.longitude] = np.degrees(np.arctan2(y, x)) % 360.0
        world[:, self.latitude] = np.degrees(np.arctan2(z, np.hypot(x, y)))
        try:
            return np.asarray(self.wcs.all_world2pix(world, 1, quiet=True), dtype=np.float64)
        except Exception as error:  # wcslib and astropy have over a dozen kinds
            reason = " ".join(str(error).split())
            raise HeaderError(f"positions have no pixel: {reason}", self.hdu, "CTYPE1") from error


def sky_of(image: Image) -> Sky | None:
    """The celestial part of an image's WCS; None where it has none.

    Raises
    ------
    HeaderError
        If the WCS is broken, its frame is not one of the sky, or more than two pixel axes
        move the position.
    """
    wcs = image.wcs
    if wcs is None or wcs.wcs.lng < 0 or wcs.wcs.lat < 0:
        return None
    frame = _frame(image, str(wcs.wcs.lngtyp).strip(), str(wcs.wcs.lattyp).strip())
    celestial = sorted((int(wcs.wcs.lng), int(wcs.wcs.lat)))
    _refuse_no_scale(image, celestial)
    matrix = wcs.pixel_scale_matrix
    moving = [axis for axis in range(wcs.naxis) if np.any(matrix[celestial, axis])]
    if len(moving) > 2:
        moving = [axis for axis in moving if image.length(axis) > 1]
    if len(moving) != 2:
        raise HeaderError(
            "expected two pixel axes that move the position", image.hdu, f"CTYPE{celestial[0] + 1}"
        )
    block = matrix[np.ix_(celestial, moving)]
    if abs(np.linalg.det(block)) <= 1e-9 * np.linalg.norm(block) ** 2:
        raise HeaderError(
            "both pixel axes lead the same way on the sky", image.hdu, f"CTYPE{celestial[0] + 1}"
        )
    if wcs.naxis > 2 and moving == celestial:
        try:
            wcs = wcs.sub([axis + 1 for axis in celestial])
            wcs.wcs.set()
        except InvalidSubimageSpecificationError:
            pass  # the position moves another coordinate along: the whole WCS does as well
    return Sky(
        hdu=image.hdu,
        axes=(moving[0], moving[1]),
        lengths=(image.length(moving[0]), image.length(moving[1])),
        wcs=wcs,
        longitude=int(wcs.wcs.lng),
        latitude=int(wcs.wcs.lat),
        frame=frame,
    )


def _refuse_no_scale(image: Image, celestial: list[int]) -> None:
    """A row of zeros in the CD matrix: astropy would put one degree per pixel there."""
    for axis in celestial:
        row = [image.values.get(f"CD{axis + 1}_{other}") for other in range(1, 10)]
        given = [value for value in row if value is not None]
        if given and not any(given):
            raise HeaderError(
                "the CD matrix has a row of zeros", image.hdu, f"CD{axis + 1}_{axis + 1}"
            )


def _frame(image: Image, longitude: str, latitude: str) -> tuple[str, float]:
    """Name of the frame and its equinox (years), which is 0 where the frame has none."""
    if _NATIVE.get(longitude) != latitude:
        raise HeaderError(
            f"expected RA/DEC, GLON/GLAT, ELON/ELAT or SLON/SLAT, found {longitude}/{latitude}",
            image.hdu,
            f"CTYPE{int(image.wcs.wcs.lng) + 1 if image.wcs else 1}",
        )
    if longitude == "GLON":
        return "GALACTIC", 0.0
    if longitude == "SLON":
        return "SUPERGALACTIC", 0.0
    values = image.values
    given = values.get("RADESYS") or values.get("RADECSYS")
    equinox = _equinox(values, image.hdu)
    system = str(given).strip().upper() if given else ""
    if not system:
        system = "ICRS" if equinox is None else ("FK4" if equinox < 1984.0 else "FK5")
    if longitude == "ELON":
        return "ECLIPTIC", equinox or (1950.0 if system.startswith("FK4") else 2000.0)
    match system:
        case "ICRS" | "GCRS" | "ICRF":
            return "ICRS", 0.0
        case "FK5":
            return "FK5", equinox or 2000.0
        case "FK4" | "FK4-NO-E":
            return system, equinox or 1950.0
    raise HeaderError(
        f"expected ICRS, FK5, FK4 or FK4-NO-E, found {system!r}", image.hdu, "RADESYS"
    )


def _equinox(values: Mapping[str, CardValue], hdu: int) -> float | None:
    for keyword in ("EQUINOX", "EPOCH"):
        value = values.get(keyword)
        if value is None or value == "":
            continue
        try:
            year = float(str(value).strip().lstrip("JBjb"))
        except ValueError:
            year = -1.0
        if year == 0.0 and keyword == "EPOCH":
            continue  # AIPS writes 0 for unknown
        if not 1000.0 <= year <= 3000.0:
            raise HeaderError(f"expected a year, found {value!r}", hdu, keyword)
        return year
    return None


def _to_icrs(xyz: NDArray[np.float64], frame: tuple[str, float]) -> NDArray[np.float64]:
    if frame[0] == "ICRS":
        return xyz
    if frame[0] == "FK4":  # its E-terms of aberration make it more than a rotation
        return _transformed(xyz, frame)
    return xyz @ _rotation(frame).T


def _from_icrs(xyz: NDArray[np.float64], frame: tuple[str, float]) -> NDArray[np.float64]:
    name, year = frame
    if name == "ICRS":
        return xyz
    if name != "FK4":
        return xyz @ _rotation(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dubious years before 1960
        here = SkyCoord(*xyz.T, representation_type="cartesian", frame=ICRS())
        there = here.transform_to(FK4(equinox=Time(year, format="byear")))
        return np.asarray(there.cartesian.xyz.value.T, dtype=np.float64)


@lru_cache(maxsize=64)
def _rotation(frame: tuple[str, float]) -> NDArray[np.float64]:
    """The matrix from a frame that is only turned against ICRS."""
    return _transformed(np.eye(3), frame).T


def _transformed(xyz: NDArray[np.float64], frame: tuple[str, float]) -> NDArray[np.float64]:
    name, year = frame
    kinds: dict[str, Any] = {
        "FK5": lambda: FK5(equinox=Time(year, format="jyear")),
        "FK4": lambda: FK4(equinox=Time(year, format="byear")),
        "FK4-NO-E": lambda: FK4NoETerms(equinox=Time(year, format="byear")),
        "GALACTIC": Galactic,
        "SUPERGALACTIC": Supergalactic,
        "ECLIPTIC": lambda: BarycentricMeanEcliptic(equinox=Time(year, format="jyear")),
    }
    good = np.isfinite(xyz).all(axis=1)
    result = np.full_like(xyz, np.nan)
    longitude = np.degrees(np.arctan2(xyz[good, 1], xyz[good, 0]))
    latitude = np.degrees(np.arctan2(xyz[good, 2], np.hypot(xyz[good, 0], xyz[good, 1])))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dubious years before 1960
        coordinates = SkyCoord(longitude, latitude, unit="deg", frame=kinds[name]())
        result[good] = coordinates.transform_to(ICRS()).cartesian.xyz.value.T
    return result
