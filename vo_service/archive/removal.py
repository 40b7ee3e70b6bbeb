"""Deleting a file of the archive, and never any other.

A path is walked from one of the collection's roots without following a link, so that nothing
outside of it can be reached; the file is deleted only if it is the one that was ingested
(size and time). Source: MISSION A6.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from vo_service.errors import VOError

__all__ = ["remove_file"]


def remove_file(source: Path, roots: Sequence[Path], size: int, modified: datetime) -> bool:
    """Delete a file; False if it was gone already.

    Parameters
    ----------
    source
        Absolute path of the file.
    roots
        Directories one of which it must lie below; a root itself may be a link, for it is the
        operator's word.
    size, modified
        Bytes and time of the file that was ingested.

    Raises
    ------
    VOError
        If the file lies elsewhere, is reached through a link, is no regular file or is not the
        one that was ingested.
    OSError
        If it cannot be deleted.
    """
    above = [root for root in roots if root in source.parents]
    parts = source.relative_to(max(above, key=lambda root: len(root.parts))).parts if above else ()
    if not parts or ".." in parts:
        raise VOError(f"{source}: not deleted: it is not below a root of its collection")
    root = Path(*source.parts[: -len(parts)])
    with contextlib.ExitStack() as stack:
        try:
            place = _step(stack, root, os.O_DIRECTORY)
            for part in parts[:-1]:
                place = _step(stack, part, os.O_DIRECTORY | os.O_NOFOLLOW, place)
            status = os.stat(parts[-1], dir_fd=place, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except NotADirectoryError:
            raise VOError(f"{source}: not deleted: a part of its path is a link") from None
        if not stat.S_ISREG(status.st_mode):
            raise VOError(f"{source}: not deleted: it is not a regular file")
        if (status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)) != (size, modified):
            raise VOError(f"{source}: not deleted: it has changed since it was ingested")
        os.unlink(parts[-1], dir_fd=place)
    return True


def _step(
    stack: contextlib.ExitStack, name: str | Path, flags: int, directory: int | None = None
) -> int:
    handle = os.open(name, os.O_PATH | flags, dir_fd=directory)
    stack.callback(os.close, handle)
    return handle
