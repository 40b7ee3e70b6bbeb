"""The public tree: a file is published when a symbolic link to it exists, and only then.

``<public>/<collection>/<path>`` is a link to the file in its storage root; directories are
real. A link appears and changes in one step (made under another name, then renamed), so a
reader sees the old target, the new one, or nothing. Nothing is ever copied (MISSION A3).
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from vo_service.errors import ConfigError, VOError

__all__ = ["LinkTree"]

#: How the name of a link begins that is not in its place yet.
_DRAFT = ".publishing-"


class LinkTree:
    """Links of all collections below one directory."""

    def __init__(self, public: Path) -> None:
        self._public = public
        self._touched: set[Path] = set()

    def place(self, collection: str, path: str) -> Path:
        """Where the link of a product stands.

        Raises
        ------
        VOError
            If the path would leave the collection's part of the tree.
        """
        parts = path.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise VOError(f"{collection}: {path!r} is not a path below the collection")
        return self._public.joinpath(collection, *parts)

    def publish(self, collection: str, path: str, source: str, size: int | None = None) -> bool:
        """Make or renew a link; False if it was there already.

        Raises
        ------
        ConfigError
            If the file is gone, has not *size* bytes, or something that is no link stands in the
            place; a link of ours is then taken away.
        OSError
            If the tree cannot be written.
        """
        link = self.place(collection, path)
        if fault := _fault(source, size):
            self.withdraw(collection, path)
            raise ConfigError(f"{source}: cannot be published: {fault}")
        if os.path.islink(link):
            if os.readlink(link) == source:
                return False
        elif os.path.lexists(link):
            raise ConfigError(f"{link}: cannot be published: something that is no link is there")
        link.parent.mkdir(parents=True, exist_ok=True)
        fresh = link.with_name(f"{_DRAFT}{secrets.token_hex(8)}")
        try:
            os.symlink(source, fresh)
            os.replace(fresh, link)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(fresh)
            raise
        self._touched.add(link.parent)
        return True

    def withdraw(self, collection: str, path: str) -> bool:
        """Remove a link; False if there was none."""
        link = self.place(collection, path)
        if not os.path.islink(link):
            return False
        os.unlink(link)
        self._touched.add(link.parent)
        return True

    def flush(self) -> None:
        """Have what changed since the last flush survive a loss of power."""
        for directory in self._touched:
            handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        self._touched.clear()

    def drafts(self, collection: str) -> Iterator[Path]:
        """Links that a run which died had made but not yet put into place."""
        for directory, _, names in os.walk(self._public / collection):
            for name in names:
                if name.startswith(_DRAFT):
                    yield Path(directory, name)

    def links(self, collection: str) -> Iterator[str]:
        """Paths of all links of a collection, in no order."""
        top = self._public / collection
        for directory, _, names in os.walk(top):
            for name in names:
                place = os.path.join(directory, name)
                if os.path.islink(place) and not name.startswith("."):
                    yield os.path.relpath(place, top)


def _fault(source: str, size: int | None) -> str | None:
    """Why a file cannot be published."""
    try:
        status = os.stat(source)
    except OSError as error:
        return "there is no such file" if error.errno == errno.ENOENT else str(error.strerror)
    if not stat.S_ISREG(status.st_mode):
        return "it is not a regular file"
    if size is not None and status.st_size != size:
        return (
            f"it had {size} bytes when it was ingested and now has {status.st_size}; "
            "ingest it again"
        )
    return None
