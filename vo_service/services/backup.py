"""A backup of an archive: its database, and what its data directory holds that cannot be made anew.

A backup is a directory: ``MANIFEST.json`` (what it is, and SHA-256 of each file), ``home.tar``
(settings, keys, collection files, registry files, results of jobs), and ``database.dump`` or, for
recovery to any moment, ``base/``. It appears under its name when it is complete. It holds secrets:
nobody but its owner may read it. Files of the archive itself are not in it; links are made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from vo_service import __version__
from vo_service.db.dump import base_backup, dump, schema_version
from vo_service.errors import ConfigError
from vo_service.settings import Settings

__all__ = ["BASE", "DUMP", "HOME", "Manifest", "back_up", "verify"]

DUMP, BASE, HOME, MANIFEST = "database.dump", "base", "home.tar", "MANIFEST.json"

#: Directories of the data directory that a backup has besides the files at its top.
_ALWAYS = ("collections", "registry", "tls")
_BLOCK = 1024 * 1024

#: Called with a step's name and the bytes that it has made so far.
Tell = Callable[[str, int], None]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    sha256: str


class Manifest(BaseModel):
    """What a backup says of itself; times are UTC, sizes bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    made: datetime
    vo_service: str
    schema_version: str
    database: Literal["dump", "base"]
    results: bool
    files: dict[str, _File]


def back_up(
    settings: Settings, place: Path, *, base: bool, results: bool, hips: bool, tell: Tell
) -> Manifest:
    """Make a backup while the archive goes on working.

    Parameters
    ----------
    settings
        The archive; its database runs.
    place
        The directory to be made.
    base
        A copy of the whole private cluster, for recovery to a moment, instead of a dump.
    results, hips
        Whether asynchronous jobs with their results, and sky images, go with it.
    tell
        Told how far it is.

    Raises
    ------
    ConfigError
        If *place* is there already, or a program of PostgreSQL fails. Nothing is left then.
    """
    if os.path.lexists(place):
        raise ConfigError(f"{place}: is there already; a backup never overwrites anything")
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    draft.mkdir(mode=0o700)
    try:
        # The database first: a job that ends meanwhile has its result then, not the reverse.
        if base:
            base_backup(settings, draft / BASE, progress=lambda size: tell("database", size))
        else:
            dump(settings, draft / DUMP, jobs=results, progress=lambda size: tell("database", size))
        _pack(settings, draft / HOME, results=results, hips=hips)
        tell("settings and files", (draft / HOME).stat().st_size)
        manifest = Manifest(
            made=datetime.now(UTC),
            vo_service=__version__,
            schema_version=schema_version(settings),
            database="base" if base else "dump",
            results=results,
            files={name: _look(draft / name) for name in sorted(_files(draft))},
        )
        (draft / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
        for name in _files(draft):
            (draft / name).chmod(0o600)
        os.rename(draft, place)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return manifest


def verify(place: Path, tell: Tell = lambda step, size: None) -> Manifest:
    """Read all of a backup and compare it with its checksums.

    Raises
    ------
    ConfigError
        Names the file that is missing, too much, or not as it was.
    """
    file = place / MANIFEST
    try:
        manifest = Manifest.model_validate(json.loads(file.read_text("utf-8")))
    except (ValueError, ValidationError) as error:
        raise ConfigError(f"{file}: is not the manifest of a backup: {error}") from error
    present = set(_files(place)) - {MANIFEST}
    if wrong := sorted(present ^ manifest.files.keys()):
        what = "is not of this backup" if wrong[0] in present else "is missing"
        raise ConfigError(f"{place / wrong[0]}: {what}")
    for name, known in manifest.files.items():
        if _look(place / name) != known:
            raise ConfigError(f"{place / name}: is damaged: size or SHA-256 is not as it was made")
        tell(f"checked {name}", known.size)
    return manifest


def _pack(settings: Settings, file: Path, *, results: bool, hips: bool) -> None:
    wanted = [*_ALWAYS, *(["jobs"] if results else []), *(["hips"] if hips else [])]

    def keep(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        # What jobs are writing just now is theirs to make again; nothing here is a device.
        passing = Path(member.name).name.startswith("draft-")
        return member if (member.isfile() or member.isdir()) and not passing else None

    with tarfile.open(file, "w") as archive:
        for place in sorted(settings.home.iterdir()):
            if place.name in wanted or (place.is_file() and not place.is_symlink()):
                archive.add(place, place.name, filter=keep)


def _files(place: Path) -> Iterator[str]:
    for file in place.rglob("*"):
        if not file.is_dir() or file.is_symlink():
            yield file.relative_to(place).as_posix()


def _look(file: Path) -> _File:
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as content:
        while block := content.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return _File(size=size, sha256=digest.hexdigest())
