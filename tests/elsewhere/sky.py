"""Observations of a made-up site: written into its database, and counted by brute force."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import astropy.units as u
import psycopg
from astropy.coordinates import SkyCoord

from vo_service.db.connect import Role, conninfo
from vo_service.db.frames import spoint, spoly
from vo_service.model.region import Circle, Point
from vo_service.settings import Settings

__all__ = ["Shot", "add_shots", "counts_about", "make_shots", "remove_shots"]


@dataclass(frozen=True)
class Shot:
    """An exposure with a round footprint of *radius* degrees; times are MJD, None if unknown."""

    number: int
    ra: float
    dec: float
    radius: float
    t_min: float | None
    facility: str
    instrument: str
    target: str = "field"

    @property
    def did(self) -> str:
        return f"ivo://site.example/shots?{self.number}"


def make_shots(count: int, seed: int = 1) -> list[Shot]:
    """Shots all over the sky, denser about (150, 70); every tenth without a time."""
    draw = random.Random(seed)
    shots = []
    for number in range(count):
        near = number % 3 == 0
        ra = draw.gauss(150.0, 1.0) if near else draw.uniform(0.0, 360.0)
        dec = draw.gauss(70.0, 0.5) if near else math.degrees(math.asin(draw.uniform(-1, 1)))
        facility, instrument = draw.choice((("Kiso", "KWFC"), ("Kiso", "2kCCD"), ("Okayama", "CS")))
        shots.append(
            Shot(
                number, ra % 360.0, max(-89.9, min(89.9, dec)), draw.uniform(0.01, 0.5),
                None if number % 10 == 9 else draw.uniform(56_500.0, 57_300.0),
                facility, instrument,
            )
        )  # fmt: skip
    return shots


def add_shots(settings: Settings, shots: Iterable[Shot]) -> None:
    """Let a site have these shots."""
    with psycopg.connect(conninfo(settings, Role.OWNER)) as connection:
        for shot in shots:
            region = Circle(shot.ra, shot.dec, shot.radius)
            connection.execute(
                "INSERT INTO archive.observation (product_id, dataproduct_type, calib_level, "
                "obs_collection, obs_id, obs_publisher_did, access_path, access_format, "
                "target_name, s_ra, s_dec, s_fov, s_region, t_min, t_max, t_exptime, "
                "facility_name, instrument_name, position, region) VALUES "
                "(%s, 'image', 2, 'shots', %s, %s, %s, 'application/fits', %s, %s, %s, %s, %s, "
                "%s, %s, 60, %s, %s, %s, %s)",
                (
                    shot.number, f"shot{shot.number}", shot.did, f"shots/{shot.number}.fits",
                    shot.target, shot.ra, shot.dec, 2 * shot.radius, region.stc_s, shot.t_min,
                    None if shot.t_min is None else shot.t_min + 60 / 86_400,
                    shot.facility, shot.instrument, spoint(Point(shot.ra, shot.dec)),
                    spoly(region),
                ),
            )  # fmt: skip
        connection.execute(
            "UPDATE archive.published SET reach = 0.6 "
            "WHERE table_name IN ('ivoa.obscore', 'elsewhere.everything')"
        )


def remove_shots(settings: Settings, shots: Iterable[Shot]) -> None:
    """Let a site have these no more."""
    with psycopg.connect(conninfo(settings, Role.OWNER)) as connection:
        connection.execute(
            "DELETE FROM archive.observation WHERE obs_publisher_did = ANY(%s)",
            ([shot.did for shot in shots],),
        )


def changed(shot: Shot, **what: object) -> Shot:
    """The shot with other values."""
    return replace(shot, **what)  # type: ignore[arg-type]  # the test knows its fields


def counts_about(
    shots: list[Shot], ra: float, dec: float, radius: float
) -> Counter[tuple[str, str]]:
    """Shots whose circle meets another, by facility and instrument (astropy, one by one)."""
    places = SkyCoord([s.ra for s in shots], [s.dec for s in shots], unit="deg")
    apart = places.separation(SkyCoord(ra, dec, unit="deg")).to_value(u.deg)
    return Counter(
        (shot.facility, shot.instrument)
        for shot, distance in zip(shots, apart, strict=True)
        if distance <= shot.radius + radius
    )
