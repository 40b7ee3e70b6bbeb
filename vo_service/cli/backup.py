"""`vo-service backup` and `vo-service restore`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vo_service.cli.context import database, settings_of
from vo_service.cli.progress import amount
from vo_service.errors import UsageError
from vo_service.services.backup import Tell, back_up, verify
from vo_service.services.restore import restore
from vo_service.settings import default_home

__all__ = ["backup_command", "restore_command"]

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


def backup_command(
    context: typer.Context,
    place: Annotated[
        Path, typer.Argument(metavar="DIR", help="The directory to make; must not be there.")
    ],
    base: Annotated[
        bool,
        typer.Option(
            "--base", help="Copy the private PostgreSQL whole, for recovery to any moment."
        ),
    ] = False,
    results: Annotated[
        bool, typer.Option(help="Take asynchronous jobs and their results along.")
    ] = True,
    hips: Annotated[bool, typer.Option("--hips", help="Take sky images along.")] = False,
    check: Annotated[
        bool, typer.Option("--verify", help="Make nothing: check the backup that is in DIR.")
    ] = False,
) -> None:
    """Back up the database, settings, keys and files of the data directory, as it works.

    FITS files are not in it. The backup holds secrets and is readable for you alone.
    """
    with _telling() as tell:
        if check:
            made = verify(place, tell)
        else:
            settings = settings_of(context)
            with database(settings):
                made = back_up(
                    settings, place.absolute(), base=base, results=results, hips=hips, tell=tell
                )
    size = sum(file.size for file in made.files.values())
    _out.print(
        f"{place}: {amount(size)}, {made.database} of {made.made:%Y-%m-%d %H:%M:%S} UTC, schema "
        f"{made.schema_version}, {'whole' if check else 'complete'}.",
        markup=False,
    )  # fmt: skip


def restore_command(
    context: typer.Context,
    place: Annotated[Path, typer.Argument(metavar="DIR", help="The backup.")],
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="With a backup made by --base: replay changes up to this time (UTC), "
            "2026-05-01T12:30:00.",
        ),
    ] = None,
    wal: Annotated[
        Path | None,
        typer.Option(
            file_okay=False, exists=True, help="Where WAL is archived, if not in wal_archive."
        ),
    ] = None,
) -> None:
    """Make the archive of a backup in a new data directory (--home) and an empty database.

    Overwrites nothing. Links are made anew from the rows. Exit status 1 if files are missing.
    """
    home: Path = (context.obj or default_home()).absolute()
    with _telling() as tell:
        done = restore(
            home, place.absolute(), until=_moment(until), wal=wal and wal.absolute(), tell=tell
        )
    for problem in done.problems:
        _err.print(problem, markup=False)
    _out.print(f"The archive is in {home}; {done.count} links made.", markup=False)
    if done.problems:
        raise typer.Exit(1)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--until: {text!r}: expected a time like 2026-05-01T12:30:00") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@contextmanager
def _telling() -> Iterator[Tell]:
    """What is being done, with its size while that grows: one line a step."""
    known: dict[str, int] = {}

    def line(step: str) -> str:
        return f"{step} ... {amount(known[step])}" if known[step] else step

    with _err.status("beginning") as status:

        def tell(step: str, size: int) -> None:
            if step not in known and known:
                _err.print(line(list(known)[-1]), markup=False)
            known[step] = size
            status.update(line(step))

        yield tell
        if known:
            _err.print(line(list(known)[-1]), markup=False)
