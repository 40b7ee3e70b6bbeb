"""HiPS of collections: built, kept free of what was withdrawn, removed.

What a build does is in `services.hips_build`, where its parts lie in `services.hips_places`.
Source: HiPS 1.0; MISSION D4.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import psycopg

from vo_service.db.connect import Role, conninfo
from vo_service.db.hips import HipsSources, Notes
from vo_service.errors import NotFoundError
from vo_service.services.background import in_other_process, look_again_and_again
from vo_service.services.hips_build import Build, Built, HipsRecipe, Tell
from vo_service.services.hips_places import NOTES, hips_names, place_of
from vo_service.settings import Settings

__all__ = ["Built", "HipsRecipe", "build_hips", "mend_hips", "remove_hips", "run_hips"]

_log = logging.getLogger(__name__)

_LOOK_S = 300.0


def build_hips(
    settings: Settings,
    collection: str,
    name: str | None = None,
    recipe: HipsRecipe | None = None,
    *,
    again: bool = False,
    stage: Callable[[str, int], None] = lambda *_: None,
    done: Callable[[], None] = lambda: None,
) -> Built:
    """Build the HiPS of a collection, or bring it up to date.

    Parameters
    ----------
    settings, collection
        The archive, and whose public frames are shown.
    name
        Of the HiPS; that of the collection by default.
    recipe
        How; what was built before can be changed by *again* only.
    again
        Begin from nothing; the old one is served until the new one is there.
    stage, done
        Told what follows and how many tiles it takes, and of each tile.

    Raises
    ------
    ConfigError
        If name or recipe are not possible, or differ from what was built before.
    NotFoundError
        If there is no such collection, or nothing public in it that can be drawn.
    TransientError
        If another build of it is running.
    """
    place = place_of(settings, name or collection)
    # What was begun from nothing goes on so, whoever goes on with it.
    fresh = again or (place.directory / "again").is_dir()
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        if HipsSources(connection, collection, None).about() is None:
            raise NotFoundError(f"there is no collection {collection!r} in this archive")
        with place.locked():
            if again:
                place.forget("next")
                place.forget("again")
            build = place.begin("again" if fresh else "next", fresh=fresh)
            return Build(
                settings, connection, place, build,
                collection=collection, recipe=recipe, tell=Tell(stage, done),
            ).run()  # fmt: skip


def mend_hips(settings: Settings, name: str) -> Built | None:
    """Take frames out of a HiPS that are not public any more; None where there are none.

    What comes newly is left to `build_hips`, which an operator runs.

    Raises
    ------
    TransientError
        If a build of it is running, which sees to it itself.
    """
    place = place_of(settings, name)
    notes = Notes(place.current / NOTES)
    collection = notes.said("collection") or ""
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        sources = HipsSources(connection, collection, None)
        gone = [
            number
            for numbers in notes.frames()
            for number in set(numbers) - sources.still_public(numbers)
        ]
        notes.close()
        if not gone:
            return None
        with place.locked():
            place.forget("mend")
            return Build(
                settings, connection, place, place.begin("mend"),
                collection=collection, recipe=None, tell=Tell(),
            ).run(only_remove=True)  # fmt: skip


def remove_hips(settings: Settings, name: str) -> None:
    """Serve a HiPS no more, and delete it.

    Raises
    ------
    NotFoundError
        If there is none of that name.
    """
    place = place_of(settings, name)
    if not place.directory.is_dir():
        raise NotFoundError(f"there is no HiPS {name!r}")
    with place.locked():
        place.remove()


async def run_hips(settings: Settings, *, look_s: float = _LOOK_S) -> None:
    """Take out of all HiPS what is not public any more, until cancelled."""
    await look_again_and_again(lambda stopped: _look(settings, stopped), look_s, "HiPS")


def _look(settings: Settings, stopped: threading.Event) -> None:
    for name in hips_names(settings):
        built = in_other_process(mend_hips, settings, name, stopped=stopped)
        if built is not None:
            _log.info("HiPS %s: %d tiles made again without frames that went", name, built.tiles)
