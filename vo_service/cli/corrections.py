"""`vo-service corrections`: import, list, check and remove header corrections."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vo_service.cli.context import database, settings_of
from vo_service.cli.progress import progress_bar
from vo_service.errors import UsageError
from vo_service.services.corrections import (
    Report,
    check_corrections,
    import_corrections,
    list_corrections,
    remove_corrections,
)

__all__ = ["corrections"]

corrections = typer.Typer(
    no_args_is_help=True, help="Header corrections: what is wrong in headers, and what is right."
)

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

#: Findings that are shown; 'check --all' shows the rest.
_SHOWN = 20

CollectionOption = Annotated[
    str | None, typer.Option("--collection", help="Name of a collection.", metavar="NAME")
]


@corrections.command("import")
def import_command(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="CSV with start_frame, end_frame, keyword, current ...")
    ],
    collection: CollectionOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
) -> None:
    """Take in a table of corrections, and bring rows of the archive in line with them.

    All of the file is taken in, or nothing. Exit status 1 if a value is not what the table
    says it is now: such a correction is kept, but not applied.
    """
    settings = settings_of(context)
    with database(settings), _progress() as done:
        report = import_corrections(
            settings, file, collection=collection, dry_run=dry_run, done=done
        )
    would = "would be imported" if dry_run else "imported"
    known = f", {report.known} known already" if report.known else ""
    _out.print(f"{report.collection}: {report.added} corrections {would}{known}.", markup=False)
    _tell([report], all_findings=False)


@corrections.command("check")
def check_command(
    context: typer.Context,
    collection: CollectionOption = None,
    all_findings: Annotated[
        bool, typer.Option("--all", help=f"Show all findings, not only {_SHOWN}.")
    ] = False,
) -> None:
    """Say which corrections apply to the headers that are kept; exit status 1 if some do not."""
    settings = settings_of(context)
    with database(settings), _progress() as done:
        reports = check_corrections(settings, collection, done=done)
    for report in reports:
        _out.print(f"{report.collection}: {report.known} corrections.", markup=False)
        _tell([report], all_findings=all_findings, leave=False)
    if not reports:
        _out.print("There are no corrections.")
    if any(report.findings for report in reports):
        raise typer.Exit(1)


@corrections.command("list")
def list_command(context: typer.Context, collection: CollectionOption = None) -> None:
    """Show the corrections that count, in the order in which they are applied."""
    settings = settings_of(context)
    with database(settings):
        found = list_corrections(settings, collection)
    if not found:
        _out.print("There are no corrections; see 'vo-service corrections import --help'.")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("no.", "collection", "frames", "HDU", "keyword", "current", "updated", "from"):
        table.add_column(name, justify="right" if name == "no." else "left", no_wrap=True)
    for imported in found:
        correction = imported.correction
        table.add_row(
            str(correction.number),
            *map(
                escape,
                (
                    imported.collection, str(correction.frames), correction.hdu,
                    correction.keyword, correction.current, correction.updated,
                    f"{imported.source}, {imported.imported:%Y-%m-%d} by {imported.imported_by}",
                ),
            ),
        )  # fmt: skip
    # Wider than a narrow terminal rather than cut: it is also read by programs.
    Console(highlight=False, width=max(_out.width, 200)).print(table)


@corrections.command("remove")
def remove_command(
    context: typer.Context,
    numbers: Annotated[
        list[str], typer.Argument(help="Numbers as 'list' shows them: 3, or 3-17.", metavar="NO...")
    ],
) -> None:
    """Let corrections not count any more, and bring rows of the archive in line."""
    settings = settings_of(context)
    with database(settings), _progress() as done:
        reports = remove_corrections(settings, _numbers(numbers), done=done)
    for report in reports:
        _out.print(
            f"{report.collection}: {report.added} corrections removed; "
            f"{report.products} files looked at.",
            markup=False,
        )


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    with progress_bar() as progress:
        task = progress.add_task("files", total=None)
        yield lambda count: progress.update(task, completed=count)


def _tell(reports: Sequence[Report], *, all_findings: bool, leave: bool = True) -> None:
    """What corrections do; with *leave*, findings make the exit status 1."""
    for report in reports:
        _out.print(
            f"  meant for {report.products} files: {report.applied} headers corrected, "
            f"{report.already} right already, {len(report.findings)} not as expected",
            markup=False,
        )
        shown = report.findings if all_findings else report.findings[:_SHOWN]
        for finding in shown:
            _err.print(f"  not applied: {finding}", markup=False)
        if more := len(report.findings) - len(shown):
            _err.print(f"  ... and {more} more: 'vo-service corrections check --all'")
        for correction in report.nowhere:
            _err.print(f"  no such frame here: {correction}", markup=False)
    if leave and any(report.findings for report in reports):
        raise typer.Exit(1)


def _numbers(texts: Sequence[str]) -> list[int]:
    found: list[int] = []
    for text in texts:
        match = re.fullmatch(r"([0-9]{1,15})(?:-([0-9]{1,15}))?", text)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < first + 100_000:
            raise UsageError(f"{text!r}: expected a number such as 3, or a range such as 3-17")
        found += range(first, last + 1)
    return list(dict.fromkeys(found))
