"""A file with other headers as something to deliver: new header blocks, then the file's own bytes.

Positions are bytes; a span is (start, end), the end not included.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence

from vo_service.web.files import OpenFile

__all__ = ["CorrectedFile"]


class CorrectedFile:
    """A `Content` made of *parts*: bytes as they are, and spans of *file*.

    Parameters
    ----------
    file
        Where the spans lie; closed with this.
    parts
        In their order, none of them empty.
    digest
        Tells these headers from others; empty where they are those of the file.
    changed_ns
        When the corrections last changed, nanoseconds since 1970 (UTC).
    """

    def __init__(
        self,
        file: OpenFile,
        parts: Sequence[bytes | tuple[int, int]],
        digest: str,
        changed_ns: int = 0,
    ) -> None:
        self._file = file
        self._parts = parts
        lengths = (len(p) if isinstance(p, bytes) else p[1] - p[0] for p in parts)
        self._starts = [0, *itertools.accumulate(lengths)]
        self.name = file.name
        self.size = self._starts[-1]
        self.tag = f"{file.tag}-{digest}" if digest else file.tag
        self.mtime_ns = max(file.mtime_ns, changed_ns)

    async def read(self, position: int, count: int) -> bytes:
        """Bytes from *position* on, of one part at most."""
        number = bisect_right(self._starts, position) - 1
        part, skipped = self._parts[number], position - self._starts[number]
        if isinstance(part, bytes):
            return part[skipped : skipped + count]
        start = part[0] + skipped
        return await self._file.read(start, min(count, part[1] - start))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
