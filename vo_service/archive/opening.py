"""Files of the archive opened for reading, without a way out of the tree.

A path is walked from the public tree without following a link; only its last name is one, and
what it leads to must be a regular file in a storage root of the collection. Positions are bytes.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anyio.to_thread import run_sync

from vo_service.errors import NotFoundError, TransientError

__all__ = ["OpenFile", "open_published", "open_source"]

_log = logging.getLogger(__name__)

_UNFIT = re.compile(r"[\x00-\x1f\x7f\\]")
_ABSENT = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EACCES,
    errno.EPERM,
}


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that may be sent, a `Content`."""

    file: io.FileIO
    name: str
    size: int
    mtime_ns: int
    inode: int

    @property
    def tag(self) -> str:
        """What changes whenever the content may have changed, without quotes."""
        return f"{self.size:x}-{self.mtime_ns:x}-{self.inode:x}"

    def is_unchanged(self) -> bool:
        """Whether the file is still what was opened; False once it was written or cut."""
        now = os.fstat(self.file.fileno())
        return (now.st_size, now.st_mtime_ns) == (self.size, self.mtime_ns)

    async def read(self, position: int, count: int) -> bytes:
        """Bytes from *position* on; see `Content`."""
        return await run_sync(self.read_now, position, count)

    def read_now(self, position: int, count: int) -> bytes:
        """As `read`, for those who are in a thread already.

        Raises
        ------
        OSError
            If the file changed since it was opened, or ends here.
        """
        chunk = os.pread(self.file.fileno(), count, position)
        if not chunk or not self.is_unchanged():
            raise OSError(errno.EIO, "the file changed while it was sent")
        return chunk

    def expect(self, size: int | None) -> None:
        """Close and refuse a file that has not the *size* (bytes) with which it was archived.

        Raises
        ------
        TransientError
            If so: it is being written, or has changed, and somebody has to look at it.
        """
        if size is not None and size != self.size:
            self.close()
            _log.error("%s: has %s bytes, not %s as archived", self.name, self.size, size)
            raise TransientError(
                f"{self.name}: is not now the file that was archived; try again later"
            )

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def open_published(public: Path, roots: Mapping[str, Sequence[Path]], url_path: str) -> OpenFile:
    """Open a published file for reading. Blocks as file systems do: call it in a thread.

    Parameters
    ----------
    public
        The tree of symbolic links.
    roots
        Collection to the storage roots in which its files may lie.
    url_path
        ``collection/path``, percent-decoded once.

    Raises
    ------
    NotFoundError
        If there is no such link, or it leads to anything but a regular file in a root.
    TransientError
        If the storage cannot be read at the moment.
    """
    parts = url_path.split("/")
    return _open(url_path, lambda: _open_target(public, parts, roots.get(parts[0], ())))


def open_source(source: str | Path, roots: Sequence[Path], url_path: str) -> OpenFile:
    """Open a file that has no link, for somebody who may read it before everybody.

    Parameters
    ----------
    source
        Absolute path of the file, links in it allowed.
    roots
        Directories in one of which it must lie in the end.
    url_path
        Under which it is asked for.

    Raises
    ------
    NotFoundError, TransientError
        As `open_published`.
    """

    def opened() -> io.FileIO | None:
        target = os.open(source, os.O_PATH)
        try:
            return _open_regular(target, roots)
        finally:
            os.close(target)

    return _open(url_path, opened)


def _open(url_path: str, opened: Callable[[], io.FileIO | None]) -> OpenFile:
    """The file that *opened* gives, under the last name of *url_path*."""
    absent = NotFoundError(f"{url_path}: no such file is published")
    parts = url_path.split("/")
    if len(parts) < 2 or any(part in ("", ".", "..") or _UNFIT.search(part) for part in parts):
        raise absent
    try:
        file = opened()
    except UnicodeEncodeError:
        raise absent from None
    except OSError as error:
        if error.errno not in _ABSENT:
            _log.error("%s: cannot be opened: %s", url_path, error)
            raise TransientError(f"{url_path}: cannot be read now; try again later") from error
        if error.errno in {errno.EACCES, errno.EPERM}:
            _log.warning("%s: is published but may not be read: %s", url_path, error)
        raise absent from error
    if file is None:
        raise absent
    status = os.fstat(file.fileno())
    return OpenFile(file, parts[-1], status.st_size, status.st_mtime_ns, status.st_ino)


def _open_target(public: Path, parts: Sequence[str], roots: Sequence[Path]) -> io.FileIO | None:
    """What the link at *parts* leads to; None if it is no link or leads where it must not."""
    with contextlib.ExitStack() as stack:

        def step(name: str | Path, flags: int, directory: int | None = None) -> int:
            handle = os.open(name, os.O_PATH | flags, dir_fd=directory)
            stack.callback(os.close, handle)
            return handle

        place = step(public, os.O_DIRECTORY)
        for part in parts[:-1]:
            place = step(part, os.O_DIRECTORY | os.O_NOFOLLOW, place)
        link = os.stat(parts[-1], dir_fd=place, follow_symlinks=False)
        if not stat.S_ISLNK(link.st_mode):
            return None
        # O_PATH touches neither FIFO nor device; what was checked is then opened by its handle,
        # so nobody can put something else in its place in between.
        return _open_regular(step(parts[-1], 0, place), roots)


def _open_regular(target: int, roots: Sequence[Path]) -> io.FileIO | None:
    """The file behind an O_PATH descriptor; None if it is not regular or lies in no root."""
    handle = f"/proc/self/fd/{target}"
    path = Path(os.readlink(handle))
    if not stat.S_ISREG(os.fstat(target).st_mode):
        return None
    if not any(path.is_relative_to(os.path.realpath(root)) for root in roots):
        return None
    return io.FileIO(os.open(handle, os.O_RDONLY), closefd=True)
