"""A synthetic archive like that of Tomo-e Gozen: exposures of 84 chips on fields visited again.

Only numbers are made, no file. The same seed and size give the same rows; an exposure depends
on its number alone, so a larger archive begins like a smaller one.
Units: degrees (ICRS), MJD (UTC), metres, seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vo_service.demo.tomoe import CHIP_SIZE, CHIPS, chip_offset
from vo_service.model.release import Release

__all__ = [
    "COLLECTION",
    "HALF_DIAGONAL",
    "OBSERVATION_COLUMNS",
    "PRODUCT_COLUMNS",
    "RELEASE",
    "Synthetic",
]

COLLECTION = "synthetic"

#: Of what everything is: public at once, so that a worker finds nothing to do.
RELEASE = Release(days=0)

Vectors = NDArray[np.float64]

#: Exposures made at once: 84 000 rows.
_AT_ONCE = 1000
_PER_NIGHT = 800
_FIRST_NIGHT = 58757  # 2019-10-01
_EXPOSURE_S, _FRAME_S = 9.0, 0.5
_VISITS = 30  # of a field, on the average
_LOWEST_DEC = -30.0  # seen from Kiso

#: From the middle of a chip to its corner.
HALF_DIAGONAL = float(np.hypot(*CHIP_SIZE)) / 2

PRODUCT_COLUMNS = (
    *("product_id", "collection", "path", "did", "source", "size", "modified", "media_type"),
    *("state", "night", "release_date", "release_rule", "proposal_id", "headers"),
)
OBSERVATION_COLUMNS = (
    *("product_id", "dataproduct_type", "calib_level", "obs_collection", "obs_id"),
    *("obs_publisher_did", "access_path", "access_format", "access_estsize", "target_name"),
    *("s_ra", "s_dec", "s_fov", "s_region", "s_resolution", "s_xel1", "s_xel2", "t_min", "t_max"),
    *("t_exptime", "t_resolution", "em_min", "em_max", "em_xel", "o_ucd", "facility_name"),
    *("instrument_name", "position", "region"),
)


@dataclass(frozen=True, slots=True)
class Synthetic:
    """An archive of *rows* frames; *seed* chooses which."""

    rows: int
    seed: int = 1

    @property
    def exposures(self) -> int:
        """How many exposures that is; the last may lack chips."""
        return -(-self.rows // len(CHIPS))

    @property
    def fields(self) -> Vectors:
        """Centres of the survey fields, unit vectors (n, 3), even over the sky above -30 deg."""
        rng = np.random.default_rng([self.seed, 0])
        count = max(1, self.exposures // _VISITS)
        z = rng.uniform(np.sin(np.radians(_LOWEST_DEC)), 1.0, count)
        phi = rng.uniform(0, 2 * np.pi, count)
        rho = np.sqrt(1 - z * z)
        return np.stack([rho * np.cos(phi), rho * np.sin(phi), z], axis=-1)

    def blocks(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Products and their observations, some thousands at a time, with the columns above."""
        fields = self.fields
        for first in range(0, self.exposures, _AT_ONCE):
            numbers = np.arange(first, min(first + _AT_ONCE, self.exposures))
            rng = np.random.default_rng([self.seed, 1, first])
            left = self.rows - first * len(CHIPS)
            products, observations = _frames(numbers, fields, rng)
            yield products.slice(0, left), observations.slice(0, left)


