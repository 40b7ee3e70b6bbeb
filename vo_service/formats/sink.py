"""A file that is written to by a library and emptied by us, so that its output streams."""

from __future__ import annotations

__all__ = ["Sink"]


class Sink:
    """Takes bytes by `write`, gives them once by `take`; nothing else of a file."""

    def __init__(self) -> None:
        self.closed = False
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Keep a copy: *data* may be the view of a buffer that is used again."""
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """All that was written since the last time."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """The end; what was written last can still be taken."""
        self.closed = True

    def readable(self) -> bool:
        """It cannot be read."""
        return False

    def writable(self) -> bool:
        """It can be written."""
        return True

    def seekable(self) -> bool:
        """What was taken is gone."""
        return False
