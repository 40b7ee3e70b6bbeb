"""What a request for cutouts selects, as one FITS file or as a picture.

It is worked out from the headers in the database before a file is looked at; files are opened
as for ``/data/``. Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

from vo_service.archive.opening import OpenFile, open_published, open_source
from vo_service.db.soda import Dataset
from vo_service.errors import TooLargeError, TransientError, UsageError
from vo_service.imaging.cutout import Cutout, Source, Taken, cutout_of, pixels_of
from vo_service.imaging.render import picture_of
from vo_service.imaging.select import Coverage, select
from vo_service.imaging.tiled import TiledPixels
from vo_service.ingest.images import images_of
from vo_service.model.stencil import Stencil
from vo_service.params.soda import CutoutQuery
from vo_service.services.soda import Found
from vo_service.settings import Settings

__all__ = ["make_cutout", "make_picture"]


def make_picture(settings: Settings, query: CutoutQuery, found: Sequence[Found]) -> bytes | None:
    """What a request selects, as a picture; None where that is nothing.

    Raises
    ------
    VOError
        As `make_cutout`, and if more than one image is selected.
    """
    with contextlib.ExitStack() as stack:
        return _picture(query, list(_opened(settings, found, stack)))


def make_cutout(settings: Settings, query: CutoutQuery, found: Sequence[Found]) -> Cutout | None:
    """What a request selects, as one FITS file; None where that is nothing.

    Parameters
    ----------
    settings
        The archive.
    query
        The request.
    found
        The datasets in the order of the request. Their files are closed with the result.

    Raises
    ------
    VOError
        If a dataset cannot be cut as it was asked, or the result is too large.
    """
    with contextlib.ExitStack() as stack:
        opened = list(_opened(settings, found, stack))
        taken = _all_taken(query, opened)
        if not any(part.selections for part in taken):
            return None
        cutout = cutout_of(taken, _name(query, opened))
        if cutout.size > settings.result_limit:
            raise TooLargeError(
                f"the cutout has {cutout.size} bytes: expected at most {settings.result_limit}; "
                "ask for less"
            )
        stack.pop_all()  # from now on the cutout's to close
        return cutout


def _opened(
    settings: Settings, found: Sequence[Found], stack: contextlib.ExitStack
) -> Iterator[tuple[Found, OpenFile]]:
    """The files, which *stack* closes."""
    for one in found:
        place, standing = one.dataset.place, one.standing
        roots = [Path(root) for root in standing.roots]
        if standing.unlinked is not None:
            file = open_source(standing.unlinked, roots, place)
        else:
            file = open_published(settings.public, {one.dataset.collection: roots}, place)
        stack.callback(file.close)
        file.expect(standing.size)
        yield one, file


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


def _all_taken(query: CutoutQuery, found: Sequence[tuple[Found, Source]]) -> list[Taken]:
    taken: list[Taken] = []
    for one, source in found:
        taken += _taken(one.dataset, source, query.stencils, len(taken) + 1)
    return taken


def _taken(
    dataset: Dataset, source: Source, stencils: Sequence[Stencil], first: int
) -> list[Taken]:
    if source.size != dataset.size:
        raise TransientError(f"{source.name}: the file is not the one that was ingested")
    headers = dataset.hdus
    images = images_of(headers)
    if not images:
        raise UsageError(f"{dataset.did}: the dataset holds no image")
    if any(headers[image.hdu].data_offset is None for image in images):
        raise UsageError(
            f"{dataset.did}: the file is compressed as a whole and cannot be cut; get all of it"
        )
    coverage = Coverage(**{part.name: getattr(dataset, part.name) for part in fields(Coverage)})
    return [
        Taken(
            source=source,
            headers=headers,
            did=dataset.did,
            said=stencil.text or "everything",
            number=number,
            selections=tuple(select(images, stencil, coverage)),
        )
        for number, stencil in enumerate(stencils, first)
    ]


def _name(query: CutoutQuery, found: Sequence[tuple[Found, Source]]) -> str:
    """A name for the file that a client saves."""
    if len(found) > 1:
        return "cutouts.fits"
    stem = found[0][1].name
    for suffix in (".gz", ".fz", ".fits", ".fit"):
        stem = stem.removesuffix(suffix)
    return f"{stem}-{'cutout' if len(query.stencils) == 1 else 'cutouts'}.fits"
