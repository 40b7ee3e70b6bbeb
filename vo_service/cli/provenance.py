"""`vo-service provenance`: what files were made of, from tables and from headers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vo_service.cli.context import database, settings_of
from vo_service.cli.progress import progress_bar
from vo_service.services.ingest import find_collection
from vo_service.services.provenance import Report, import_provenance, update_provenance
from vo_service.settings import Settings

__all__ = ["provenance"]

provenance = typer.Typer(
    no_args_is_help=True, help="What files were made of: calibration, raw frames, runs, code."
)

_out = Console(highlight=False, soft_wrap=True)


@provenance.command("import")
def import_command(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV with product, role, used, run, version ...")],
    collection: Annotated[
        str, typer.Option("--collection", help="Collection of the products.", metavar="NAME")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
) -> None:
    """Take in a table of what files were made of.

    All of the file is taken in, or nothing. What it says of a file replaces what earlier tables
    said of it.
    """
    settings = settings_of(context)
    with _working(settings) as done:
        report = import_provenance(settings, file, collection, dry_run=dry_run, done=done)
    _tell(collection, report, "would be imported" if dry_run else "imported")


@provenance.command("update")
def update_command(
    context: typer.Context,
    collection: Annotated[
        str, typer.Argument(help="Name of a collection, or path of its file.", metavar="NAME")
    ],
) -> None:
    """Read the headers of a collection again, by what its file says now under 'provenance'.

    Files are not opened: headers are kept. Ingest does this by itself for files that come.
    """
    settings = settings_of(context)
    found = find_collection(settings, collection)
    with _working(settings) as done:
        report = update_provenance(settings, found, done=done)
    _tell(found.name, report, "read from headers")


@contextmanager
def _working(settings: Settings) -> Iterator[Callable[[int], None]]:
    with database(settings), progress_bar() as progress:
        task = progress.add_task("files", total=None)
        yield lambda count: progress.update(task, completed=count)


def _tell(collection: str, report: Report, what: str) -> None:
    absent = f", {report.absent} of them not in this archive" if report.absent else ""
    _out.print(
        f"{collection}: {what}: {report.products} files, {report.runs} with their run; "
        f"{report.used} files that were used{absent}.",
        markup=False,
    )
