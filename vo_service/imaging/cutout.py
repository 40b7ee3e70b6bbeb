"""A cutout as a FITS file that is never written: its size is known, its bytes can be read.

One image that fills the primary HDU of its file is again the primary HDU. All others stand in
IMAGE extensions, behind the primary header of their file (without its data), in the order of
requests, then of HDUs; compressed images come out uncompressed. Headers may be corrected.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from anyio.to_thread import run_sync

from vo_service.errors import TransientError
from vo_service.imaging.boxes import Box
from vo_service.imaging.cards import cards_of, cut_header, history, plain_primary, stripped_primary
from vo_service.imaging.select import Selection
from vo_service.imaging.stored import StoredPixels
from vo_service.imaging.tiled import TiledPixels
from vo_service.ingest.headers import BLOCK
from vo_service.ingest.images import Image
from vo_service.ingest.rewrite import HeaderEdits, rewritten
from vo_service.model.observation import HDUHeader

__all__ = ["Cutout", "Pixels", "Source", "Taken", "cutout_of", "pixels_of"]


_TABLE = re.compile(r"PS\d+_0[A-Z]?")


class Source(Protocol):
    """An open file: `read_now` gives at least one byte and at most as many as asked for."""

    @property
    def file(self) -> io.FileIO: ...  # noqa: D102 - said above

    @property
    def name(self) -> str: ...  # noqa: D102 - said above

    @property
    def size(self) -> int: ...  # noqa: D102 - said above

    @property
    def mtime_ns(self) -> int: ...  # noqa: D102 - said above

    @property
    def tag(self) -> str: ...  # noqa: D102 - said above

    def read_now(self, position: int, count: int) -> bytes: ...  # noqa: D102 - said above

    def close(self) -> None: ...  # noqa: D102 - said above


class Pixels(Protocol):
    """The pixels of a box, big-endian, as bytes at any position."""

    @property
    def size(self) -> int: ...  # noqa: D102 - said above

    def read(self, position: int, count: int) -> bytes: ...  # noqa: D102 - said above


@dataclass(frozen=True, slots=True)
class Taken:
    """What one stencil selected of one dataset.

    *said* is the stencil as it was asked for, *did* the identifier of the dataset, *number*
    counts the cutouts of a request from 1. *headers* are corrected already where they are to be;
    *edits* do the same to those of the file, by HDU. *changed_ns* is when the corrections last
    changed (nanoseconds since 1970, UTC).
    """

    source: Source
    headers: tuple[HDUHeader, ...]
    did: str
    said: str
    number: int
    selections: tuple[Selection, ...]
    edits: Mapping[int, HeaderEdits] = field(default_factory=dict)
    changed_ns: int = 0


@dataclass(slots=True)
class Cutout:
    """Bytes that can be delivered, in pieces that are read when they are wanted.

    *mtime_ns* is nanoseconds since 1970 (UTC), of the newest of its sources and corrections; *tag*
    changes with them and with the request.
    """

    name: str
    mtime_ns: int
    tag: str
    pieces: tuple[bytes | Pixels, ...]
    starts: tuple[int, ...]
    size: int
    sources: tuple[Source, ...]

    async def read(self, position: int, count: int) -> bytes:
        """At least one byte and at most *count*, from *position* on.

        Raises
        ------
        OSError
            If a source ends before its data, or was changed.
        """
        return await run_sync(self.read_now, position, count)

    def read_now(self, position: int, count: int) -> bytes:
        """As `read`, for those who are in a thread already."""
        parts = []
        index = bisect.bisect_right(self.starts, position) - 1
        # Pieces are often smaller than what a delivery takes at once.
        while count > 0 and index < len(self.pieces):
            piece, start = self.pieces[index], self.starts[index]
            if isinstance(piece, bytes):
                part = piece[position - start : position - start + count]
            else:
                part = piece.read(position - start, count)
            parts.append(part)
            position, count = position + len(part), count - len(part)
            if position < self.starts[index] + _length(piece):
                break
            index += 1
        return b"".join(parts)

    def close(self) -> None:
        """Close the sources."""
        for piece in self.pieces:
            if isinstance(piece, TiledPixels):
                piece.close()
        for source in self.sources:
            with contextlib.suppress(OSError):
                source.close()


def cutout_of(taken: Sequence[Taken], name: str, *, follows: bool = False) -> Cutout:
    """Lay out a cutout; reads headers, so call it in a thread.

    Parameters
    ----------
    taken
        At least one selection altogether.
    name
        Of the file that a client gets.
    follows
        Whether it is to stand behind another cutout: extensions only, then.

    Raises
    ------
    TransientError
        If a file is no longer what its stored headers say.
    UsageError
        If an image is compressed in tiles too large to unpack.
    """
    pieces = tuple(_pieces(taken, follows=follows))
    starts = tuple(itertools.accumulate(map(_length, pieces), initial=0))
    sources = {id(one.source): one.source for one in taken}
    digest = hashlib.sha256(repr([source.tag for source in sources.values()]).encode())
    for piece in pieces:
        if isinstance(piece, bytes):
            digest.update(piece)
    return Cutout(
        name=name,
        mtime_ns=max(max(one.source.mtime_ns, one.changed_ns) for one in taken),
        tag=digest.hexdigest()[:32],
        pieces=pieces,
        starts=starts[:-1],
        size=starts[-1],
        sources=tuple(sources.values()),
    )


def pixels_of(source: Source, headers: Sequence[HDUHeader], image: Image, box: Box) -> Pixels:
    """The pixels of a box of an image.

    Raises
    ------
    TransientError
        If the file is shorter than the image.
    UsageError
        If the image is compressed in tiles too large to unpack.
    """
    header = headers[image.hdu]
    bitpix = int(str(image.values["BITPIX"]))
    if header.data_offset is None or (header.data_size or 0) + header.data_offset > source.size:
        raise _changed(source)
    if image.values.get("ZIMAGE") is not True:
        return StoredPixels(source.read_now, header.data_offset, image.shape, abs(bitpix) // 8, box)
    lengths = (image.values.get(f"ZTILE{axis}") for axis in range(1, len(image.shape) + 1))
    tile = tuple(length for length in lengths if isinstance(length, int) and length > 0)
    return TiledPixels(source.file.fileno(), image.hdu, bitpix, image.shape, tile, box)


def _pieces(taken: Sequence[Taken], *, follows: bool) -> Iterator[bytes | Pixels]:
    chosen = [(one, selection) for one in taken for selection in one.selections]
    lone = len(chosen) == 1 and chosen[0][1].image.hdu == 0 and not follows
    if not lone and not follows:
        datasets = {one.did for one, _ in chosen}
        note = history(f"Cutouts by vo-service of {', '.join(sorted(datasets))}"[:2000])
        if len(datasets) == 1:
            yield stripped_primary(cards_of(_header(taken[0], 0)), note)
        else:
            yield plain_primary(note)
    for one, selection in chosen:
        image, box = selection.image, selection.box
        pixels = pixels_of(one.source, one.headers, image, box)
        cards = cards_of(_header(one, image.hdu))
        more = _said(one, selection)
        yield cut_header(cards, image.values, box, primary=lone, more=more)
        yield pixels
        if padding := -pixels.size % BLOCK:
            yield bytes(padding)
    for one in {id(one.source): one for one, _ in chosen}.values():
        yield from _tables(
            one, [part.image for other, part in chosen if other.source is one.source]
        )


def _tables(one: Taken, images: Sequence[Image]) -> Iterator[Pixels]:
    """The tables of coordinates that the WCS of images names, as they are.

    Source: FITS WCS paper III, "Coordinates in tables" (PSi_0 is the EXTNAME).
    """
    names = {
        str(value).strip()
        for image in images
        for keyword, value in image.values.items()
        if _TABLE.fullmatch(keyword) and value
    }
    for header in one.headers:
        if header.kind != "BINTABLE" or header.name.strip() not in names:
            continue
        if header.header_offset is not None and header.data_offset is not None:
            data = -(-(header.data_size or 0) // BLOCK) * BLOCK
            size = header.data_offset + data - header.header_offset
            yield StoredPixels(one.source.read_now, header.header_offset, (size,), 1, ((0, size),))


def _said(one: Taken, selection: Selection) -> list[bytes]:
    section = ",".join(f"{start + 1}:{stop}" for start, stop in selection.box)
    return [
        f"CUTOUT  = {one.number:>20} / number of the cutout in its request".ljust(80).encode(),
        *history(f"Cutout by vo-service of {one.did}"),
        *history(f"  asked for: {one.said}"[:1000]),
        *history(f"  pixels [{section}] of HDU {selection.image.hdu}"),
        *(history("  header with the corrections of the archive") if one.edits else ()),
    ]


def _header(one: Taken, hdu: int) -> bytes:
    """A header as the file has it, corrected if it is to be."""
    source, header = one.source, one.headers[hdu]
    if header.header_offset is None or header.data_offset is None:
        raise _changed(source)
    end = header.data_offset
    content = bytearray()
    try:
        while (position := header.header_offset + len(content)) < end:
            content += source.read_now(position, end - position)
    except OSError as error:
        raise _changed(source) from error
    begin = b"XTENSION=" if header.index else b"SIMPLE  ="
    if not content.startswith(begin):
        raise _changed(source)
    edits = one.edits.get(hdu)
    return rewritten(bytes(content), edits) if edits else bytes(content)


def _changed(source: Source) -> TransientError:
    return TransientError(
        f"{source.name}: the file has changed since it was ingested; try again when it was again"
    )


def _length(piece: bytes | Pixels) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.size
