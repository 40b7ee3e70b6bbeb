"""Previews: made in the background, kept below ``previews/``, asked for by whoever may.

Pictures lie under the number of their product, which a new version does not share: nothing that
was replaced can be shown. Who may see them is asked for the file itself. They are made in a
process of their own, whose memory is its own and which waits for everything else (nice); one that
dies with it is taken up again, three times at most.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from PIL import Image as Pillow

from vo_service.archive.opening import open_source
from vo_service.db.connect import Role, conninfo
from vo_service.db.corrections import CorrectionStore
from vo_service.db.previews import PreviewStore, Wanted
from vo_service.db.products import ProductStore
from vo_service.errors import HeaderError, NotFoundError, VOError
from vo_service.imaging.preview import preview_of, thumbnail_of
from vo_service.ingest.corrections import correct
from vo_service.model.correction import CorrectionSet
from vo_service.services.background import in_other_process, look_again_and_again
from vo_service.settings import Settings

__all__ = ["Outcome", "make_previews", "preview_failures", "preview_file", "run_previews"]

_log = logging.getLogger(__name__)

_LOOK_S = 20.0
_SWEEP = 1000
#: Pictures made by one process: what a library may leak ends with it.
_ROUND = 500


@dataclass(slots=True)
class Outcome:
    """Pictures made, and files of which none could be made."""

    made: int = 0
    failed: int = 0


def preview_file(settings: Settings, product_id: int, *, thumbnail: bool) -> Path:
    """Where the picture of a product lies if it has been made."""
    ending = ".thumb.png" if thumbnail else ".png"
    return settings.home / "previews" / f"{product_id // 1000}" / f"{product_id}{ending}"


def preview_failures(
    settings: Settings, collection: str | None, limit: int
) -> list[tuple[str, str]]:
    """Files that have no pictures, and why; the newest *limit*.

    Raises
    ------
    NotFoundError
        If there is no such collection.
    """
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        _check_name(connection, collection)
        return PreviewStore(connection).failures(collection, limit)


def _check_name(connection: psycopg.Connection[Any], collection: str | None) -> None:
    names = ProductStore(connection).collections()
    if collection is not None and collection not in names:
        raise NotFoundError(
            f"there is no collection {collection!r}: expected one of {', '.join(names) or 'none'}"
        )


def make_previews(
    settings: Settings,
    *,
    collection: str | None = None,
    again: bool = False,
    limit: int | None = None,
    stopped: Callable[[], bool] = lambda: False,
    found: Callable[[int], None] | None = None,
    done: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Make the pictures that are wanted; several may do so at once.

    Parameters
    ----------
    settings
        The archive.
    collection
        Only of this one.
    again
        First forget those that there are, and why others could not be made.
    limit
        How many at most.
    stopped
        Asked before each.
    found, done
        Told how many there are, and after each what was done so far.

    Raises
    ------
    NotFoundError
        If there is no such collection.
    """
    outcome = Outcome()
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection:
        _check_name(connection, collection)
        store = PreviewStore(connection)
        if again:
            store.again(collection)
        _delete(settings, store)
        if found is not None:  # to count them takes as long as to make some
            found(store.waiting(collection))
        corrections: dict[str, CorrectionSet] = {}
        while not stopped() and (limit is None or outcome.made + outcome.failed < limit):
            wanted = store.claim(collection)
            if wanted is None:
                break
            if wanted.collection not in corrections:
                active = CorrectionStore(connection).active(wanted.collection)
                corrections[wanted.collection] = CorrectionSet.of(one.correction for one in active)
            try:
                reason = _make(settings, wanted, corrections[wanted.collection])
            except BaseException:
                store.give_back(wanted.product_id)
                raise
            if reason is None:
                outcome.made += 1
                store.made(wanted.product_id)
            else:
                outcome.failed += 1
                store.impossible(wanted.product_id, reason)
                _log.info("no preview of %s: %s", wanted.place, reason)
            done(outcome)
    return outcome


def _make(settings: Settings, wanted: Wanted, corrections: CorrectionSet) -> str | None:
    """Make both pictures; why that cannot be, where it cannot."""
    meant = corrections.meant_for(wanted.frame_id, wanted.path, wanted.did)
    try:
        headers, _ = correct(wanted.hdus, meant)
        file = open_source(wanted.source, list(map(Path, wanted.roots)), wanted.place)
        try:
            file.expect(wanted.size)
            picture = preview_of(file, headers)
        finally:
            file.close()
    except HeaderError as error:
        return f"HDU {error.hdu}: {error.reason}" if error.hdu is not None else error.reason
    except VOError as error:
        return str(error)
    except OSError as error:
        return f"the file cannot be read: {error.strerror or error}"
    except Exception as error:  # every broken file is broken in a way of its own
        _log.exception("defect in the preview of %s", wanted.place)
        return f"the file cannot be shown: {type(error).__name__}"
    for thumbnail in (True, False):
        place = preview_file(settings, wanted.product_id, thumbnail=thumbnail)
        _write(thumbnail_of(picture) if thumbnail else picture, place)
    return None


def _write(picture: Pillow.Image, place: Path) -> None:
    """Write a PNG that is whole or absent."""
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=".", dir=place.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            picture.save(out, "PNG", optimize=True)
        Path(draft).chmod(0o640)
        Path(draft).replace(place)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _delete(settings: Settings, store: PreviewStore) -> None:
    """Delete the pictures of what was withdrawn, replaced or has expired."""
    while numbers := store.gone(_SWEEP):
        for number in numbers:
            for thumbnail in (True, False):
                preview_file(settings, number, thumbnail=thumbnail).unlink(missing_ok=True)
        store.forget(numbers)


async def run_previews(settings: Settings, *, look_s: float = _LOOK_S) -> None:
    """Make what is wanted whenever there is some, until cancelled."""
    if not settings.previews:
        return
    await look_again_and_again(lambda stopped: _look(settings, stopped), look_s, "previews")


def _look(settings: Settings, stopped: threading.Event) -> None:
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection:
        store = PreviewStore(connection)
        _delete(settings, store)
        if not store.free():
            return
    while not stopped.is_set():
        outcome = in_other_process(_round, settings, stopped=stopped)
        if outcome is None or outcome.made + outcome.failed < _ROUND:
            return


def _round(settings: Settings) -> Outcome:
    return make_previews(settings, limit=_ROUND)
