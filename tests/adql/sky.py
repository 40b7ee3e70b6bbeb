"""A small sky in a real database: frames in RA partitions, stars, filters."""
# ruff: noqa: E501 - SQL reads best on one line

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from vo_service.adql import Translation, translate
from vo_service.db.stream import render
from vo_service.model.region import Point
from vo_service.model.table import Catalog, Column, Field, Position, Schema, Table

__all__ = ["CATALOG", "FRAMES", "REACH", "STARS", "TARGETS", "Frame", "Sky", "Target", "load"]


@dataclass(frozen=True)
class Frame:
    id: int
    ra: float | None
    dec: float | None
    corners: tuple[Point, ...]


HALF = 0.3
REACH = 0.5


def _frames() -> tuple[Frame, ...]:
    """Frames all over the sky, some at 0h, at the poles, and one dark without a position."""
    dice = random.Random(1)
    places = [
        (dice.uniform(0, 360), math.degrees(math.asin(dice.uniform(-1, 1)))) for _ in range(300)
    ]
    places += [(dice.uniform(359, 361) % 360, dice.uniform(-1, 1)) for _ in range(40)]
    places += [(dice.uniform(0, 360), dice.uniform(88.5, 89.6)) for _ in range(40)]
    places += [(dice.uniform(0, 360), dice.uniform(-89.6, -88.5)) for _ in range(40)]
    places += [(dice.uniform(9, 11), dice.uniform(19, 21)) for _ in range(60)]
    frames = [Frame(i, ra, dec, square(ra, dec)) for i, (ra, dec) in enumerate(places)]
    return (*frames, Frame(len(frames), None, None, ()))


def square(ra: float, dec: float, half: float = HALF) -> tuple[Point, ...]:
    """Corners of a square on the tangent plane, by the standard formulae of the gnomonic view."""
    corners = []
    for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        xi, eta = sx * math.tan(math.radians(half)), sy * math.tan(math.radians(half))
        d0 = math.radians(dec)
        bottom = math.cos(d0) - eta * math.sin(d0)
        lon = ra + math.degrees(math.atan2(xi, bottom))
        lat = math.atan2(math.sin(d0) + eta * math.cos(d0), math.hypot(xi, bottom))
        corners.append(Point(lon % 360, math.degrees(lat)))
    return tuple(corners)


@dataclass(frozen=True)
class Target:
    """A row of an upload; *ra* as users write it, *radius* in degrees, of any sign."""

    id: int
    ra: float
    dec: float
    radius: float


def _targets() -> tuple[Target, ...]:
    dice = random.Random(2)
    near = [frame for frame in FRAMES if frame.ra is not None and frame.dec is not None]
    places = [(15.0, 20.0)]
    places += [
        (
            (f.ra or 0) + dice.uniform(-1, 1) / max(0.02, math.cos(math.radians(f.dec or 0))),
            max(-90.0, min(90.0, (f.dec or 0) + dice.uniform(-1, 1))),
        )
        for f in dice.choices(near, k=120)
    ]
    places += [(dice.uniform(-1, 1), dice.uniform(-1.5, 1.5)) for _ in range(30)]
    places += [(dice.uniform(359, 361), dice.uniform(-1.5, 1.5)) for _ in range(30)]
    places += [
        (dice.uniform(-20, 380), s * dice.uniform(88, 90)) for s in (-1, 1) for _ in "x" * 15
    ]
    places += [(0.0, 90.0), (0.0, -90.0), (360.0, 0.0), (-0.0, 0.0)]
    sizes = [0.01, 3.0, 20.0, 91.0, 170.0, -1.0, 0.0, 0.5]
    return tuple(Target(i, ra, dec, sizes[i % 8]) for i, (ra, dec) in enumerate(places))


FRAMES = _frames()
TARGETS = _targets()
STARS = ((1, 10.0, 20.0, "V"), (2, 10.1, 20.0, "B"), (3, 200.0, -45.0, "V"), (4, None, None, None))


def _column(name: str, datatype: str, **more: Any) -> Column:
    arraysize = more.pop("arraysize", "*" if datatype == "char" else None)
    return Column(name=name, datatype=datatype, arraysize=arraysize, **more)


