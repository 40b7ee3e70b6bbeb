"""Cutouts of files on disk, without a server: headers as ingest reads them, bytes as sent."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from astropy.io import fits

from vo_service.imaging.cutout import Cutout, Taken, cutout_of
from vo_service.imaging.select import Coverage, select
from vo_service.ingest.headers import read_headers
from vo_service.ingest.images import images_of
from vo_service.params.soda import parse_cutout_query
from vo_service.web.files import OpenFile

__all__ = ["cut", "cutout", "opened", "read_all"]

CHUNK = 1 << 20


def opened(path: Path) -> OpenFile:
    file = io.FileIO(path)
    status = os.fstat(file.fileno())
    return OpenFile(file, path.name, status.st_size, status.st_mtime_ns, status.st_ino)


def cutout(path: Path, coverage: Coverage | None = None, **asked: str | list[str]) -> Cutout | None:
    """The cutout that parameters of SODA ask for of one file; None where nothing is selected."""
    pairs = [("ID", "ivo://x/y")]
    for name, values in asked.items():
        pairs += [(name, value) for value in ([values] if isinstance(values, str) else values)]
    query = parse_cutout_query(pairs, limit=1000)
    source = opened(path)
    headers = read_headers(source.file.fileno())
    images = images_of(headers)
    taken = [
        Taken(
            source, headers, "ivo://x/y", stencil.text, number,
            tuple(select(images, stencil, coverage or Coverage())),
        )
        for number, stencil in enumerate(query.stencils, 1)
    ]  # fmt: skip
    if not any(one.selections for one in taken):
        source.close()
        return None
    return cutout_of(taken, "cutout.fits")


def read_all(made: Cutout, chunk: int = CHUNK) -> bytes:
    """The whole content, as a delivery reads it."""
    content = bytearray()
    while len(content) < made.size:
        part = made.read_now(len(content), min(chunk, made.size - len(content)))
        assert 0 < len(part) <= chunk
        content += part
    made.close()
    return bytes(content)


def cut(path: Path, coverage: Coverage | None = None, **asked: str | list[str]) -> Any:
    """The HDUs of a cutout, with the pixels as stored; None where nothing is selected."""
    made = cutout(path, coverage, **asked)
    if made is None:
        return None
    content = read_all(made)
    assert len(content) == made.size
    hdus = fits.open(io.BytesIO(content), do_not_scale_image_data=True)
    hdus.verify("exception")
    return hdus
