"""An archive made from a backup: a new data directory, an empty database filled, links made anew.

Nothing that is there is ever overwritten, and what cannot be finished leaves nothing behind.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from vo_service.db.connect import private_cluster
from vo_service.db.dump import is_empty, load, replay, unpack, unpack_base
from vo_service.db.schema import prepare, upgrade
from vo_service.errors import ConfigError
from vo_service.services.backup import BASE, DUMP, HOME, Tell, verify
from vo_service.services.publication import Changed, recover
from vo_service.services.relink import rebuild_links
from vo_service.settings import Settings, load_settings

__all__ = ["restore"]


def restore(
    home: Path, place: Path, *, until: datetime | None, wal: Path | None, tell: Tell
) -> Changed:
    """Make the archive of a backup in *home*; its cluster is stopped again at the end.

    Parameters
    ----------
    home
        The data directory: not there, or empty.
    place
        The backup.
    until
        For a base backup: the moment up to which changes are replayed.
    wal
        For a base backup: where WAL was archived, if not where its settings say.
    tell
        Told how far it is.

    Returns
    -------
    Changed
        How many links were made, and files that could not be published again.

    Raises
    ------
    ConfigError
        If the backup is damaged, *home* or the database holds something, or PostgreSQL cannot
        read what it should. Nothing is left of the new archive then.
    """
    manifest = verify(place, tell)
    if manifest.database == "dump" and (until or wal):
        raise ConfigError(
            f"{place}: is a dump, which knows one moment only; --until and --wal are for backups "
            "made with --base"
        )
    if home.exists() and any(home.iterdir()):
        raise ConfigError(
            f"{home}: is not empty; a restore never overwrites anything (give another --home)"
        )
    with _nothing_half_done(home):
        unpack(place / HOME, home, "data_filter")
        settings = load_settings(home)
        for directory in (settings.collections, settings.public):
            directory.mkdir(exist_ok=True)
        tell("settings and files are back", 0)
        if manifest.database == "base":
            _from_base(settings, place / BASE, until, wal)
        else:
            _from_dump(settings, place / DUMP)
        tell("database is back", 0)
        upgrade(settings)
        recover(settings)
        done = rebuild_links(settings)
        tell("links are back", 0)
        if cluster := private_cluster(settings):
            cluster.stop()
    return done


def _from_dump(settings: Settings, file: Path) -> None:
    if cluster := private_cluster(settings):
        cluster.start()
    elif not is_empty(settings):
        raise ConfigError(
            "database_url: an archive is in that database already; a restore never overwrites "
            "anything (give an empty database, for instance in VO_DATABASE_URL)"
        )
    prepare(settings)
    load(settings, file)


def _from_base(
    settings: Settings, directory: Path, until: datetime | None, wal: Path | None
) -> None:
    cluster = private_cluster(settings)
    if cluster is None:
        raise ConfigError("database_url is set: a base backup becomes a private PostgreSQL only")
    wal = wal or settings.wal_archive
    if until is not None and wal is None:
        raise ConfigError("--until wants archived WAL: say where it is with --wal")
    unpack_base(settings, directory, wal, until)
    replay(settings)


@contextmanager
def _nothing_half_done(home: Path) -> Iterator[None]:
    there = home.exists()
    home.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        _stop(home)
        for made in home.iterdir():
            shutil.rmtree(made) if made.is_dir() else made.unlink()
        if not there:
            home.rmdir()
        raise


def _stop(home: Path) -> None:
    try:
        cluster = private_cluster(load_settings(home))
    except ConfigError:
        return
    if cluster is not None:
        cluster.stop()
