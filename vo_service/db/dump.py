"""The database to a file and back, by PostgreSQL's own programs.

`dump` and `load` move one database in the form of pg_dump; `base_backup` copies the private
cluster as it stands, which together with archived WAL leads to any moment after it. Passwords go
through the environment, where other users of the machine do not see them.
Source: PostgreSQL, "SQL Dump", "Continuous Archiving and Point-in-Time Recovery (PITR)".
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from vo_service.db.cluster import Cluster
from vo_service.db.connect import DATABASE, admin_conninfo, private_cluster
from vo_service.errors import ConfigError, TransientError
from vo_service.settings import Settings

__all__ = [
    "base_backup",
    "dump",
    "is_empty",
    "load",
    "replay",
    "schema_version",
    "unpack",
    "unpack_base",
]

#: Called with the bytes that there are so far.
Progress = Callable[[int], None]

_LOOK_S = 0.3
#: Tables of uploads live as long as the query that brought them.
_PASSING = "--exclude-table=tap_upload.*"

#: Lines of a dump's list of contents: the extension, and the schema that every database has.
_PREPARED = re.compile(r" (EXTENSION|SCHEMA) - (pg_sphere|public)\b| EXTENSION pg_sphere\b")


def dump(settings: Settings, file: Path, *, jobs: bool, progress: Progress) -> None:
    """Write the database to *file* (pg_dump's custom format), as it is at one moment.

    Parameters
    ----------
    settings
        The archive.
    file
        Must not be there.
    jobs
        Whether rows of asynchronous jobs go with it.
    progress
        Told the size of the file as it grows.

    Raises
    ------
    ConfigError
        If pg_dump fails; says why.
    """
    given = ["--format=custom", "--no-password", _PASSING, f"--file={file}"]
    if not jobs:
        given.append("--exclude-table-data=uws.*")
    _run(settings, "pg_dump", given, file, progress)


def load(settings: Settings, file: Path) -> None:
    """Fill the empty database from a file of `dump`: all of it or nothing.

    Raises
    ------
    ConfigError
        If pg_restore fails; says why.
    """
    listed = subprocess.run(
        (_program(settings, "pg_restore"), "--list", str(file)),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        raise ConfigError(f"{file}: pg_restore cannot read it: {listed.stderr.strip()}")
    # What `prepare` made is there already, and not every login may make it.
    lines = [line for line in listed.stdout.splitlines() if not _PREPARED.search(line)]
    with tempfile.NamedTemporaryFile("w", suffix=".list") as contents:
        contents.write("\n".join(lines) + "\n")
        contents.flush()
        given = ["--single-transaction", "--exit-on-error", "--no-password",
                 f"--use-list={contents.name}", str(file)]  # fmt: skip
        _run(settings, "pg_restore", given, None, lambda _: None)


def is_empty(settings: Settings) -> bool:
    """Whether the database has nothing of an archive in it.

    Raises
    ------
    psycopg.Error
        If it cannot be reached.
    """
    with psycopg.connect(admin_conninfo(settings, DATABASE)) as connection:
        row = connection.execute("SELECT to_regnamespace('archive') IS NULL").fetchone()
    return bool(row and row[0])


def schema_version(settings: Settings) -> str:
    """The version of the schema that the database has."""
    with psycopg.connect(admin_conninfo(settings, DATABASE)) as connection:
        row = connection.execute("SELECT version_num FROM archive.alembic_version").fetchone()
    return str(row[0]) if row else ""


def base_backup(settings: Settings, directory: Path, *, progress: Progress) -> None:
    """Copy the private cluster, which goes on working, into *directory* (which must not be there).

    Raises
    ------
    ConfigError
        If there is no private cluster, or pg_basebackup fails.
    """
    if private_cluster(settings) is None:
        raise ConfigError(
            "database_url is set: that PostgreSQL is not vo-service's to copy; use its own means "
            "(pg_basebackup, pgBackRest), or back up without --base"
        )
    given = ["--format=tar", "--gzip", "--wal-method=stream", "--checkpoint=fast",
             "--no-password", f"--pgdata={directory}"]  # fmt: skip
    _run(settings, "pg_basebackup", given, directory, progress)


def unpack(file: Path, into: Path, how: str) -> None:
    """Unpack a tar file; *how* is the name of the filter of `tarfile` for its members.

    Raises
    ------
    ConfigError
        If it holds what is no file or directory, or lies outside.
    """
    with tarfile.open(file) as archive:
        for member in archive.getmembers():
            outside = member.name.startswith("/") or ".." in Path(member.name).parts
            if outside or not (member.isfile() or member.isdir()):
                raise ConfigError(f"{file}: {member.name}: expected files below {into}")
        # Pythons before 3.11.4 know no filters; what one would refuse is refused above.
        archive.extraction_filter = getattr(tarfile, how, lambda member, path: member)
        archive.extractall(into)  # noqa: S202 - looked through above


def unpack_base(
    settings: Settings, directory: Path, wal: Path | None, until: datetime | None
) -> None:
    """Make the private cluster from a `base_backup`; PostgreSQL replays WAL when it is started.

    Parameters
    ----------
    settings
        Of the new data directory, which has no cluster.
    directory
        The base backup.
    wal
        Where WAL was archived; None for the backup alone.
    until
        The moment up to which changes are replayed; None for all that there are.
    """
    cluster = Cluster(settings.home, settings.cluster_user)
    cluster.prepare()
    cluster.data.mkdir(mode=0o700)
    # Owners and rights are PostgreSQL's.
    unpack(directory / "base.tar.gz", cluster.data, "tar_filter")
    unpack(directory / "pg_wal.tar.gz", cluster.data / "pg_wal", "tar_filter")
    lines = []
    if wal is not None:
        lines.append(f'restore_command = \'cp "{wal}/%f" "%p"\'')
        lines.append("recovery_target_action = 'promote'")
        if until is not None:
            lines.append(f"recovery_target_time = '{until.isoformat()}'")
        (cluster.data / "recovery.signal").touch()
    (cluster.data / "postgresql.auto.conf").write_text("".join(f"{line}\n" for line in lines))
    cluster.own()


def replay(settings: Settings) -> None:
    """Start the cluster and wait until it has replayed what it should, and takes changes.

    Raises
    ------
    ConfigError
        If it ends instead, because there is too little WAL; says what PostgreSQL said last.
    """
    cluster = Cluster(settings.home, settings.cluster_user)
    try:
        cluster.start()
        with psycopg.connect(admin_conninfo(settings), autocommit=True) as connection:
            while _in_recovery(connection):
                time.sleep(_LOOK_S)
            connection.execute("ALTER SYSTEM RESET ALL")
    except (psycopg.OperationalError, TransientError) as error:
        fatal = [
            line
            for line in cluster.log.read_text("utf-8", "replace").splitlines()
            if "FATAL" in line
        ]
        said = fatal[-1].partition("FATAL:")[2].strip() if fatal else "its log does not say why"
        raise ConfigError(f"PostgreSQL could not replay what it should: {said}") from error


def _in_recovery(connection: psycopg.Connection) -> bool:
    row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    return row is None or bool(row[0])


def _run(
    settings: Settings, program: str, given: Sequence[str], grows: Path | None, progress: Progress
) -> None:
    dsn = admin_conninfo(settings, DATABASE)
    parts = {key: str(value) for key, value in conninfo_to_dict(dsn).items() if value is not None}
    environment = os.environ | {"PGPASSWORD": parts.pop("password", "")}
    # The database alone says what the session is to be; options of ours are for our sessions.
    parts.pop("options", None)
    command = (_program(settings, program), f"--dbname={make_conninfo('', **parts)}", *given)
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while process.poll() is None:
            progress(_size(grows))
            try:
                _, said = process.communicate(timeout=_LOOK_S)
            except subprocess.TimeoutExpired:
                continue
            if process.returncode:
                last = said.strip().splitlines()[-1:] or [f"status {process.returncode}"]
                raise ConfigError(f"{program} failed: {last[0]}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    progress(_size(grows))


def _program(settings: Settings, name: str) -> str:
    if settings.database_url is None:
        return Cluster(settings.home, settings.cluster_user).program(name)
    try:
        return Cluster(settings.home).program(name)  # the newest that is installed
    except ConfigError:
        found = shutil.which(name)
    if found is None:
        raise ConfigError(f"{name} is not installed; on Debian: apt-get install postgresql-client")
    return found


def _size(place: Path | None) -> int:
    if place is None or not place.exists():
        return 0
    if place.is_file():
        return place.stat().st_size
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
