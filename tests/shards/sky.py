"""Frames all over the sky in a database of their own, before and after it is spread out."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.db.frames import frame
from tests.db.test_plans import COUNT, degrees, make_sky
from tests.shards.cluster import Machine
from tests.support import settings_at
from vo_service.db.connect import Role, conninfo
from vo_service.db.frames import FrameStore
from vo_service.db.schema import upgrade
from vo_service.model.observation import Frame
from vo_service.model.region import Point, Polygon, separation
from vo_service.model.shard import Part
from vo_service.services.setup import initialise
from vo_service.services.shard_moves import Manner, move_collections, move_parts
from vo_service.services.shards import add_shard, remove_shard
from vo_service.settings import Settings

__all__ = [
    "BOUNDS",
    "NORTH",
    "SOUTH",
    "add",
    "bring_home",
    "fill",
    "frames",
    "made",
    "move",
    "place",
    "spread",
]

#: Partitions of 30 degrees: a move is quick, and there are some for each of three servers.
BOUNDS = tuple(float(ra) for ra in range(0, 361, 30))
NORTH, SOUTH = "0:120", "120:240"


def frames() -> list[Frame]:
    """Frames with positions, and three without."""
    sky = make_sky()
    ra, dec = degrees(sky.centres)
    corner_ra, corner_dec = degrees(sky.corners)
    found = []
    for n in range(0, COUNT, 3):
        centre = Point(float(ra[n]), float(dec[n]))
        vertices = tuple(
            Point(float(x), float(y)) for x, y in zip(corner_ra[n], corner_dec[n], strict=True)
        )
        reach = max(separation(centre, vertex) for vertex in vertices)
        found.append(
            frame(
                f"{n}.fits", obs_id=str(n), s_ra=centre.ra, s_dec=centre.dec, s_fov=2 * reach,
                region=Polygon(vertices), t_min=58000.0 + n / 10, t_max=58000.0 + n / 10 + 0.01,
                target_name=f"Ziel {n % 17}" if n % 5 else None, dataproduct_type="image",
                instrument_name=("Aye-aye", "Boa", "Ökapi")[n % 7 % 3], em_min=4e-7, em_max=7e-7,
                t_xel=n,
            )
        )  # fmt: skip
    return [*found, *(frame(f"dark{n}.fits", obs_id=f"dark{n}") for n in range(3))]


def fill(settings: Settings, some: list[Frame]) -> None:
    """Take frames in, as ingest does."""
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as writer:
        store = FrameStore(writer)
        store.register("c", "Title", "", "{}")
        counts, refusals = store.store(some)
    assert (counts.added + counts.changed, refusals) == (len(some), [])


@contextlib.contextmanager
def made(database_url: str, home: Path, **chosen: object) -> Iterator[Settings]:
    """An archive with these frames; *home* can be served."""
    home.mkdir(parents=True)
    initialise(home, partition_bounds=BOUNDS)
    settings = settings_at(database_url, home, partition_bounds=BOUNDS, **chosen)
    upgrade(settings)
    fill(settings, frames())
    with psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as owner:
        owner.execute("ANALYZE archive.observation")
    yield settings


def add(settings: Settings, name: str, url: str) -> None:
    add_shard(settings, name, url)


def move(settings: Settings, name: str, ra: str, patience_s: float = 60.0) -> int:
    return move_parts(settings, name, ra, _manner(patience_s))


def place(
    settings: Settings,
    name: str,
    *collections: str,
    patience_s: float = 60.0,
    stop_after: int | None = None,
) -> int:
    """Move collections; as if somebody pressed Ctrl-C after some partitions."""

    def begun(part: Part, number: int, count: int, rows: int) -> None:
        if number - 1 == stop_after:
            raise KeyboardInterrupt

    manner = dataclasses.replace(_manner(patience_s), begun=begun)
    return move_collections(settings, name, collections, manner)


def bring_home(settings: Settings, name: str) -> int:
    return remove_shard(settings, name, _manner(60.0))


def _manner(patience_s: float) -> Manner:
    return Manner(patience_s, lambda *_: None, lambda _: None)


@contextlib.contextmanager
def spread(settings: Settings, machines: tuple[Machine, Machine]) -> Iterator[tuple[str, str]]:
    """The archive on three servers, a third of the sky on each; URLs of the two nodes."""
    with machines[0].database() as north, machines[1].database() as south:
        for name, url, ra in (("north", north, NORTH), ("south", south, SOUTH)):
            add(settings, name, url)
            move(settings, name, ra)
        yield north, south


def replaced(old: Frame, size: int) -> Frame:
    """A new version of a frame."""
    return dataclasses.replace(old, product=dataclasses.replace(old.product, size=size))
