"""Plans into FITS files: the same bytes every time, complete or not there at all.

CHECKSUM and DATASUM are in every HDU, with a fixed comment instead of astropy's clock time.
Source: FITS standard 4.0, "Checksum keywords" and "Tiled image compression".
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from vo_service.demo.paint import expose
from vo_service.demo.plan import Plan
from vo_service.errors import TransientError

__all__ = ["MD5SUMS", "fits_bytes", "make_file", "write_md5sums"]

#: One per night, as ``md5sum`` writes and ``md5sum --check`` reads it.
MD5SUMS = "md5sums"

_SEED = 357754
_TILE_ROWS = 40
_SMALL_FAINTEST = 14.0


def make_file(directory: Path, plan: Plan, small: bool) -> bool:
    """Write the file of *plan* below *directory*, if it is not there; say whether it was.

    *small* files hold the same header, without noise and faint stars, and are always
    tile-compressed but for movies: some tens of kilobytes each.

    Raises
    ------
    TransientError
        With the path and the reason (disk full, no permission).
    """
    path = directory / plan.path
    if path.is_file():
        return False
    if small:
        camera = replace(plan.camera, noise=0.0, faintest=_SMALL_FAINTEST)
        plan = replace(plan, camera=camera, compressed=math.prod(plan.shape) > 100_000)
    _replace(path, fits_bytes(plan))
    return True


def fits_bytes(plan: Plan) -> bytes:
    """The whole file of a plan."""
    rng = np.random.default_rng([_SEED, zlib.crc32(plan.path.encode())])
    counts = expose(plan.paint(plan, rng), plan.camera, rng)
    first = io.BytesIO()
    _hdus(plan, counts).writeto(first)
    first.seek(0)
    # Checksums of a compressed image are those of the table that holds it, known only now.
    with fits.open(first, disable_image_compression=True) as hdus:
        for hdu in hdus:
            hdu.add_checksum(when="of this HDU")
        final = io.BytesIO()
        hdus.writeto(final)
    return final.getvalue()


def write_md5sums(directory: Path, night: str, names: list[str]) -> None:
    """List the MD5 of the files *names* (below the night's directory) in ``md5sums``."""
    lines = []
    for name in sorted(names):
        with (directory / night / name).open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, _md5).hexdigest()}  {name}\n")
    _replace(directory / night / MD5SUMS, "".join(lines).encode())


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)


def _hdus(plan: Plan, counts: NDArray[np.generic]) -> fits.HDUList:
    if not plan.compressed:
        return fits.HDUList([fits.PrimaryHDU(counts, plan.header)])
    tile = (*(1 for _ in plan.shape[2:]), _TILE_ROWS, plan.shape[-1])
    image = fits.CompImageHDU(counts, plan.header, compression_type="RICE_1", tile_shape=tile)
    return fits.HDUList([fits.PrimaryHDU(), image])


def _replace(path: Path, content: bytes) -> None:
    """Write under another name, then rename: a reader sees all of the file or none."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        raise TransientError(f"{path}: cannot be written: {error.strerror}") from error
