"""`vo-service status` and `vo-service transfers`: what is here, what came, what is coming."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import asdict, fields
from datetime import UTC, date, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from vo_service.cli.context import database, settings_of
from vo_service.cli.downloads import show_downloads
from vo_service.cli.progress import amount
from vo_service.cli.slow import show_slow
from vo_service.db.outlook import Transfer
from vo_service.services.outlook import Outlook, look_out, transfers

__all__ = ["status_command", "transfers_command"]

_out = Console(highlight=False)


def status_command(
    context: typer.Context,
    nights: Annotated[int, typer.Option(min=0, help="How many of the latest nights.")] = 5,
    weeks: Annotated[int, typer.Option(min=1, max=1000, help="How many coming weeks.")] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; sizes are bytes.")] = False,
    downloads: Annotated[
        bool, typer.Option("--downloads", help="Show downloads by month and collection instead.")
    ] = False,
    slow: Annotated[
        bool, typer.Option("--slow", help="Show the slowest queries instead (slow_query_s).")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="With --slow: at most so many.")] = 20,
    plan: Annotated[
        int | None,
        typer.Option(help="Show one slow query whole, and PostgreSQL's plan for it now."),
    ] = None,
) -> None:
    """Show what the archive holds, the latest nights, and what is to be released when."""
    settings = settings_of(context)
    if slow or plan is not None:
        with database(settings):
            show_slow(settings, limit=limit, plan=plan, as_json=as_json)
        return
    if downloads:
        show_downloads(settings, as_json=as_json)
        return
    with database(settings):
        found = look_out(settings, datetime.now(UTC).date(), nights=nights, weeks=weeks)
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False, indent=2, default=str))
        return
    if not found.collections:
        _out.print("The archive is empty; see 'vo-service ingest --help'.")
        return
    _print(found)


def _print(found: Outlook) -> None:
    columns = ("files", "size", "public", "waiting", "gone", "refused", "last ingest (UTC)")
    table = _table("collection", *columns)
    for line in found.collections:
        table.add_row(
            line.collection, str(line.files), amount(line.size), str(line.public),
            str(line.waiting), str(line.gone), str(line.refused),
            f"{line.last_ingest:%Y-%m-%d %H:%M}" if line.last_ingest else "-",
        )  # fmt: skip
    _out.print(table)
    if found.nights:
        table = _table("night", "files", "size", "public", "collection")
        for night in found.nights:
            table.add_row(
                str(night.night), str(night.files), amount(night.size), str(night.public),
                night.collection,
            )  # fmt: skip
        _out.print("\nLatest nights")
        _out.print(table)
    _out.print("\nTo be released, by week from Monday on")
    if found.weeks:
        table = _table("week", "files", "size", "collection")
        for week in found.weeks:
            when = f"from {week.week} on" if week.later else str(week.week or "no day")
            table.add_row(when, str(week.files), amount(week.size), week.collection)
        _out.print(table)
    else:
        _out.print("nothing")
    if run := found.last_release:
        _out.print(
            f"\nLast release: {run.ended:%Y-%m-%d %H:%M} UTC by {run.actor}: {run.published} "
            f"released, {run.closed} closed again, {run.planned} planned anew.",
            markup=False, soft_wrap=True,
        )  # fmt: skip
    else:
        _out.print(
            "\nThe rules have not been run over all collections yet; a worker does it daily."
        )
    for warning in found.warnings:
        _out.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)


def _table(first: str, *more: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in (first, *more):
        is_number = name not in (first, "collection", "last ingest (UTC)")
        table.add_column(name, justify="right" if is_number else "left")
    return table


def transfers_command(
    context: typer.Context,
    collection: Annotated[str | None, typer.Option(help="Only this collection.")] = None,
    night: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only of this night.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Only what arrived on this day (UTC) or later."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 1000,
) -> None:
    """Write the transfer table as CSV: what came when from where, checksums, planned release."""
    settings = settings_of(context)
    writer = csv.writer(sys.stdout)
    names = [field.name for field in fields(Transfer)]
    with (
        database(settings),
        transfers(
            settings, collection=collection, night=_day(night), since=_day(since), limit=limit
        ) as found,
    ):
        writer.writerow(names)
        writer.writerows([getattr(line, name) for name in names] for line in found)


def _day(moment: datetime | None) -> date | None:
    return moment.date() if moment else None
