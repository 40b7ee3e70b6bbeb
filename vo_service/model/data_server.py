"""Where the files of a collection are, if they are not at the centre.

Written by an operator as ``data_server`` in a collection file; docs/data-servers.md explains it.
Source: MISSION B8, data servers A (files at the centre, another machine delivers them) and B
(files stay at the observatory, only headers travel).
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from pydantic import field_validator

from vo_service.model.release import Written

__all__ = ["DataServer", "file_of_header"]

_HEADERS = {".hdr", ".head", ".txt"}
_FITS = {".fits", ".fit", ".fts", ".fz"}


class DataServer(Written):
    """Another server that delivers files under ``<url><collection>/<path>``.

    *roots* are the directories there in which the files lie; none, if they lie where the
    collection's own roots are. *public* is the server's tree of links as the centre sees it
    (a mounted file system); none, if the server keeps its own.
    """

    url: str
    public: Path | None = None
    roots: tuple[Path, ...] = ()

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            plain = bool(parts.hostname) and parts.port != 0
        except ValueError:
            plain = False
        if (
            not plain
            or parts.scheme not in ("http", "https")
            or parts.query
            or parts.fragment
            or "@" in parts.netloc
            or not url.isascii()
            or not url.isprintable()
            or " " in url
        ):
            raise ValueError("expected an address such as https://data.example.org/data/")
        return f"{url.rstrip('/')}/"

    @field_validator("public")
    @classmethod
    def _absolute(cls, public: Path | None) -> Path | None:
        if public is not None and not public.is_absolute():
            raise ValueError("expected an absolute directory")
        return public

    @field_validator("roots")
    @classmethod
    def _absolute_roots(cls, roots: tuple[Path, ...]) -> tuple[Path, ...]:
        if any(not root.is_absolute() for root in roots):
            raise ValueError("expected absolute directories")
        return roots


def file_of_header(path: PurePosixPath) -> PurePosixPath:
    """The file to which a header file belongs: ``a.fits`` for ``a.fits.hdr`` and for ``a.hdr``."""
    if path.suffix not in _HEADERS:
        return path
    file = path.with_suffix("")
    packed = file.suffix == ".gz" and file.with_suffix("").suffix in _FITS
    return file if packed or file.suffix in _FITS else file.with_name(f"{file.name}.fits")
