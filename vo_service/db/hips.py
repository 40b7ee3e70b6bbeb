"""What a HiPS is made from: public frames in the archive, and the notes of a build.

The notes are a SQLite file beside the tiles that they are about, so that both are copied, renamed
and lost together, and a build that was killed is found again as it was. `HipsSources` runs as the
writer; the caller owns its transaction. `Notes` commits when it is told to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import class_row

from vo_service.model.observation import HDUHeader

__all__ = ["HipsSources", "Notes", "PublicFrame", "StoredFrame", "Summary"]

_BATCH = 2000


@dataclass(frozen=True, slots=True)
class PublicFrame:
    """A frame that everybody may have: number and footprint (STC-S, ICRS degrees)."""

    product_id: int
    s_region: str


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """What is needed to read a frame; *size* is bytes."""

    product_id: int
    path: str
    did: str
    frame_id: str | None
    source: str
    size: int
    headers: list[dict[str, Any]]

    @property
    def hdus(self) -> tuple[HDUHeader, ...]:
        """The headers as they were ingested."""
        return tuple(
            HDUHeader(**{**hdu, "cards": tuple(tuple(card) for card in hdu["cards"])})
            for hdu in self.headers
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """What the frames of a collection span: MJD, metres; None where nothing is known."""

    t_min: float | None
    t_max: float | None
    em_min: float | None
    em_max: float | None


_PUBLIC = """
FROM archive.product p JOIN archive.observation o USING (product_id)
WHERE p.collection = %(collection)s AND p.state = 'public' AND p.current AND NOT p.closed
  AND p.source IS NOT NULL AND o.s_region IS NOT NULL AND o.dataproduct_type = 'image'
  AND (%(instrument)s::text IS NULL OR o.instrument_name = %(instrument)s)
