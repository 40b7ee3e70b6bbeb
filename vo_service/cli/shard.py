"""`vo-service shard`: what other PostgreSQL servers keep of the archive (docs/shards.md)."""

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
from vo_service.services import shard_moves, shards
from vo_service.services.shard_moves import Manner
from vo_service.services.shards import Standing
from vo_service.settings import Settings

__all__ = ["shard"]

shard = typer.Typer(no_args_is_help=True, help="Parts of the archive on other PostgreSQL servers.")

_out = Console(highlight=False, soft_wrap=True)

Context = typer.Context
Name = Annotated[str, typer.Argument(help="Name of the shard.", metavar="NAME")]
Range = Annotated[
    str | None,
    typer.Option("--ra", help="Right ascensions from:to, in degrees: 0:180, or 350:10 over 0h."),
]
Collections = Annotated[
    list[str] | None,
    typer.Option(
        "--collection", help="A whole collection, by its obs_collection; may be repeated."
    ),
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
    collection: Collections = None,
    wait: Wait = 3600.0,
) -> None:
    """Make a database a shard and move what it shall keep there: --ra, or --collection.

    Searches go on meanwhile. Run again after it was stopped, it goes on; with another URL it
    tells where the shard is now.
    """
    settings = settings_of(context)
    _not_both(ra, collection)
    with database(settings):
        shard_moves.check_choice(settings, ra, collection or ())
        shards.add_shard(settings, name, url)
        if ra is None and not collection:
            _out.print(
                f"{name} is ready; next: vo-service shard move {name} --ra 0:180, or --collection"
            )
            return
        _move(settings, name, ra, collection, wait)


@shard.command()
def move(
    context: Context,
    name: Annotated[
        str, typer.Argument(help=f"Shard that is to keep it, or '{CENTRE}'.", metavar="NAME")
    ],
    ra: Range = None,
    collection: Collections = None,
    wait: Wait = 3600.0,
) -> None:
    """Move a range of right ascension, or collections, to a shard, or home to the centre.

    A collection that was moved by its name stays where it is when a range around it moves.
    """
    settings = settings_of(context)
    _not_both(ra, collection)
    if ra is None and not collection:
        raise UsageError("expected what is to be moved: --ra 0:180, or --collection NAME")
    with database(settings):
        _move(settings, name, ra, collection, wait)


def _not_both(ra: str | None, collections: list[str] | None) -> None:
    if ra is not None and collections:
        raise UsageError(
            "--ra and --collection: expected one of them; move the other by a command of its own"
        )


def _move(
    settings: Settings, name: str, ra: str | None, collections: list[str] | None, wait: float
) -> None:
    bar = _Bar()
    manner = Manner(wait, bar.begun, bar.told)
    with bar.progress:
        if ra is not None:
            what = f"RA {ra} is"
            moved = shard_moves.move_parts(settings, name, ra, manner)
        else:
            names = list(dict.fromkeys(collections or ()))
            what = (
                f"collection {names[0]} is"
                if len(names) == 1
                else (f"collections {' and '.join(names)} are")
            )
            moved = shard_moves.move_collections(settings, name, names, manner)
    _out.print(f"{moved} partitions moved; {what} kept by {name}.", markup=False)
    stay = {held: where for held, where in shard_moves.placed(settings).items() if where != [name]}
    if ra is not None and stay:
        told = ", ".join(f"{held} ({', '.join(where)})" for held, where in stay.items())
        _out.print(
            f"Collections that were moved by name stay where they are: {told}.", markup=False
        )


@shard.command()
def remove(context: Context, name: Name, wait: Wait = 3600.0) -> None:
    """Bring home what a shard keeps, and forget the shard."""
    settings = settings_of(context)
    bar = _Bar()
    with database(settings), bar.progress:
        moved = shards.remove_shard(settings, name, Manner(wait, bar.begun, bar.told))
    _out.print(f"{moved} partitions came home; {name} is no shard any more.")


@shard.command("list")
def list_(context: Context) -> None:
    """Show what each shard keeps, and whether it answers."""
    settings = settings_of(context)
    with database(settings):
        found, centre = shards.list_shards(settings)
    table = Table(box=None, pad_edge=False)
    for column in (
        *("name", "keeps RA (deg)", "collections", "partitions", "rows (about)", "state"),
        "address",
    ):
        right = column.startswith(("rows", "part"))
        width = max(map(len, column.split()))
        table.add_column(
            column, justify="right" if right else "left", overflow="fold", min_width=width
        )
    for standing in (centre, *found):
        table.add_row(*_line(standing))
    _out.print(table)
    for standing in found:
        if standing.problem:
            print(standing.problem, file=sys.stderr)


def _line(standing: Standing) -> tuple[str, ...]:
    keeps = _ranges(standing.ranges) or "-"
    placed = ", ".join(
        name if ranges == [(0.0, 360.0)] else f"{name} (RA {_ranges(ranges)})"
        for name, ranges in standing.collections.items()
    )
    return (
        standing.name, keeps, placed or "-", str(standing.partitions), f"{standing.rows:,}",
        "see below" if standing.problem else "answers", standing.address or "here",
    )  # fmt: skip


def _ranges(ranges: list[tuple[float, float]]) -> str:
    return ", ".join(f"{low:g}..{high:g}" for low, high in ranges)


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
