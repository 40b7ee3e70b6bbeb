"""How an observatory calls a frame: FRAMEID, or the name of the file.

Written by an operator as ``frame_id`` in a collection file. Source: the Subaru FITS rules,
"FRAMEID for Subaru Telescope".
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from vo_service.model.observation import HDUHeader
from vo_service.model.release import Words, Written

__all__ = ["FrameName", "stem"]

_SUFFIX = re.compile(r"(?:\.(?:fits?|fts|hdr|head|txt))(?:\.(?:gz|fz))?$|\.fz$", re.IGNORECASE)


def stem(path: PurePosixPath) -> str:
    """The name of a file without what only says its format; as ``archive.frame_name``."""
    return _SUFFIX.sub("", path.name)


class FrameName(Written):
    """The first of these keywords that has a text, in any HDU; else the `stem` of the file."""

    keyword: Words = ("FRAMEID",)

    def of(self, hdus: tuple[HDUHeader, ...], path: PurePosixPath) -> str:
        """The name of the frame with these headers at *path*."""
        for keyword in self.keyword:
            for hdu in hdus:
                for name, value, _ in hdu.cards:
                    if name == keyword and isinstance(value, str) and value.strip():
                        return value.strip()
        return stem(path)