"""


class HipsSources:
    """Statements about public frames, on a connection of the writer."""

    def __init__(
        self, connection: psycopg.Connection[Any], collection: str, instrument: str | None
    ) -> None:
        self._connection = connection
        self._which = {"collection": collection, "instrument": instrument}

    def about(self) -> tuple[str, str, list[Path]] | None:
        """Title, description and roots of the collection; None where there is no such."""
        row = self._connection.execute(
            "SELECT title, coalesce(description, ''), roots FROM archive.collection "
            "WHERE name = %(collection)s",
            self._which,
        ).fetchone()
        return None if row is None else (row[0], row[1], [Path(root) for root in row[2]])

    def frames(self) -> Iterator[list[PublicFrame]]:
        """All public frames, in batches."""
        with self._connection.cursor(name="frames", row_factory=class_row(PublicFrame)) as cursor:
            cursor.execute(f"SELECT product_id, o.s_region {_PUBLIC}".encode(), self._which)
            while batch := cursor.fetchmany(_BATCH):
                yield batch

    def stored(self, product_ids: Sequence[int]) -> list[StoredFrame]:
        """Those of the products that are (still) public."""
        with self._connection.cursor(row_factory=class_row(StoredFrame)) as cursor:
            cursor.execute(
                "SELECT product_id, path, did, frame_id, source, size, headers "
                "FROM archive.product WHERE product_id = ANY(%s) AND state = 'public' "
                "AND current AND NOT closed AND source IS NOT NULL ORDER BY product_id",
                (list(product_ids),),
            )
            return cursor.fetchall()

    def some(self, number: int) -> list[StoredFrame]:
        """A few public frames."""
        rows = self._connection.execute(
            f"SELECT product_id {_PUBLIC} LIMIT %(number)s".encode(),
            {**self._which, "number": number},
        )
        return self.stored([number for (number,) in rows])

    def still_public(self, product_ids: Sequence[int]) -> set[int]:
        """Those of the products that everybody may have."""
        rows = self._connection.execute(
            "SELECT product_id FROM archive.product WHERE product_id = ANY(%s) "
            "AND state = 'public' AND current AND NOT closed",
            (list(product_ids),),
        )
        return {number for (number,) in rows}

    def summary(self) -> Summary:
        """What all public frames span."""
        row = self._connection.execute(
            f"SELECT min(t_min), max(t_max), min(em_min), max(em_max) {_PUBLIC}".encode(),
            self._which,
        ).fetchone()
        return Summary(*(row or (None,) * 4))


_SCHEMA = """
CREATE TABLE IF NOT EXISTS said (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS frame (
    product_id INTEGER PRIMARY KEY, s_region TEXT NOT NULL, seen INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS cover (
    tile INTEGER NOT NULL, product_id INTEGER NOT NULL, PRIMARY KEY (tile, product_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS cover_product ON cover (product_id);
CREATE TABLE IF NOT EXISTS wanted (
    stage TEXT NOT NULL, level INTEGER NOT NULL, tile INTEGER NOT NULL,
    PRIMARY KEY (stage, level, tile)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cell (tile INTEGER NOT NULL, cell INTEGER NOT NULL,
    PRIMARY KEY (tile, cell)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unusable (product_id INTEGER PRIMARY KEY, reason TEXT NOT NULL);
"""


class Notes:
    """The notes of a build: frames, tiles that they are under, tiles that are still to be made."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file)
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Forget what was not committed."""
        self._db.close()

    def commit(self) -> None:
        """Keep what was noted."""
        self._db.commit()

    def say(self, key: str, value: str) -> None:
        """Note a value."""
        self._db.execute("INSERT OR REPLACE INTO said VALUES (?, ?)", (key, value))

    def said(self, key: str) -> str | None:
        """A value that was noted."""
        row = self._db.execute("SELECT value FROM said WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def known(self, frames: Sequence[PublicFrame], turn: int) -> list[PublicFrame]:
        """Mark frames as seen in this *turn*; those that are new, or lie elsewhere now."""
        new = []
        for frame in frames:
            row = self._db.execute(
                "SELECT s_region FROM frame WHERE product_id = ?", (frame.product_id,)
            ).fetchone()
            if row is not None and row[0] == frame.s_region:
                self._db.execute(
                    "UPDATE frame SET seen = ? WHERE product_id = ?", (turn, frame.product_id)
                )
            else:
                new.append(frame)
        return new

    def add(self, frame: PublicFrame, tiles: Sequence[int], level: int, turn: int) -> None:
        """Take in a frame that is under *tiles*, which are to be made (again)."""
        self.remove([frame.product_id], level)
        self._db.execute(
            "INSERT INTO frame VALUES (?, ?, ?)", (frame.product_id, frame.s_region, turn)
        )
        self._db.executemany(
            "INSERT INTO cover VALUES (?, ?)", [(tile, frame.product_id) for tile in tiles]
        )
        self.want("tile", level, tiles)

    def unseen(self, turn: int) -> list[int]:
        """Frames that were not seen in this turn."""
        rows = self._db.execute("SELECT product_id FROM frame WHERE seen <> ?", (turn,))
        return [number for (number,) in rows]

    def remove(self, product_ids: Sequence[int], level: int) -> None:
        """Forget frames; the tiles that they are under are to be made again."""
        for number in product_ids:
            rows = self._db.execute("SELECT tile FROM cover WHERE product_id = ?", (number,))
            self.want("tile", level, [tile for (tile,) in rows.fetchall()])
            self._db.execute("DELETE FROM cover WHERE product_id = ?", (number,))
            self._db.execute("DELETE FROM frame WHERE product_id = ?", (number,))
            self._db.execute("DELETE FROM unusable WHERE product_id = ?", (number,))

    def frames(self) -> Iterator[list[int]]:
        """All frames, in batches."""
        cursor = self._db.execute("SELECT product_id FROM frame ORDER BY product_id")
        while rows := cursor.fetchmany(_BATCH):
            yield [number for (number,) in rows]

    def count(self) -> int:
        """How many frames there are."""
        return int(self._db.execute("SELECT count(*) FROM frame").fetchone()[0])

    def under(self, tile: int) -> list[int]:
        """Frames that a tile is made from, the oldest first."""
        rows = self._db.execute(
            "SELECT product_id FROM cover WHERE tile = ? AND product_id NOT IN "
            "(SELECT product_id FROM unusable) ORDER BY product_id",
            (tile,),
        )
        return [number for (number,) in rows]

    def unusable(self, product_id: int, reason: str) -> None:
        """Note a frame that cannot be drawn, once."""
        self._db.execute("INSERT OR REPLACE INTO unusable VALUES (?, ?)", (product_id, reason))

    def problems(self) -> list[tuple[int, str]]:
        """Frames that cannot be drawn, and why."""
        return self._db.execute("SELECT product_id, reason FROM unusable").fetchall()

    def want(self, stage: str, level: int, tiles: Iterable[int]) -> None:
        """Note tiles that are to be made."""
        self._db.executemany(
            "INSERT OR IGNORE INTO wanted VALUES (?, ?, ?)", [(stage, level, t) for t in tiles]
        )

    def wanted(self, stage: str) -> tuple[int, int] | None:
        """Level and number of a tile that is to be made; the deepest come first."""
        row = self._db.execute(
            "SELECT level, tile FROM wanted WHERE stage = ? ORDER BY level DESC, tile LIMIT 1",
            (stage,),
        ).fetchone()
        return (row[0], row[1]) if row else None

    def left(self, stage: str) -> int:
        """How many tiles are to be made."""
        row = self._db.execute("SELECT count(*) FROM wanted WHERE stage = ?", (stage,)).fetchone()
        return int(row[0])

    def done(self, stage: str, level: int, tile: int) -> None:
        """A tile is made."""
        self._db.execute(
            "DELETE FROM wanted WHERE stage = ? AND level = ? AND tile = ?", (stage, level, tile)
        )

    def cover(self, tile: int, cells: Sequence[int]) -> None:
        """Note which cells of a tile have pixels."""
        self._db.execute("DELETE FROM cell WHERE tile = ?", (tile,))
        self._db.executemany("INSERT INTO cell VALUES (?, ?)", [(tile, cell) for cell in cells])

    def covered(self) -> list[tuple[int, int]]:
        """All cells that have pixels, as (tile, cell)."""
        return self._db.execute("SELECT tile, cell FROM cell ORDER BY tile, cell").fetchall()
