"""Files compressed as a whole (``.fits.gz``), unpacked on disk while a cutout is made of them.

A gzip stream can be read forward only, and a cutout wants bytes in any order. The unpacked file
has no name: it is gone with its last reader, however that ends. Sizes are bytes.
Source: RFC 1952.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import tempfile
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vo_service.errors import TooLargeError, TransientError, UsageError
from vo_service.imaging.cutout import Source

__all__ = ["UnpackedFile", "Unpacker"]

_CHUNK = 1 << 20


@dataclass(slots=True)
class UnpackedFile:
    """A file that was unpacked, a `Source`; *name*, *mtime_ns* and *tag* are the packed one's."""

    file: io.FileIO
    name: str
    mtime_ns: int
    tag: str
    size: int
    let_go: Callable[[int], None]

    def read_now(self, position: int, count: int) -> bytes:
        """At least one byte and at most *count*, from *position* on.

        Raises
        ------
        OSError
            If the file ends here.
        """
        if chunk := os.pread(self.file.fileno(), count, position):
            return chunk
        raise OSError(errno.EIO, "the file is shorter than its header says")

    def close(self) -> None:
        """Give the space back."""
        if not self.file.closed:
            self.file.close()
            self.let_go(self.size)


class Unpacker:
    """Unpacks files below *directory*; all that are open have *limit* bytes together."""

    def __init__(self, directory: Path, limit: int) -> None:
        self.limit = limit
        self._directory = directory
        self._used = 0
        self._lock = threading.Lock()

    def unpack(self, packed: Source) -> UnpackedFile:
        """The content of a packed file, which stays its owner's to close; blocks.

        Raises
        ------
        TooLargeError
            If it has more bytes than may ever be unpacked.
        TransientError
            If others have taken the space, or the file cannot be read now.
        UsageError
            If its gzip stream is damaged.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Unbuffered: it is read by its descriptor.
        file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115 - given away
        assert isinstance(file, io.FileIO)  # noqa: S101 - so it is without a buffer
        unpacked = UnpackedFile(file, packed.name, packed.mtime_ns, packed.tag, 0, self._let_go)
        try:
            self._fill(unpacked, packed)
        except BaseException:
            unpacked.close()
            raise
        return unpacked

    def _fill(self, unpacked: UnpackedFile, packed: Source) -> None:
        said = f"{packed.name}: its gzip stream"
        source = io.BufferedReader(_Forward(packed), _CHUNK)
        with gzip.GzipFile(fileobj=source) as stream:
            while True:
                try:
                    chunk = stream.read(_CHUNK)
                except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                    raise UsageError(f"{said} is damaged: expected a whole file") from error
                except OSError as error:
                    raise TransientError(f"{said} cannot be read now; try again later") from error
                if not chunk:
                    return
                self._take(unpacked, len(chunk))
                try:
                    left = memoryview(chunk)
                    while left:
                        left = left[unpacked.file.write(left) :]
                except OSError as error:
                    raise TransientError(
                        f"{packed.name}: there is no room to unpack it now; try again later"
                    ) from error

    def _take(self, unpacked: UnpackedFile, count: int) -> None:
        if unpacked.size + count > self.limit:
            raise TooLargeError(
                f"{unpacked.name}: has more than {self.limit} bytes when unpacked: expected less, "
                "or the whole file from /data/"
            )
        with self._lock:
            if self._used + count > self.limit:
                raise TransientError(
                    f"{unpacked.name}: too many files are unpacked at this moment; try again soon"
                )
            self._used += count
        unpacked.size += count

    def _let_go(self, count: int) -> None:
        with self._lock:
            self._used -= count


class _Forward(io.RawIOBase):
    """A source from its beginning to its end."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        wanted = min(len(target), self._source.size - self._position)
        chunk = self._source.read_now(self._position, wanted) if wanted else b""
        target[: len(chunk)] = chunk
        self._position += len(chunk)
        return len(chunk)
