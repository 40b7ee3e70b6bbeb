"""Where HiPS are kept, and how one takes the place of another.

Below ``hips/<name>/`` stand builds, numbered, each with its ``tiles/`` and its notes; ``current``
is a symbolic link to the one that is served. A build is made in a directory of its own, as a copy
of the current one by hard links (files are replaced, never written over), then gets its number,
then the link is exchanged: readers see the old one or the new one. Whatever is killed in between
is completed or put away by the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from vo_service.errors import ConfigError, TransientError
from vo_service.settings import Settings

__all__ = ["NOTES", "TILES", "HipsPlace", "hips_names", "place_of"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BUILD = re.compile(r"build-([0-9]{1,9})")
NOTES, TILES = "notes.sqlite", "tiles"


def place_of(settings: Settings, name: str) -> HipsPlace:
    """The place of the HiPS called *name*, which need not be there.

    Raises
    ------
    ConfigError
        If the name cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name[:80]!r}: expected a name of letters, digits, '.', '_' and '-', 64 at most"
        )
    return HipsPlace(settings.home / "hips" / name)


def hips_names(settings: Settings) -> list[str]:
    """Names of the HiPS that are served."""
    found = (settings.home / "hips").glob("*/current")
    return sorted(path.parent.name for path in found if path.exists())


class HipsPlace:
    """The directory of one HiPS."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.name = directory.name

    @property
    def current(self) -> Path:
        """The build that is served, if there is one."""
        return self.directory / "current"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other builds out, and put right what one that was killed has left.

        Raises
        ------
        TransientError
            If another one is at work.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TransientError(f"another build of {self.name} is running") from None
            self._tidy()
            yield

    def begin(self, work: str, *, fresh: bool = False) -> Path:
        """The directory called *work*, as a build that was killed left it.

        Else a copy of the current one, or, where *fresh*, an empty one.
        """
        place = self.directory / work
        if not place.is_dir():
            draft = self.directory / f"{work}.tmp"
            if self.current.exists() and not fresh:
                _copy(self.current.resolve(), draft)
            else:
                (draft / TILES).mkdir(parents=True)
            draft.rename(place)
        return place

    def forget(self, work: str) -> None:
        """Throw away what was begun."""
        self._remove(self.directory / work)

    def publish(self, work: Path) -> None:
        """Serve the build that stands in *work* instead of the current one."""
        work.rename(self.directory / f"build-{max(self._numbers(), default=0) + 1}")
        self._tidy()

    def remove(self) -> None:
        """Serve it no more, and delete it."""
        self.current.unlink(missing_ok=True)
        self._remove(self.directory)

    def _numbers(self) -> list[int]:
        found = (_BUILD.fullmatch(path.name) for path in self.directory.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def _tidy(self) -> None:
        """Let ``current`` lead to the newest build, and delete all that nobody needs."""
        numbers = self._numbers()
        if numbers:
            newest = f"build-{numbers.pop()}"
            if not self.current.is_symlink() or os.readlink(self.current) != newest:
                draft = self.directory / "current.tmp"
                draft.unlink(missing_ok=True)
                draft.symlink_to(newest)
                draft.rename(self.current)
        for number in numbers:
            self._remove(self.directory / f"build-{number}")
        for path in [*self.directory.glob("*.tmp"), *self.directory.glob(".*.tmp")]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)

    def _remove(self, place: Path) -> None:
        """Delete a directory that is gone at once and whole, as far as others see."""
        if not place.is_dir():
            return
        away = place.with_name(f".{place.name}.tmp")
        shutil.rmtree(away, ignore_errors=True)
        place.rename(away)
        shutil.rmtree(away)


def _copy(old: Path, new: Path) -> None:
    """Hard links to all files, but for the notes, which are written over."""
    for directory, _, files in os.walk(old):
        here = new / Path(directory).relative_to(old)
        here.mkdir(parents=True, exist_ok=True)
        for file in files:
            if file == NOTES:
                shutil.copy2(Path(directory) / file, here / file)
            elif not file.startswith("."):
                os.link(Path(directory) / file, here / file)