_FRAME_COLUMNS = (
    _column("id", "int", ucd="meta.id", description="Number of the frame"),
    _column("name", "char"),
    _column("ra", "double", unit="deg", ucd="pos.eq.ra", description="Right ascension"),
    _column("dec", "double", unit="deg", ucd="pos.eq.dec"),
    _column("mag", "float", unit="mag", ucd="phot.mag"),
    _column("exptime", "double", unit="s", ucd="time.duration"),
    _column("band", "char"),
    _column("chips", "short"),
    _column("bytes", "long", unit="byte"),
    _column("started", "char", xtype="timestamp"),
    _column("good", "boolean"),
    _column("outline", "char", xtype="adql:REGION", geometry="shape"),
    _column('"size"', "int"),
)


def _targets_table(name: str, relation: str, indexed: bool = False) -> Table:
    return Table(
        name=name,
        relation=f"inner_schema.{relation}",
        columns=(
            _column("id", "int"),
            _column("ra", "double", unit="deg"),
            _column("dec", "double", unit="deg"),
            _column("radius", "double", unit="deg"),
        ),
        position=Position(ra="ra", dec="dec", point="place") if indexed else None,
    )


CATALOG = Catalog(
    schemas=(
        Schema(
            name="test",
            tables=(
                Table(
                    name="test.frames",
                    relation="inner_schema.frames_of_sky",
                    columns=_FRAME_COLUMNS,
                    position=Position(
                        ra="ra", dec="dec", point="place", reach=REACH, partitioned=True
                    ),
                ),
                Table(
                    name="test.stars",
                    relation="inner_schema.stars",
                    columns=(
                        _column("id", "int"),
                        _column("lon", "double", unit="deg"),
                        _column("lat", "double", unit="deg"),
                        _column("band", "char"),
                        _column("place", "double", arraysize="2", xtype="point"),
                        _column("disc", "double", arraysize="3", xtype="circle"),
                        _column("samples", "float", arraysize="*"),
                        _column("span", "double", arraysize="2", xtype="interval"),
                    ),
                ),
                Table(
                    name="test.broken",
                    relation="inner_schema.broken",
                    columns=(_column("told", "char", xtype="moc"),),
                ),
                _targets_table("test.targets", "targets", indexed=True),
                Table(
                    name="test.coverage",
                    relation="inner_schema.coverage",
                    columns=(
                        _column("id", "int"),
                        _column("cover", "char", xtype="moc"),
                        _column("told", "char", xtype="moc"),
                    ),
                ),
                Table(
                    name="test.bands",
                    relation="inner_schema.bands",
                    columns=(
                        _column("band", "char"),
                        _column("wavelength", "double", unit="nm", ucd="em.wl"),
                        _column('"Mixed Case"', "int"),
                    ),
                ),
            ),
        ),
        Schema(
            name="TAP_UPLOAD",
            tables=(
                _targets_table("TAP_UPLOAD.targets", "targets", indexed=True),
                _targets_table("TAP_UPLOAD.plain", "targets"),
            ),
        ),
        Schema(
            name="tap_schema",
            tables=(
                Table(
                    name="tap_schema.columns",
                    relation="tap_schema.columns",
                    columns=(_column("column_name", "char"), _column('"size"', "int")),
                ),
            ),
        ),
    )
)

_DDL = """
CREATE SCHEMA inner_schema;
CREATE TABLE inner_schema.frames_of_sky (
    id int, name text, ra float8, dec float8, mag float4, exptime float8, band varchar(9),
    chips int2, bytes int8, started timestamptz, good bool, outline text, shape spoly, size int,
    place spoint, secret text DEFAULT 'hidden'
) PARTITION BY RANGE (ra);
CREATE INDEX ON inner_schema.frames_of_sky USING gist (place);
CREATE INDEX ON inner_schema.frames_of_sky USING gist (shape);
CREATE TABLE inner_schema.frames_rest PARTITION OF inner_schema.frames_of_sky DEFAULT;
CREATE TABLE inner_schema.stars (
    id int, lon float8, lat float8, band text, place spoint, disc scircle, samples float4[],
    span float8[]
);
CREATE TABLE inner_schema.targets (
    id int, ra float8, dec float8, radius float8, place spoint
);
CREATE INDEX ON inner_schema.targets USING gist (place);
CREATE TABLE inner_schema.broken (told text);
INSERT INTO inner_schema.broken VALUES ('1/99');
CREATE TABLE inner_schema.coverage (id int, cover smoc, told text);
INSERT INTO inner_schema.coverage VALUES (1, '1/0', '1/0'), (2, '1/17', '1/17'), (3, NULL, NULL);
CREATE TABLE inner_schema.bands (band text, wavelength float8, "Mixed Case" int);
INSERT INTO inner_schema.bands VALUES ('B', 440, 1), ('V', 550, 2), ('z', 900, 3);
CREATE SCHEMA tap_schema;
CREATE TABLE tap_schema.columns (column_name text, size int);
INSERT INTO tap_schema.columns VALUES ('ra', NULL), ('name', 20);
"""


