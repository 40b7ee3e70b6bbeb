"""The build of a HiPS: from public frames, resumed, brought up to date by increments.

What is to be done is the difference between the frames that a build has and those that are public
now: tiles under frames that came, went or moved are made again, then their parents, then their
pictures. Every tile is noted when it is done, so a build that was killed goes on where it was.
Before a build goes live the frames are compared once more: what was withdrawn meanwhile is not in
it. Source: HiPS 1.0.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from vo_service.archive.opening import open_source
from vo_service.db.corrections import CorrectionStore
from vo_service.db.hips import HipsSources, Notes, StoredFrame
from vo_service.errors import ConfigError, HeaderError, NotFoundError, VOError
from vo_service.imaging.grey import Floats, zscale
from vo_service.imaging.hips import SkyFrame, pixel_scale, tile_of
from vo_service.imaging.hips_tiles import (
    TILE,
    cells_of,
    children,
    halved,
    order_for,
    read_tile,
    tile_path,
    write_tile,
)
from vo_service.ingest.corrections import correct
from vo_service.model.correction import CorrectionSet
from vo_service.services.coverage import moc_of_footprints
from vo_service.services.hips_output import FORMATS, finish, paint
from vo_service.services.hips_places import NOTES, TILES, HipsPlace
from vo_service.settings import Settings

__all__ = ["Build", "Built", "HipsRecipe", "Tell"]

#: Files that are open at once.
_OPEN = 16
_SAMPLE = 20
#: Order of a HiPS at most: pixels of 0.05 arcsec.
_MOST_ORDER = 13
_DEPTH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class HipsRecipe:
    """What a HiPS is made of and how; None: as it was built before, else the default.

    *order* is the deepest one; *form* that of the pictures (``png``, ``jpeg``, ``webp``); *depth*
    the number of frames that are enough for a pixel; *subtract_sky* takes away the median of each
    frame.
    """

    order: int | None = None
    form: str | None = None
    depth: int | None = None
    subtract_sky: bool | None = None
    instrument: str | None = None


@dataclass(slots=True)
class Built:
    """What a build did: tiles made, frames in it, frames that could not be drawn (and why)."""

    name: str
    order: int = 0
    tiles: int = 0
    frames: int = 0
    problems: list[str] = field(default_factory=list)
    published: bool = False


@dataclass(frozen=True, slots=True)
class _Plan:
    """A recipe in which nothing is left open."""

    collection: str
    order: int
    form: str
    depth: int
    subtract_sky: bool
    instrument: str | None


@dataclass(frozen=True, slots=True)
class Tell:
    """Who is told of progress: what follows and how many tiles it takes; that one is done."""

    stage: Callable[[str, int], None] = lambda *_: None
    done: Callable[[], None] = lambda: None


class Build:
    """One build, in its directory; somebody holds the lock."""

    def __init__(
        self,
        settings: Settings,
        connection: psycopg.Connection[Any],
        place: HipsPlace,
        work: Path,
        *,
        collection: str,
        recipe: HipsRecipe | None,
        tell: Tell,
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._place = place
        self._work = work
        self._tiles = work / TILES
        self._tell = tell
        self._notes = Notes(work / NOTES)
        self._plan = self._settle(collection, recipe or HipsRecipe())
        self._sources = HipsSources(connection, collection, self._plan.instrument)
        self._built = Built(place.name, order=self._plan.order)

    def run(self, *, only_remove: bool = False) -> Built:
        """Do all that is to be done, then go live."""
        notes, changed = self._notes, False
        frames = _OpenFrames(self._connection, self._sources, plan=self._plan, notes=notes)
        try:
            while True:
                self._compare(only_remove=only_remove)
                if not any(notes.left(stage) for stage in ("tile", "parent", "picture")):
                    break
                changed = True
                self._each("tile", lambda level, tile: self._make(frames, tile))
                self._each("parent", self._join)
                self._cuts()
                self._each("picture", self._paint)
                frames.close()
        finally:
            frames.close()
        self._built.frames = notes.count()
        self._built.problems = [
            f"{self._plan.collection}/{path}: {reason}" for path, reason in self._problems()
        ]
        if changed or notes.said("finished") is None:
            if not self._built.frames and not self._place.current.exists():
                notes.close()
                self._place.forget(self._work.name)
                raise NotFoundError(
                    f"{self._plan.collection}: there is no public image with a footprint to be "
                    "drawn"
                )
            self._built.published = True
            self._finish()
        else:
            notes.close()
            self._place.forget(self._work.name)
        return self._built

    def _settle(self, collection: str, asked: HipsRecipe) -> _Plan:
        """What is asked for, completed by what was built before, then by what is usual."""
        notes = self._notes
        before = {key: notes.said(key) for key in ("order", "form", "depth", "sky", "instrument")}
        given = {
            "order": asked.order, "form": asked.form, "depth": asked.depth,
            "sky": None if asked.subtract_sky is None else int(asked.subtract_sky),
            "instrument": asked.instrument,
        }  # fmt: skip
        if notes.said("collection") not in (None, collection):
            self._refuse("collection", notes.said("collection"))
        if notes.said("collection") is not None:
            for key, value in given.items():
                if value is not None and str(value) != (before[key] or ""):
                    self._refuse(key, before[key])
        if asked.form is not None and asked.form not in FORMATS:
            raise ConfigError(f"format {asked.form!r}: expected {', '.join(FORMATS)}")
        instrument = before["instrument"] or asked.instrument
        order = before["order"] or asked.order or self._usual_order(collection, instrument)
        plan = _Plan(
            collection=collection,
            order=int(order),
            form=before["form"] or asked.form or "png",
            depth=int(before["depth"] or asked.depth or _DEPTH),
            subtract_sky=bool(int(before["sky"] or asked.subtract_sky or 0)),
            instrument=instrument,
        )
        said = {
            "collection": collection, "order": plan.order, "form": plan.form, "depth": plan.depth,
            "sky": int(plan.subtract_sky), "instrument": plan.instrument or "",
        }  # fmt: skip
        for key, text in said.items():
            notes.say(key, str(text))
        if notes.said("created") is None:
            notes.say("created", time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()))
        notes.commit()
        return plan

    def _refuse(self, key: str, before: str | None) -> None:
        self._notes.close()
        raise ConfigError(
            f"HiPS {self._place.name} was built with {key} {before or 'not given'}; leave it as "
            "it is, build under another name (--name), or begin anew (--again)"
        )

    def _usual_order(self, collection: str, instrument: str | None) -> int:
        """The order whose pixels are as small as those of the frames."""
        scales = []
        for stored in HipsSources(self._connection, collection, instrument).some(_SAMPLE):
            try:
                scale = pixel_scale(stored.hdus)
            except HeaderError:
                continue
            if scale is not None:
                scales.append(scale)
        if not scales:
            self._notes.close()
            self._place.forget(self._work.name)
            raise NotFoundError(f"{collection}: there is no public image to be drawn")
        return min(_MOST_ORDER, order_for(float(np.median(scales))))

    def _compare(self, *, only_remove: bool) -> None:
        """Note what has come and gone since the last time."""
        notes, order = self._notes, self._plan.order
        if only_remove:
            for numbers in list(notes.frames()):
                public = self._sources.still_public(numbers)
                notes.remove([number for number in numbers if number not in public], order)
        else:
            turn = int(notes.said("turn") or 0) + 1
            notes.say("turn", str(turn))
            for batch in self._sources.frames():
                new = notes.known(batch, turn)
                mocs = moc_of_footprints([(f.s_region, None, None) for f in new], order)
                for frame, moc in zip(new, mocs, strict=True):
                    tiles = [] if moc is None else moc.to_order(order).flatten().tolist()
                    notes.add(frame, tiles, order, turn)
            notes.remove(notes.unseen(turn), order)
        self._connection.commit()
        notes.commit()

    def _each(self, stage: str, make: Callable[[int, int], None]) -> None:
        """Make all tiles of a stage, and note each."""
        self._tell.stage(stage, self._notes.left(stage))
        while (wanted := self._notes.wanted(stage)) is not None:
            make(*wanted)
            self._notes.done(stage, *wanted)
            self._notes.commit()
            self._tell.done()

    def _make(self, frames: _OpenFrames, tile: int) -> None:
        order = self._plan.order
        pixels = tile_of(order, tile, frames.of(self._notes.under(tile)), self._plan.depth)
        self._keep(order, tile, pixels)
        self._notes.cover(tile, [] if pixels is None else cells_of(pixels))
        self._built.tiles += 1

    def _join(self, order: int, tile: int) -> None:
        """Make a tile from those of the next order."""
        pixels = np.full((TILE, TILE), np.nan, dtype=np.float32)
        for child, rows, columns in children(tile):
            found = read_tile(self._tiles / tile_path(order + 1, child, "fits"))
            if found is not None:
                pixels[rows, columns] = halved(found)
        self._keep(order, tile, pixels if np.isfinite(pixels).any() else None)

    def _keep(self, order: int, tile: int, pixels: Floats | None) -> None:
        """Write a tile, or take away what was there; its parent and its picture follow."""
        place = self._tiles / tile_path(order, tile, "fits")
        if pixels is None:
            place.unlink(missing_ok=True)
        else:
            write_tile(place, pixels, order, tile)
        if order > 0:
            self._notes.want("parent", order - 1, [tile // 4])
        self._notes.want("picture", order, [tile])

    def _cuts(self) -> None:
        """Choose once from what value to what a picture is drawn; increments look the same."""
        if self._notes.said("cuts") is not None:
            return
        deepest = sorted((self._tiles / f"Norder{self._plan.order}").glob("Dir*/Npix*.fits"))
        step = max(1, len(deepest) // _SAMPLE)
        values = [tile for place in deepest[::step] if (tile := read_tile(place)) is not None]
        if not values:
            return
        shown = np.concatenate([tile[np.isfinite(tile)] for tile in values])
        low, high = zscale(shown)
        high = max(high, float(np.quantile(shown, 0.998)))
        self._notes.say("cuts", f"{low!r} {high!r}")
        self._notes.commit()

    def _paint(self, order: int, tile: int) -> None:
        paint(self._tiles, order, tile, self._plan.form, self._notes.said("cuts"))

    def _problems(self) -> list[tuple[str, str]]:
        known = dict(self._notes.problems())
        return [(stored.path, known[stored.product_id])
                for stored in self._sources.stored(list(known))]  # fmt: skip

    def _finish(self) -> None:
        about = self._sources.about()
        summary = self._sources.summary()
        self._connection.commit()
        plan, notes = self._plan, self._notes
        finish(
            self._settings, self._tiles, notes,
            name=self._place.name, order=plan.order, form=plan.form,
            about=about[:2] if about else ("", ""), summary=summary,
        )  # fmt: skip
        notes.say("finished", "yes")
        notes.commit()
        notes.close()
        self._place.publish(self._work)


class _OpenFrames:
    """Frames that are open, the last few of them."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        sources: HipsSources,
        *,
        plan: _Plan,
        notes: Notes,
    ) -> None:
        self._sources = sources
        self._plan = plan
        self._notes = notes
        self._connection = connection
        about = sources.about()
        self._roots: Sequence[Path] = about[2] if about else ()
        active = CorrectionStore(connection).active(plan.collection)
        self._corrections = CorrectionSet.of(one.correction for one in active)
        self._open: OrderedDict[int, SkyFrame] = OrderedDict()

    def of(self, numbers: Sequence[int]) -> Iterator[SkyFrame]:
        """The frames of these numbers, one after the other; each is good until the next."""
        for number in numbers:
            frame = self._open.get(number) or self._opened(number)
            if frame is not None:
                self._open[number] = frame
                self._open.move_to_end(number)
                while len(self._open) > _OPEN:
                    self._open.popitem(last=False)[1].source.close()
                yield frame

    def _opened(self, number: int) -> SkyFrame | None:
        """A frame; None where it is not public any more, or cannot be drawn."""
        stored = self._sources.stored([number])
        self._connection.commit()
        if not stored:
            return None
        try:
            return self._frame(stored[0])
        except (VOError, OSError) as error:
            reason = error.reason if isinstance(error, HeaderError) else str(error)
            self._notes.unusable(number, reason)
            return None

    def _frame(self, stored: StoredFrame) -> SkyFrame:
        meant = self._corrections.meant_for(stored.frame_id, stored.path, stored.did)
        headers, _ = correct(stored.hdus, meant)
        file = open_source(stored.source, self._roots, f"{self._plan.collection}/{stored.path}")
        try:
            file.expect(stored.size)
            return SkyFrame(file, headers, self._plan.subtract_sky)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        """Close all."""
        while self._open:
            self._open.popitem()[1].source.close()
