"""`vo-service withdraw`: say what would be taken back, ask, do it, say who has it already."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vo_service.cli.context import database, settings_of
from vo_service.cli.progress import amount, progress_bar
from vo_service.db.downloads import Downloader
from vo_service.db.selection import Chosen, Selection
from vo_service.errors import UsageError
from vo_service.services.policies import refresh_policies
from vo_service.services.publication import Changed, operator, withdraw
from vo_service.services.withdrawal import choose, known_downloads, select_by_query, undo
from vo_service.settings import Settings

__all__ = ["withdraw_command"]

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

#: Downloads that are shown; the rest is in the report.
_SHOWN = 20


def withdraw_command(
    context: typer.Context,
    frames: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FRAME]...",
            help="COLLECTION/PATH, identifier (ivo://...) or path of the file.",
            show_default=False,
        ),
    ] = None,
    collection: Annotated[str | None, typer.Option(help="Only of this collection.")] = None,
    night: Annotated[
        str | None,
        typer.Option(metavar="NIGHT[..NIGHT]", help="Only of this night, or from one to another."),
    ] = None,
    instrument: Annotated[
        str | None, typer.Option(help="Only of this instrument (instrument_name).")
    ] = None,
    proposal: Annotated[str | None, typer.Option(help="Only of this proposal.")] = None,
    query: Annotated[
        str | None,
        typer.Option(metavar="ADQL", help="Only what this finds (its column obs_publisher_did)."),
    ] = None,
    reason: Annotated[
        str, typer.Option(help="Why; kept with every frame.", show_default=False)
    ] = "",
    restore: Annotated[
        bool, typer.Option("--undo", help="Put withdrawn frames back to what the rules say.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write who had downloaded the frames to this CSV file."),
    ] = None,
) -> None:
    """Take frames back: links go at once, running downloads stop, rows are hidden.

    Says first what it would do, and at the end who had downloaded the frames. Conditions are
    taken together: all must be true of a frame. Exit status 1 if something could not be done.
    """
    if not reason.strip():
        raise UsageError("--reason is missing: expected a few words on why, for the history")
    settings = settings_of(context)
    selection = Selection(
        frames=tuple(frames or ()),
        collection=collection,
        instrument=instrument,
        proposal=proposal,
        nights=None if night is None else nights_of(night),
    )
    with database(settings):
        for problem in refresh_policies(settings).problems:  # no reason not to withdraw
            _err.print(problem, markup=False)
        if query is not None:
            selection = select_by_query(settings, selection, query)
        states = ("withdrawn",) if restore else ("arrived", "public")
        chosen = choose(settings, selection, states)
        _tell_plan(settings, chosen, states, restore=restore)
        if not chosen.product_ids:
            return
        _ask(yes)
        if restore:
            outcome = _undo(settings, chosen, reason)
        else:
            outcome = _withdraw(settings, chosen, reason)
            _tell_downloads(settings, chosen.product_ids, report)
    for problem in outcome.problems:
        _err.print(problem, style="red", markup=False)
    if outcome.problems:
        raise typer.Exit(1)


def nights_of(text: str) -> tuple[date, date]:
    """First and last night of ``2024-01-01`` or ``2024-01-01..2024-01-31``.

    Raises
    ------
    UsageError
        If it is neither.
    """
    first, dots, last = text.partition("..")
    try:
        nights = date.fromisoformat(first), date.fromisoformat(last if dots else first)
    except ValueError:
        nights = date.max, date.min
    if nights[0] > nights[1]:
        raise UsageError(
            f"--night: expected a date such as 2024-01-31, or 2024-01-01..2024-01-31, "
            f"found {text!r}"
        )
    return nights


def _tell_plan(settings: Settings, chosen: Chosen, states: Sequence[str], *, restore: bool) -> None:
    meant = [part for part in chosen.parts if part.state in states]
    others = [part for part in chosen.parts if part.state not in states]
    if not meant:
        what = "withdrawn" if restore else "to withdraw"
        _out.print(f"Nothing of it is {what}.")
    else:
        table = Table(box=None, pad_edge=False)
        for name in ("collection", "state", "files", "volume"):
            table.add_column(name, justify="right" if name in ("files", "volume") else "left")
        for part in meant:
            table.add_row(part.collection, part.state, f"{part.files:,}", amount(part.size))
        _out.print("To be put back:" if restore else "To be withdrawn:")
        _out.print(table)
        for path in chosen.examples:
            _out.print(f"  {path}", markup=False)
        if len(chosen.product_ids) > len(chosen.examples):
            _out.print(f"  ... and {len(chosen.product_ids) - len(chosen.examples):,} more")
    for part in others:
        _out.print(f"Left as they are: {part.files:,} of {part.collection} ({part.state}).")


def _ask(yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nothing was done: nobody is there to be asked; say --yes")
    if not typer.confirm("Do it?"):
        _out.print("Nothing was done.")
        raise typer.Exit(1)


def _withdraw(settings: Settings, chosen: Chosen, reason: str) -> Changed:
    with progress_bar() as progress:
        task = progress.add_task("withdrawn", total=len(chosen.product_ids))
        outcome = withdraw(
            settings, chosen.product_ids, rule="withdraw", actor=operator(), reason=reason,
            done=lambda count: progress.update(task, completed=count),
        )  # fmt: skip
    _out.print(f"{outcome.count:,} withdrawn.")
    return outcome


def _undo(settings: Settings, chosen: Chosen, reason: str) -> Changed:
    with progress_bar() as progress:
        task = progress.add_task("put back", total=len(chosen.product_ids))
        outcome, released = undo(
            settings, chosen, datetime.now(UTC).date(), actor=operator(), reason=reason,
            done=lambda count: progress.update(task, completed=count),
        )  # fmt: skip
    _out.print(f"{outcome.count:,} put back; {released.count:,} are public by the rules of today.")
    outcome.problems += released.problems
    return outcome


def _tell_downloads(settings: Settings, numbers: Sequence[int], report: Path | None) -> None:
    """Who had what, in short; all of it in the report."""
    shown: list[Downloader] = []
    people: set[str] = set()
    count = 0
    with ExitStack() as stack:
        rows = None
        if report is not None:
            file = stack.enter_context(report.open("w", newline="", encoding="utf-8"))
            rows = csv.DictWriter(file, [field.name for field in fields(Downloader)])
            rows.writeheader()
        for download in known_downloads(settings, numbers):
            count += 1
            people.add(download.person or f"client {download.client}")
            if len(shown) < _SHOWN:
                shown.append(download)
            if rows is not None:
                rows.writerow(asdict(download))
    days = settings.download_retention_days
    if settings.download_log == "off":
        _out.print("Who had downloaded them is not known: download_log is off.")
    if not count:
        _out.print(f"No download of them is in the log, which goes back {days} days at most.")
        return
    _out.print(f"{len(people):,} had downloaded them (the log goes back {days} days at most):")
    table = Table(box=None, pad_edge=False)
    for name in ("file", "who", "downloads", "whole", "first (UTC)", "last (UTC)"):
        table.add_column(name, justify="right" if name == "downloads" else "left")
    for line in shown:
        table.add_row(
            escape(f"{line.collection}/{line.path}"), line.person or f"client {line.client}",
            str(line.downloads), "yes" if line.complete else "in part",
            f"{line.first:%Y-%m-%d %H:%M}", f"{line.last:%Y-%m-%d %H:%M}",
        )  # fmt: skip
    _out.print(table)
    if count > len(shown):
        where = f"all are in {report}" if report else "--report FILE writes them all"
        _out.print(f"... and {count - len(shown):,} more; {where}.", markup=False)