def load(database: psycopg.Connection) -> None:
    """Make the tables and fill them."""
    database.execute(_DDL)
    for low in range(0, 360, 10):
        database.execute(
            sql.SQL(
                "CREATE TABLE inner_schema.{} PARTITION OF inner_schema.frames_of_sky "
                "FOR VALUES FROM ({}) TO ({})"
            ).format(sql.Identifier(f"frames_{low:03}"), sql.Literal(low), sql.Literal(low + 10))
        )
    for frame in FRAMES:
        corners = ",".join(f"({p.ra!r}d,{p.dec!r}d)" for p in frame.corners)
        database.execute(
            "INSERT INTO inner_schema.frames_of_sky VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, "
            "%s::timestamp AT TIME ZONE 'UTC', %s, %s, %s::spoly, %s, "
            "spoint(radians(%s::float8), radians(%s::float8)))",
            [
                *(frame.id, f"frame{frame.id:03}", frame.ra, frame.dec),
                *(frame.id % 7 + 0.5, 10.0 * (frame.id % 3), "BVz"[frame.id % 3]),
                *(frame.id % 100, 10**10 + frame.id, f"2024-01-{frame.id % 28 + 1:02}T12:34:56.5"),
                *(frame.id % 2 == 0, f"POLYGON ICRS {frame.id}" if corners else None),
                *(f"{{{corners}}}" if corners else None, frame.id % 5, frame.ra, frame.dec),
            ],
        )
    for number, lon, lat, band in STARS:
        database.execute(
            "INSERT INTO inner_schema.stars SELECT %s, lon, lat, %s, "
            "spoint(radians(lon), radians(lat)), "
            "scircle(spoint(radians(lon), radians(lat)), radians(1.0)), ARRAY[1, 2.5], ARRAY[1, 2.5] "
            "FROM (VALUES (%s::float8, %s::float8)) AS v(lon, lat)",
            [number, band, lon, lat],
        )
    for target in TARGETS:
        database.execute(
            "INSERT INTO inner_schema.targets VALUES (%(id)s, %(ra)s, %(dec)s, %(radius)s, "
            "spoint(radians(%(ra)s::float8), radians(%(dec)s::float8)))",
            {name: getattr(target, name) for name in ("id", "ra", "dec", "radius")},
        )
    database.execute("INSERT INTO inner_schema.targets VALUES (%s)", [len(TARGETS)])
    database.execute("ANALYZE")
    database.commit()


@dataclass(frozen=True)
class Sky:
    """The loaded database, asked in ADQL."""

    database: psycopg.Connection

    def translated(self, query: str, limit: int | None = None) -> Translation:
        return translate(query, CATALOG, limit)

    def rows(self, query: str, limit: int | None = None) -> list[tuple[Any, ...]]:
        text = render(self.translated(query, limit).select)
        with self.database.transaction(), self.database.cursor() as cursor:
            return cursor.execute(text.encode()).fetchall()

    def column(self, query: str) -> list[Any]:
        return [row[0] for row in self.rows(query)]

    def value(self, expression: str) -> Any:
        """The value of an expression of constants."""
        (value,) = self.column(f"SELECT {expression} FROM test.bands WHERE band = 'B'")
        return value

    def frames(self, condition: str) -> set[int]:
        """Numbers of the frames for which a condition is true."""
        return set(self.column(f"SELECT id FROM test.frames WHERE {condition}"))

    def field(self, query: str) -> Field:
        return self.translated(query).fields[0]

    def plan(self, query: str, analyse: bool = False) -> str:
        how = "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) " if analyse else "EXPLAIN "
        text = how + render(self.translated(query).select)
        with self.database.transaction():
            self.database.execute("SET LOCAL enable_seqscan = off")
            return "\n".join(row[0] for row in self.database.execute(text.encode()).fetchall())

    def partitions(self, query: str) -> set[str]:
        """Names of the partitions that a query's plan looks into."""
        names = {f"frames_{low:03}" for low in range(0, 360, 10)} | {"frames_rest"}
        plan = self.plan(query)
        return {name for name in names if f" {name} " in plan}
