"""`vo-service shard`: parts of the sky that other PostgreSQL servers keep (docs/shards.md)."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import TaskID
from rich.table import Table

from vo_service.cli.context import database, settings_of
from vo_service.cli.progress import progress_bar
from vo_service.errors import UsageError
from vo_service.model.shard import CENTRE, Part
from vo_service.services import shards
from vo_service.services.shards import Standing

__all__ = ["shard"]

shard = typer.Typer(no_args_is_help=True, help="Parts of the sky on other PostgreSQL servers.")

_out = Console(highlight=False, soft_wrap=True)

Context = typer.Context
Name = Annotated[str, typer.Argument(help="Name of the shard.", metavar="NAME")]
Range = Annotated[
    str | None,
    typer.Option("--ra", help="Right ascensions from:to, in degrees: 0:180, or 350:10 over 0h."),
]
Wait = Annotated[
    float,
    typer.Option(
        min=0,
        help="Seconds to wait for a gap of some milliseconds between searches, a partition.",
    ),
]


class _Bar:
    """A progress bar for each partition in turn; lines where there is no terminal."""

    def __init__(self) -> None:
        self.progress = progress_bar()
        self._task: TaskID | None = None
        self._said = ""

    def begun(self, part: Part, number: int, count: int, rows: int) -> None:
        said = f"{part.partition} ({number} of {count})"
        self._said = said
        if self._task is not None:
            self.progress.remove_task(self._task)
        self._task = self.progress.add_task(said, total=rows or None)
        if self.progress.disable:
            print(f"moving {said}", file=sys.stderr)

    def told(self, rows: int) -> None:
        if self._task is None:
            return
        if rows < 0:
            self.progress.update(self._task, description=f"{self._said}: waiting for searches")
        else:
            self.progress.update(self._task, completed=rows)


@shard.command()
def add(
    context: Context,
    name: Name,
    url: Annotated[
        str,
        typer.Argument(
            help="postgresql://user@host/database, of a login that may create roles there; a "
            "password may come from PGPASSFILE.",
            metavar="URL",
        ),
    ],
    ra: Range = None,
    wait: Wait = 3600.0,
) -> None:
    """Make a database a shard and, with --ra, move what it shall keep there.

    Searches go on meanwhile. Run again after it was stopped, it goes on; with another URL it
    tells where the shard is now.
    """
    settings = settings_of(context)
    with database(settings):
        shards.add_shard(settings, name, url)
        if ra is None:
            _out.print(f"{name} is ready; next: vo-service shard move {name} --ra 0:180")
            return
        _move(context, name, ra, wait)


@shard.command()
def move(
    context: Context,
    name: Annotated[
        str, typer.Argument(help=f"Shard that is to keep it, or '{CENTRE}'.", metavar="NAME")
    ],
    ra: Range = None,
    wait: Wait = 3600.0,
) -> None:
    """Move a range of right ascension to a shard, or home to the centre."""
    if ra is None:
        raise UsageError("--ra: expected what is to be moved: 0:180")
    settings = settings_of(context)
    with database(settings):
        _move(context, name, ra, wait)


def _move(context: Context, name: str, ra: str, wait: float) -> None:
    bar = _Bar()
    with bar.progress:
        moved = shards.move_parts(
            settings_of(context), name, ra, patience_s=wait, begun=bar.begun, told=bar.told
        )
    _out.print(f"{moved} partitions moved; RA {ra} is kept by {name}.")


@shard.command()
def remove(context: Context, name: Name, wait: Wait = 3600.0) -> None:
    """Bring home what a shard keeps, and forget the shard."""
    settings = settings_of(context)
    bar = _Bar()
    with database(settings), bar.progress:
        moved = shards.remove_shard(settings, name, patience_s=wait, begun=bar.begun, told=bar.told)
    _out.print(f"{moved} partitions came home; {name} is no shard any more.")


@shard.command("list")
def list_(context: Context) -> None:
    """Show what each shard keeps, and whether it answers."""
    settings = settings_of(context)
    with database(settings):
        found, centre = shards.list_shards(settings)
    table = Table(box=None, pad_edge=False)
    for column in ("name", "keeps RA (deg)", "partitions", "rows (about)", "state", "address"):
        right = column.startswith(("rows", "part"))
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for standing in (centre, *found):
        table.add_row(*_line(standing))
    _out.print(table)
    for standing in found:
        if standing.problem:
            print(standing.problem, file=sys.stderr)


def _line(standing: Standing) -> tuple[str, ...]:
    keeps = ", ".join(f"{low:g}..{high:g}" for low, high in standing.ranges) or "-"
    return (
        standing.name, keeps, str(standing.partitions), f"{standing.rows:,}",
        "see below" if standing.problem else "answers", standing.address or "here",
    )  # fmt: skip


@shard.command()
def check(
    context: Context,
    repair: Annotated[
        bool, typer.Option("--repair", help="Delete what killed moves and commits left.")
    ] = False,
) -> None:
    """Compare shards with the centre, row by row; exit status 1 if something is wrong."""
    settings = settings_of(context)
    with database(settings):
        report = shards.check_shards(settings, repair=repair)
    for line in report.mended:
        _out.print(line, markup=False)
    for line in report.problems:
        print(line, file=sys.stderr)
    if report.problems:
        raise typer.Exit(1)
    _out.print("The shards are as they should be.")
