"""A bundle: files that somebody asked for together, and those that cannot be had.

Sizes are bytes, times seconds since 1970 (UTC).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Bundle", "BundleFile", "LeftOut", "Member", "Selection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFile:
    """A file of a bundle.

    *size* is that of what is delivered; *md5* belongs to it too, None where it is not known.
    *header_tag* is the entity tag of the file with a corrected header, None where it is
    delivered as it is stored. A *remote* file is delivered by another server, to which its
    address leads; *size* is None where only that server knows it. *remark* is what the manifest
    says of it.
    """

    product_id: int
    collection: str
    path: str
    did: str
    size: int | None
    modified: int
    md5: str | None = None
    header_tag: str | None = None
    remote: bool = False
    remark: str = ""

    @property
    def name(self) -> str:
        """Its place below ``/data/`` and in an archive: two collections never share one."""
        return f"{self.collection}/{self.path}"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was asked for, in the words of the request, and why it is not in the bundle."""

    asked: str
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What a request came to: files in the order of their names, each once."""

    files: Sequence[BundleFile]
    left_out: Sequence[LeftOut] = ()

    @property
    def size(self) -> int:
        """All files together, as far as their sizes are known."""
        return sum(file.size or 0 for file in self.files)

    @property
    def here(self) -> Sequence[BundleFile]:
        """The files that an archive made here can hold."""
        return [file for file in self.files if not file.remote]


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar archive; *position* is where its header begins.

    *source* is where its content comes from: the number of a product, or the name of a text that
    was written for the archive. *header_tag* is as in `BundleFile`.
    """

    name: str
    size: int
    mtime: int
    source: int | str = 0
    header_tag: str | None = None
    position: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What a request came to, in numbers; *volume* is that of the files alone."""

    files: int
    volume: int
    left_out: int
    corrected: bool
    tar_size: int
    tag: str
