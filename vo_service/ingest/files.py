"""Which files there are: directories walked in order, names below their root, MD5 sums.

Nothing here trusts what it finds: loops of symbolic links end, sums given by others are read
as data. Sizes are bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath

from vo_service.errors import HeaderError, NotFoundError
from vo_service.model.collection import Collection
from vo_service.model.data_server import file_of_header

__all__ = [
    "find_files",
    "given_md5",
    "md5_of",
    "open_regular",
    "place_of",
    "public_path",
    "root_of",
]

_BLOCK = 4 * 1024 * 1024
_LIST_LIMIT = 64 * 1024 * 1024

#: What md5sum writes: the sum, a blank, a blank or asterisk, the name.
_SUM_LINE = re.compile(rb"\\?([0-9A-Fa-f]{32})(?:[ \t]+\*?(.*))?")
_SUM_LISTS = ("MD5SUMS", "MD5SUM", "md5sums", "md5sums.txt", "md5sum.txt", "md5.txt")


def find_files(
    paths: Iterable[Path], collection: Collection, *, headers_only: bool = False
) -> Iterator[Path]:
    """The files of a collection in *paths*, in sorted order within each directory.

    A path that is a file is taken whatever its name; a directory is walked, links to
    directories included, each directory once; whatever in it has the name of a file of the
    collection comes out, be it readable or not, and so does a directory that cannot be read.

    Raises
    ------
    NotFoundError
        Names a path that does not exist; before the first file.
    """
    given = [Path(os.path.abspath(path)) for path in paths]
    for path in given:
        try:
            path.stat()
        except OSError as error:
            raise NotFoundError(f"{path}: {error.strerror}") from error
    return _found(given, collection, headers_only)


def _found(given: list[Path], collection: Collection, headers_only: bool) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    for path in given:
        if not path.is_dir():
            yield path
            continue
        root = root_of(path, collection, [path])
        for file in _walk(path, seen):
            below = PurePosixPath(file.relative_to(root))
            if os.path.isdir(file) or collection.files.takes(below, headers_only=headers_only):
                yield file


def _walk(directory: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Everything below *directory* but directories, which are entered once each if possible."""
    stack = [directory]
    while stack:
        current = stack.pop()
        if not os.path.isdir(current):  # as Path.is_dir, but no error is its business
            yield current
            continue
        identity = current.stat()
        key = (identity.st_dev, identity.st_ino)
        if key in seen:
            continue
        seen.add(key)
        try:
            names = sorted(os.listdir(current), reverse=True)
        except OSError:
            yield current  # to be refused by the one who tries to read it
            continue
        stack += [current / name for name in names]


def root_of(path: Path, collection: Collection, given: Iterable[Path]) -> Path:
    """The directory from which the public path of *path* counts.

    It is the innermost of the collection's roots that holds the file; otherwise the path
    *given* on the command line that holds it (or its directory, if that path is the file).
    """
    roots = [root for root in collection.roots if path.is_relative_to(root)]
    if not roots:
        roots = [root for root in map(Path, map(os.path.abspath, given)) if root in path.parents]
    return max(roots, key=lambda root: len(root.parts), default=path.parent)


def public_path(path: Path, root: Path) -> PurePosixPath:
    """Where a file stands in the public tree.

    Raises
    ------
    HeaderError
        If it lies outside of *root*, or its name cannot be part of an address: it must be
        UTF-8 without control characters and backslashes.
    """
    try:
        below = PurePosixPath(os.path.abspath(path)).relative_to(os.path.abspath(root))
    except ValueError as error:
        raise HeaderError(f"the file lies outside of {root}") from error
    text = str(below)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise HeaderError("the file's name is not UTF-8") from error
    if not text.isprintable() or "\\" in text or text == ".":
        raise HeaderError("the file's name holds a control character or a backslash")
    return below


def place_of(
    path: Path, root: Path, collection: Collection, *, headers_only: bool
) -> PurePosixPath:
    """Where a file, or the file at a data server whose header this is, stands in the public tree.

    Raises
    ------
    HeaderError
        As `public_path`.
    """
    below = public_path(path, root)
    return file_of_header(below) if headers_only and collection.data_server else below


def open_regular(path: Path) -> int:
    """A descriptor of a regular file, open for reading.

    Raises
    ------
    HeaderError
        If it is something else: a FIFO, a socket, a directory. None of them is waited for.
    OSError
        If it cannot be opened.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        os.scandir(path).close()  # says why it could not be walked
    if not stat.S_ISREG(mode):
        raise HeaderError("not a regular file")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # exchanged in between
        os.close(descriptor)
        raise HeaderError("not a regular file")
    return descriptor


def md5_of(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """MD5 of a file, as 32 lower-case digits, in constant memory.

    *progress*, if given, is called with the number of bytes of every block of *path*.

    Raises
    ------
    HeaderError
        If it is no regular file.
    OSError
        If it cannot be read.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with os.fdopen(open_regular(path), "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            if progress is not None:
                progress(len(block))
    return digest.hexdigest()


def given_md5(path: Path) -> str | None:
    """The MD5 that came with a file: in ``<file>.md5``, or in a list beside or above it.

    A list has one of the usual names (MD5SUMS, md5sums.txt ...) and the form of md5sum; its
    names count from where it lies, so a list may speak of files one directory further down.
    """
    sums = _sums(path.with_name(path.name + ".md5"))
    if b"" in sums or len(sums) == 1:
        return sums.get(b"") or next(iter(sums.values()))
    for directory in (path.parent, path.parent.parent):
        name = os.fsencode(path.relative_to(directory))
        for candidate in _SUM_LISTS:
            if (found := _sums(directory / candidate).get(name)) is not None:
                return found
    return None


def _sums(path: Path) -> dict[bytes, str]:
    """Name (empty where none is written) to sum; empty if there is no such list."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LIST_LIMIT:
            return {}
        return _read_sums(path, status.st_mtime_ns, status.st_size)
    except OSError:
        return {}


@lru_cache(maxsize=8)
def _read_sums(path: Path, modified: int, size: int) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    for line in path.read_bytes().splitlines():
        if match := _SUM_LINE.fullmatch(line.strip()):
            name = (match[2] or b"").removeprefix(b"./")
            found.setdefault(name, match[1].decode("ascii").lower())
    return found
