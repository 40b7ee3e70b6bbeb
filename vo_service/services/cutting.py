"""What a request for cutouts selects, as one FITS file or as a picture.

It is worked out from the headers in the database before a file is looked at; files are opened
as for ``/data/``. Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from vo_service.archive.opening import OpenFile, open_published, open_source
from vo_service.errors import HeaderError, TooLargeError, TransientError, UsageError
from vo_service.imaging.cutout import Cutout, Source, Taken, cutout_of, pixels_of
from vo_service.imaging.render import picture_of
from vo_service.imaging.select import Coverage, select
from vo_service.imaging.tiled import TiledPixels
from vo_service.imaging.unpacked import Unpacker
from vo_service.ingest.corrections import apply_edits, decide
from vo_service.ingest.headers import nominal_size, read_headers
from vo_service.ingest.images import images_of
from vo_service.ingest.rewrite import by_hdu
from vo_service.model.observation import HDUHeader
from vo_service.model.stencil import Stencil
from vo_service.params.soda import CutoutQuery
from vo_service.services.soda import Found
from vo_service.settings import Settings

__all__ = ["Cutter"]


@dataclass(frozen=True, slots=True)
class Cutter:
    """Makes cutouts; files compressed as a whole are unpacked by *unpacker*."""

    settings: Settings
    unpacker: Unpacker

    @classmethod
    def of(cls, settings: Settings) -> Cutter:
        """For the archive of *settings*."""
        return cls(settings, Unpacker(settings.home / "unpacked", settings.unpack_limit))

    def picture(self, query: CutoutQuery, found: Sequence[Found]) -> bytes | None:
        """What a request selects, as a picture; None where that is nothing.

        Raises
        ------
        VOError
            As `cutout`, and if more than one image is selected.
        """
        with contextlib.ExitStack() as stack:
            return _picture(query, list(self._opened(found, stack)))

    def cutout(
        self, query: CutoutQuery, found: Sequence[Found], *, first: int = 1, follows: bool = False
    ) -> Cutout | None:
        """What a request selects, as one FITS file; None where that is nothing.

        Parameters
        ----------
        query
            The request.
        found
            The datasets in the order of the request. Their files are closed with the result.
        first, follows
            The number of the first cutout, and whether these stand behind others: then they are
            extensions only.

        Raises
        ------
        VOError
            If a dataset cannot be cut as it was asked, or the result is too large.
        """
        with contextlib.ExitStack() as stack:
            opened = list(self._opened(found, stack))
            taken = _all_taken(query, opened, first)
            if not any(part.selections for part in taken):
                return None
            cutout = cutout_of(taken, _name(query, opened), follows=follows)
            limit = self.settings.result_limit
            if cutout.size > limit:
                raise TooLargeError(
                    f"the cutout has {cutout.size} bytes: expected at most {limit}; ask for less"
                )
            stack.pop_all()  # from now on the cutout's to close
            return cutout

    def _opened(
        self, found: Sequence[Found], stack: contextlib.ExitStack
    ) -> Iterator[tuple[Found, Source]]:
        """The files, which *stack* closes."""
        for one in found:
            place, standing = one.dataset.place, one.standing
            roots = [Path(root) for root in standing.roots]
            if standing.unlinked is not None:
                file = open_source(standing.unlinked, roots, place)
            else:
                file = open_published(self.settings.public, {one.dataset.collection: roots}, place)
            closing = stack.enter_context(contextlib.closing(file))
            file.expect(standing.size)
            if file.size != one.dataset.size:
                raise TransientError(f"{file.name}: the file is not the one that was ingested")
            if one.dataset.packed:
                unpacked = self._unpacked(one, file)
                closing.close()
                yield one, stack.enter_context(contextlib.closing(unpacked))
            else:
                yield one, file

    def _unpacked(self, one: Found, file: OpenFile) -> Source:
        size, limit = nominal_size(one.dataset.hdus), self.unpacker.limit
        if size > limit:
            raise TooLargeError(
                f"{one.dataset.did}: is compressed as a whole and has {size} bytes when unpacked: "
                f"expected at most {limit}, or all of it from /data/"
            )
        return self.unpacker.unpack(file)


def _picture(query: CutoutQuery, opened: Sequence[tuple[Found, Source]]) -> bytes | None:
    chosen = [
        (part, selection) for part in _all_taken(query, opened) for selection in part.selections
    ]
    if not chosen:
        return None
    if len(chosen) > 1:
        raise UsageError(
            f"a picture shows one image, and {len(chosen)} are selected: expected one ID, one "
            "stencil, and PIXEL=[hdu][*,*] for one HDU; or FITS"
        )
    ((part, selection),) = chosen
    pixels = pixels_of(part.source, part.headers, selection.image, selection.box)
    animated = query.media_type == "image/webp"
    try:
        return picture_of(selection, pixels, query.picture, animated=animated)
    except OSError as error:
        raise TransientError(f"{part.source.name}: cannot be read now; try again later") from error
    finally:
        if isinstance(pixels, TiledPixels):
            pixels.close()


def _all_taken(
    query: CutoutQuery, found: Sequence[tuple[Found, Source]], first: int = 1
) -> list[Taken]:
    taken: list[Taken] = []
    for one, source in found:
        taken += _taken(one, source, query.stencils, first + len(taken))
    return taken


def _taken(one: Found, source: Source, stencils: Sequence[Stencil], first: int) -> list[Taken]:
    dataset, corrections = one.dataset, one.corrections
    headers = _headers_within(source) if dataset.packed else dataset.hdus
    edits, _ = decide(headers, corrections.corrections if corrections else ())
    headers = apply_edits(headers, edits)
    images = images_of(headers)
    if not images:
        raise UsageError(f"{dataset.did}: the dataset holds no image")
    coverage = Coverage(**{part.name: getattr(dataset, part.name) for part in fields(Coverage)})
    return [
        Taken(
            source=source,
            headers=headers,
            did=dataset.did,
            said=stencil.text or "everything",
            number=number,
            selections=tuple(select(images, stencil, coverage)),
            edits=by_hdu(edits),
            changed_ns=corrections.changed_ns if corrections else 0,
        )
        for number, stencil in enumerate(stencils, first)
    ]


def _headers_within(unpacked: Source) -> tuple[HDUHeader, ...]:
    """The headers of a file that was packed, with their places in what it was unpacked to."""
    try:
        return read_headers(unpacked.file.fileno())
    except HeaderError as error:
        raise TransientError(
            f"{unpacked.name}: is not now what was ingested ({error}); try again later"
        ) from error


def _name(query: CutoutQuery, found: Sequence[tuple[Found, Source]]) -> str:
    """A name for the file that a client saves."""
    if len(found) > 1:
        return "cutouts.fits"
    stem = found[0][1].name
    for suffix in (".gz", ".fz", ".fits", ".fit"):
        stem = stem.removesuffix(suffix)
    return f"{stem}-{'cutout' if len(query.stencils) == 1 else 'cutouts'}.fits"
