"""An archive of sparse frames as large as the request that the TriCCS paper tells of.

486 frames, 2.64 TB together; and a few small ones whose names and states are awkward. What is
in a frame can be worked out from its number: `frame_bytes`.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from tests.support import settings_at
from vo_service.archive.links import LinkTree
from vo_service.db.schema import upgrade
from vo_service.services.setup import initialise
from vo_service.settings import Settings

FRAMES = 486
TOTAL = 2_640_000_000_000

#: Frames of the three sizes that there are; the first needs a pax header for its size.
SIZES = [30_000_000_000] * 10 + [4_915_966_386] * 475 + [4_915_966_650]

_MARK = 64

#: Small files of another collection, by their path.
ODD = (
    "frame-001.fits",
    "名前 with blank & 'quote' \"double\" #1 100%.fits",
    "deep/" * 40 + "end.fits",
    "empty.fits",
)


@dataclass(frozen=True)
class Frame:
    number: int
    collection: str
    path: str
    size: int
    mtime: int
    state: str = "public"
    md5: str | None = None

    @property
    def name(self) -> str:
        return f"{self.collection}/{self.path}"

    @property
    def did(self) -> str:
        return f"ivo://vo-service.example/{self.collection}?{self.path}"


def mark(frame: Frame) -> bytes:
    """What stands at the beginning and in the middle of a large frame."""
    return hashlib.sha512(frame.name.encode()).digest()


def frame_bytes(frame: Frame, start: int, end: int) -> bytes:
    """The content of a frame between two positions."""
    content = bytearray(end - start)
    places = (0, frame.size // 2) if frame.size > 10_000 else (0,)
    for place in places:
        text = mark(frame)[: min(_MARK, frame.size)]
        for offset, value in enumerate(text, place):
            if start <= offset < end:
                content[offset - start] = value
    return bytes(content)


def large_frames() -> list[Frame]:
    return [
        Frame(n, "triccs", f"2024/0{1 + n % 9}/frame-{n:03d}.fits", SIZES[n - 1], 1_700_000_000 + n)
        for n in range(1, FRAMES + 1)
    ]


def odd_frames() -> list[Frame]:
    frames = []
    for n, path in enumerate(ODD):
        frame = Frame(1001 + n, "odd", path, 0 if path == "empty.fits" else 700 + n, 1_600_000_000)
        md5 = hashlib.md5(frame_bytes(frame, 0, frame.size)).hexdigest()
        frames.append(Frame(frame.number, "odd", path, frame.size, frame.mtime, md5=md5))
    states = ("arrived", "withdrawn", "header")
    frames += [
        Frame(1100 + n, "odd", f"{state}.fits", 500, 1_600_000_000, state)
        for n, state in enumerate(states)
    ]
    return frames


def make_file(frame: Frame, root: Path) -> Path:
    place = root / frame.name
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as file:
        file.truncate(frame.size)
        for offset in {0, frame.size // 2 if frame.size > 10_000 else 0}:
            file.seek(offset)
            file.write(mark(frame)[: min(_MARK, frame.size)])
    os.utime(place, (frame.mtime, frame.mtime))
    return place


def add_frame(connection: psycopg.Connection, settings: Settings, frame: Frame, root: Path) -> None:
    """Publish a frame."""
    source: Path | None = make_file(frame, root)
    if frame.state == "public":
        LinkTree(settings.public).publish(frame.collection, frame.path, str(source))
    state = "public" if frame.state == "header" else frame.state
    connection.execute(
        "INSERT INTO archive.product (product_id, collection, path, did, source, size, modified, "
        "media_type, md5, state, release_date, proposal_id, headers) OVERRIDING SYSTEM VALUE "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, 'image/fits', %s, %s, '2099-01-31', 'P1', '[]')",
        (
            frame.number, frame.collection, frame.path, frame.did,
            None if frame.state == "header" else str(source), frame.size,
            datetime.fromtimestamp(frame.mtime, UTC), frame.md5, state,
        ),
    )  # fmt: skip
    connection.execute(
        "INSERT INTO archive.observation (product_id, calib_level, obs_collection, obs_id, "
        "obs_publisher_did) VALUES (%s, 1, %s, %s, %s)",
        (frame.number, frame.collection, f"exp-{frame.number // 10}", frame.did),
    )


def fill(url: str, home: Path, **chosen: object) -> Settings:
    """Make the archive in an empty database."""
    initialise(home)
    settings = settings_at(url, home, **chosen)
    upgrade(settings)
    root = home / "storage"
    with psycopg.connect(url) as connection:
        for name in ("triccs", "odd"):
            connection.execute(
                "INSERT INTO archive.collection (name, title, definition, roots) "
                "VALUES (%s, %s, '{}', %s)",
                (name, name, [str(root)]),
            )
        for frame in (*large_frames(), *odd_frames()):
            add_frame(connection, settings, frame, root)
    return settings
