"""The frames of `sky`, of several collections: they leave the sky one by one."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.shards import sky
from tests.support import settings_at
from vo_service.db.connect import Role, conninfo
from vo_service.db.frames import FrameStore
from vo_service.db.schema import upgrade
from vo_service.model.observation import Frame
from vo_service.services.setup import initialise
from vo_service.settings import Settings

__all__ = ["COARSE", "MAPPED", "fill", "frames", "made", "of"]

#: What the file of collection ``mapped`` says as obs_collection; with all that could go wrong.
MAPPED = "O'Neil \\ (100%), 'deep'"

#: Bounds of partitions where few will do.
COARSE = tuple(float(ra) for ra in range(0, 361, 60))

_KINDS = (("c", "c"), ("tomoe", "tomoe"), ("wide-field", "wide-field"), ("mapped", MAPPED))
_DEFINITIONS = {"mapped": '{"obscore": {"obs_collection": [{"constant": "..."}]}}'}


def of(frame: Frame, number: int) -> Frame:
    """A frame in the collection whose turn it is."""
    name, shown = _KINDS[number % len(_KINDS)]
    return dataclasses.replace(
        frame,
        product=dataclasses.replace(frame.product, collection=name),
        observation=dataclasses.replace(frame.observation, obs_collection=shown),
    )


def frames() -> list[Frame]:
    """As `sky.frames`, a quarter of them in each collection."""
    return [of(frame, number) for number, frame in enumerate(sky.frames())]


def fill(settings: Settings, some: list[Frame]) -> None:
    """Take frames in, as ingest does."""
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as writer:
        store = FrameStore(writer)
        for name, _ in _KINDS:
            if own := [frame for frame in some if frame.product.collection == name]:
                store.register(name, "Title", "", _DEFINITIONS.get(name, "{}"))
                counts, refusals = store.store(own)
                assert (counts.added + counts.changed, refusals) == (len(own), [])


@contextlib.contextmanager
def made(
    database_url: str, home: Path, bounds: tuple[float, ...] = sky.BOUNDS
) -> Iterator[Settings]:
    """An archive with these frames; *home* can be served."""
    home.mkdir(parents=True)
    initialise(home, partition_bounds=bounds)
    settings = settings_at(database_url, home, partition_bounds=bounds)
    upgrade(settings)
    fill(settings, frames())
    with psycopg.connect(conninfo(settings, Role.OWNER), autocommit=True) as owner:
        owner.execute("ANALYZE archive.observation")
    yield settings