def _frames(
    exposures: NDArray[np.int64], fields: Vectors, rng: np.random.Generator
) -> tuple[pa.Table, pa.Table]:
    """All chips of some exposures."""
    chips = len(CHIPS)
    field = rng.integers(len(fields), size=len(exposures))
    pointing = fields[field] + np.radians(0.05) * rng.normal(size=(len(exposures), 3))
    centres, corners = _footprints(pointing)
    ra, dec = _degrees(centres)
    vertices = [_degrees(corners[:, corner]) for corner in range(4)]
    number = np.repeat(exposures, chips)
    night = _FIRST_NIGHT + number // _PER_NIGHT
    start = night + 0.4 + (number % _PER_NIGHT) * (0.45 / _PER_NIGHT)
    product_id = 1 + (number * chips + np.tile(np.arange(chips), len(exposures)))
    detector = pa.array([f"{q}{chip:02d}" for q, chip in CHIPS] * len(exposures))
    count = len(number)

    exposure = _text(number)
    path = _join(_text(night), "/sTMQ", exposure, "_", detector, ".fits")
    did = _join("ivo://vo-service.example/synthetic?", path)
    size = rng.integers(2_000_000, 6_000_000, count)
    days = pa.array((night - 40587).astype("datetime64[D]"))
    products = {
        "product_id": product_id,
        "collection": _same(COLLECTION, count),
        "path": path,
        "did": did,
        "source": _join("/nowhere/", path),
        "size": size,
        "modified": _same("2020-01-01T00:00:00Z", count),
        "media_type": _same("image/fits", count),
        "state": _same("public", count),
        "night": days,
        "release_date": days,
        "release_rule": _same(str(RELEASE), count),
        "proposal_id": _join(
            "TMP", _text(field % 50).take(np.repeat(np.arange(len(field)), chips))
        ),
        "headers": _same("[]", count),
    }
    observations = {
        "product_id": product_id,
        "dataproduct_type": _same("image", count),
        "calib_level": np.full(count, 2),
        "obs_collection": _same(COLLECTION, count),
        "obs_id": _join("TMQ", exposure),
        "obs_publisher_did": did,
        "access_path": _join(f"{COLLECTION}/", path),
        "access_format": _same("image/fits", count),
        "access_estsize": size // 1000,
        "target_name": _join("field ", _text(np.repeat(field, chips))),
        "s_ra": ra,
        "s_dec": dec,
        "s_fov": np.full(count, 2 * HALF_DIAGONAL),
        "s_region": _join("POLYGON ICRS ", _pairs(vertices, "", " ", "", " ")),
        "s_resolution": rng.uniform(2.5, 6.0, count),
        "s_xel1": np.full(count, 2160),
        "s_xel2": np.full(count, 1200),
        "t_min": start,
        "t_max": start + _EXPOSURE_S / 86400,
        "t_exptime": np.full(count, _EXPOSURE_S),
        "t_resolution": np.full(count, _FRAME_S),
        "em_min": np.full(count, 3.7e-7),
        "em_max": np.full(count, 7.3e-7),
        "em_xel": np.full(count, 1),
        "o_ucd": _same("phot.count", count),
        "facility_name": _same("Kiso Schmidt", count),
        "instrument_name": _same("Tomo-e Gozen", count),
        "position": _pairs([(ra, dec)], "(", "d,", "d)", ""),
        "region": _join("{", _pairs(vertices, "(", "d,", "d)", ","), "}"),
    }
    return pa.table(products), pa.table(observations)


def _footprints(pointing: Vectors) -> tuple[Vectors, Vectors]:
    """Centres (n * 84, 3) and corners (n * 84, 4, 3) of the chips of exposures, unit vectors.

    *pointing* (n, 3) need not have length 1. The tangent plane is that of the camera's centre
    (FITS WCS paper II, "TAN: gnomonic").
    """
    pointing = pointing / np.linalg.norm(pointing, axis=-1, keepdims=True)
    east = np.cross([0.0, 0.0, 1.0], pointing)
    east /= np.linalg.norm(east, axis=-1, keepdims=True)
    north = np.cross(pointing, east)
    middles = np.radians([chip_offset(*chip) for chip in CHIPS])
    half = np.radians(CHIP_SIZE) / 2
    turns = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    planes = np.concatenate([middles[:, None], middles[:, None] + turns * half], axis=1)
    places = (
        pointing[:, None, None]
        + planes[None, ..., :1] * east[:, None, None]
        + planes[None, ..., 1:] * north[:, None, None]
    )
    places /= np.linalg.norm(places, axis=-1, keepdims=True)
    places = places.reshape(-1, 5, 3)
    return places[:, 0], places[:, 1:]


def _degrees(places: Vectors) -> tuple[Vectors, Vectors]:
    """Right ascension (0 to 360) and declination, rounded to what ingest would write."""
    x, y, z = places[..., 0], places[..., 1], places[..., 2]
    ra, dec = np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))
    return ra.round(9) % 360, dec.round(9)


def _text(values: NDArray[np.int64]) -> pa.Array:
    return pc.cast(pa.array(values), pa.string())


def _same(value: str, count: int) -> pa.Array:
    return pa.repeat(value, count)


def _join(*parts: pa.Array | str) -> pa.Array:
    return pc.binary_join_element_wise(*parts, "")


def _pairs(
    points: list[tuple[Vectors, Vectors]], before: str, between: str, after: str, separator: str
) -> pa.Array:
    """Points as text, one string a row."""
    texts = [
        _join(
            before, pc.cast(pa.array(ra), pa.string()), between,
            pc.cast(pa.array(dec), pa.string()), after,
        )
        for ra, dec in points
    ]  # fmt: skip
    return pc.binary_join_element_wise(*texts, separator)
