"""`vo-service ingest`: progress while it runs, a report of what was refused."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vo_service.cli.context import database, settings_of
from vo_service.cli.progress import index_progress, progress_bar
from vo_service.db.frames import Counts
from vo_service.model.observation import Refusal
from vo_service.services.checks import compute_md5
from vo_service.services.ingest import IngestRequest, find_collection, ingest, known_as
from vo_service.services.release import release_due
from vo_service.settings import Settings

__all__ = ["ingest_command", "run_ingest"]

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

#: Refusals that are shown; the rest is in the report and in the table.
_SHOWN = 20
_REPORT = ("source", "hdu", "keyword", "reason")


def ingest_command(
    context: typer.Context,
    collection: Annotated[
        str, typer.Argument(help="Name of a collection, or the path of its file.")
    ],
    paths: Annotated[list[Path], typer.Argument(help="Directories or files.", metavar="PATH...")],
    processes: Annotated[
        int, typer.Option(min=0, help="Reading processes; 0 reads in this one.")
    ] = os.cpu_count() or 1,
    headers: Annotated[
        bool, typer.Option("--headers", help="The files are headers only; data stay elsewhere.")
    ] = False,
    md5: Annotated[
        bool, typer.Option("--md5", help="Compute checksums afterwards ('vo-service md5').")
    ] = False,
    origin: Annotated[
        str | None, typer.Option(help="Where the files come from (this host and the directory).")
    ] = None,
    bulk: Annotated[
        bool,
        typer.Option(
            "--bulk",
            help="A first load of many files: indexes are built after it, which is much quicker.",
        ),
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write refused files and reasons to this CSV file.")
    ] = None,
) -> None:
    """Take in FITS files: headers are read, rows written, released files linked.

    The same files again change nothing; changed files become new versions. Exit status 1 if
    files were refused.
    """
    settings = settings_of(context)
    with database(settings):
        counts = run_ingest(
            settings, collection, paths,
            processes=processes, headers_only=headers, origin=origin, bulk=bulk, report=report,
        )  # fmt: skip
        if md5:
            _out.print(f"{compute_md5(settings, _err.print)} checksums computed.")
    if counts.refused:
        raise typer.Exit(1)


def run_ingest(
    settings: Settings,
    collection: str,
    paths: Sequence[Path],
    *,
    processes: int = 2,
    headers_only: bool = False,
    origin: str | None = None,
    bulk: bool = False,
    report: Path | None = None,
) -> Counts:
    """Ingest and release, and tell about it."""
    request = IngestRequest(
        collection=find_collection(settings, collection),
        paths=paths,
        file=known_as(collection),
        origin=origin,
        processes=processes,
        headers_only=headers_only,
        bulk=bulk,
    )
    name = request.collection.name
    shown = 0
    with ExitStack() as stack:
        progress = stack.enter_context(progress_bar())
        rows = None
        if report is not None:
            rows = csv.DictWriter(
                stack.enter_context(report.open("w", newline="", encoding="utf-8")), _REPORT,
                extrasaction="ignore",
            )  # fmt: skip
            rows.writeheader()
        task = progress.add_task(name, total=None)

        def refused(refusal: Refusal) -> None:
            nonlocal shown
            if rows is not None:
                rows.writerow(asdict(refusal))
            if shown < _SHOWN:
                _err.print(f"refused: {describe(refusal)}", markup=False)
            shown += 1

        counts = ingest(
            settings,
            request,
            found=lambda total: progress.update(task, total=total),
            done=lambda so_far: progress.update(task, completed=_seen(so_far)),
            refused=refused,
            built=index_progress(progress),
        )
    if shown > _SHOWN:
        _err.print(f"... and {shown - _SHOWN} more; all are in the table archive.refusal.")
    released = release_due(settings, datetime.now(UTC).date(), collections=[name])
    for problem in released.problems:
        _err.print(problem, markup=False)
    _out.print(
        f"{name}: {counts.files} files: {counts.added} new, {counts.changed} changed, "
        f"{counts.unchanged} unchanged, {counts.refused} refused; {released.count} released."
    )
    return counts


def describe(refusal: Refusal) -> str:
    """A refusal in one line: file, HDU, keyword, reason."""
    places = [refusal.source]
    if refusal.hdu is not None:
        places.append(f"HDU {refusal.hdu}")
    if refusal.keyword:
        places.append(refusal.keyword)
    return f"{', '.join(places)}: {refusal.reason}"


def _seen(counts: Counts) -> int:
    return counts.added + counts.changed + counts.unchanged + counts.refused
