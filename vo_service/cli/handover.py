"""A bundle handed to a directory of an analysis host: symbolic links, or copies that resume.

MISSION B8, type C. What is in its place and whole is left alone, so a run that was interrupted
is simply run again. Sizes are bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from anyio import to_thread

from vo_service.errors import UsageError
from vo_service.model.bundle import BundleFile
from vo_service.web.files import Content

__all__ = ["Handed", "copy_file", "enough_room", "link_file", "run_program"]

_CHUNK = 1 << 20

#: Bytes of a list that a program is given at a time.
_PIPE = 1 << 16


@dataclass(slots=True)
class Handed:
    """How many files were put in place, how many were there, and those that could not be."""

    done: int = 0
    kept: int = 0
    problems: list[str] = field(default_factory=list)


def enough_room(directory: Path, files: Sequence[BundleFile]) -> None:
    """See that copies of *files* fit, as far as they are not there yet.

    Raises
    ------
    UsageError
        If they do not.
    """
    missing = sum((file.size or 0) - _present(directory / file.name) for file in files)
    free = shutil.disk_usage(directory).free
    if missing > free:
        raise UsageError(
            f"{directory}: the files need {missing} more bytes, and {free} are free; choose "
            "another directory, or --link"
        )


def link_file(directory: Path, file: BundleFile, source: Path) -> bool:
    """Make a symbolic link to a file; False if it was there.

    Raises
    ------
    UsageError
        If something else stands in the place.
    """
    place = _prepared(directory, file)
    if place.is_symlink():
        if os.readlink(place) == str(source):
            return False
    elif place.exists():
        raise UsageError(f"{place}: something that is no link is there")
    fresh = place.with_name(f".{secrets.token_hex(8)}.new")
    os.symlink(source, fresh)
    os.replace(fresh, place)
    return True


async def copy_file(directory: Path, file: BundleFile, content: Content) -> bool:
    """Copy a file, from where an earlier run stopped; False if it was there already.

    It bears its name when it is whole, its MD5 (where that is known) is right, and it is on disk.

    Raises
    ------
    UsageError
        If the copy has another MD5 (it is removed), or something else stands in the place.
    OSError
        If it cannot be written, or *content* changes; what was copied is kept for the next run.
    """
    place = _prepared(directory, file)
    if place.is_symlink() or place.is_dir():
        raise UsageError(f"{place}: something that is no copy is there")
    if place.exists() and (place.stat().st_size, int(place.stat().st_mtime)) == (
        content.size,
        file.modified,
    ):
        return False
    part = _part(place)
    with part.open("ab") as out:
        if out.tell() > content.size:
            out.truncate(0)
        position = os.fstat(out.fileno()).st_size
        while position < content.size:
            chunk = await content.read(position, min(_CHUNK, content.size - position))
            await to_thread.run_sync(out.write, chunk)
            position += len(chunk)
        out.flush()
        await to_thread.run_sync(os.fsync, out.fileno())
    if file.md5 is not None:
        found = await to_thread.run_sync(_md5, part)
        if found != file.md5:
            part.unlink()
            raise UsageError(f"{place}: the copy has MD5 {found}, expected {file.md5}")
    os.utime(part, (file.modified, file.modified))
    os.replace(part, place)
    return True


def run_program(words: Sequence[str], lines: Sequence[str], directory: Path | None) -> int:
    """Run a program, without a shell, with a list on its standard input; its exit status.

    Raises
    ------
    UsageError
        If there is no such program.
    """
    try:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, cwd=directory, text=True)
    except OSError as error:
        raise UsageError(f"--command: {words[0]!r} cannot be run: {error.strerror}") from error
    with process:
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        with contextlib.suppress(BrokenPipeError):  # a program may read as much as it likes
            process.stdin.writelines(lines)
            process.stdin.close()
        return process.wait()


def _prepared(directory: Path, file: BundleFile) -> Path:
    """The place of a file, with the directories above it.

    Raises
    ------
    UsageError
        If one of these leads out of *directory*.
    """
    place = directory / file.name
    if not place.parent.resolve().is_relative_to(directory.resolve()):
        raise UsageError(f"{place.parent}: leads out of {directory}")
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _part(place: Path) -> Path:
    return place.with_name(f"{place.name}.part")


def _present(place: Path) -> int:
    """Bytes of a copy that are there."""
    for found in (place, _part(place)):
        with contextlib.suppress(OSError):
            return found.stat().st_size
    return 0


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
