"""`vo-service history` and `expire`: what became of a frame, and the end of volatile ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vo_service.cli.context import database, settings_of
from vo_service.cli.progress import amount
from vo_service.db.selection import Life, StateChange
from vo_service.services.expiry import expire, outlived
from vo_service.services.publication import operator
from vo_service.services.withdrawal import history

__all__ = ["expire_command", "history_command"]

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


def history_command(
    context: typer.Context,
    frame: Annotated[
        str, typer.Argument(help="COLLECTION/PATH, identifier (ivo://...) or path of the file.")
    ],
) -> None:
    """Show the life of a frame: versions, and every change of state with rule and person."""
    settings = settings_of(context)
    with database(settings):
        lives, changes = history(settings, frame)
    for life in lives:
        _tell(life, [change for change in changes if change.product_id == life.product_id])


def _tell(life: Life, changes: list[StateChange]) -> None:
    _out.print(f"{life.collection}/{life.path}, version {life.version}: {life.state}", markup=False)
    _out.print(f"  {life.did}", markup=False)
    facts = [amount(life.size), f"MD5 {life.md5 or 'not computed'}"]
    if life.night:
        facts.append(f"night {life.night}")
    if life.release_date:
        facts.append(f"release date {life.release_date}")
    _out.print(f"  {', '.join(facts)}; {life.source or 'the file is elsewhere'}", markup=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("when (UTC)", "state", "rule", "who", "why"):
        table.add_column(name)
    table.add_row(_time(life.arrived), "arrived", "", "", "")
    for change in changes:
        table.add_row(
            *map(escape, (_time(change.changed), change.new_state, change.rule)),
            *map(escape, (change.actor, change.reason or "")),
        )
    if life.removed:
        table.add_row(_time(life.removed), "file deleted", "", "", "")
    _out.print(table)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def expire_command(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be taken away.")
    ] = False,
) -> None:
    """Take away what is older than its collection's lifetime_days; rows stay and say so.

    The worker does this daily. Exit status 1 if something could not be taken away.
    """
    settings = settings_of(context)
    now = datetime.now(UTC)
    with database(settings):
        if dry_run:
            parts = outlived(settings, now)
            for part in parts:
                _out.print(
                    f"{part.collection}: {part.files:,} files ({part.state}), {amount(part.size)}"
                )
            if not parts:
                _out.print("Nothing has outlived its time.")
            return
        outcome, deleted = expire(settings, now, actor=operator())
    _out.print(f"{outcome.count:,} expired, {deleted:,} files deleted.")
    for problem in outcome.problems:
        _err.print(problem, style="red", markup=False)
    if outcome.problems:
        raise typer.Exit(1)
