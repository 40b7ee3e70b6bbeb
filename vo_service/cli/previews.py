"""`vo-service previews`: pictures of files, made now or once more."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer
from rich.console import Console

from vo_service.cli.context import database, settings_of
from vo_service.cli.progress import progress_bar
from vo_service.services.previews import Outcome, make_previews, preview_failures

__all__ = ["previews"]

previews = typer.Typer(
    no_args_is_help=True,
    help="Pictures of files (docs/previews.md); a worker makes them by itself.",
)

_out = Console(highlight=False, soft_wrap=True)

_SHOWN = 20


@previews.callback()
def _group() -> None:
    """Pictures of files (docs/previews.md); a worker makes them by itself."""


@previews.command("make")
def make_command(
    context: typer.Context,
    collection: Annotated[
        str | None, typer.Argument(help="Only of this collection.", metavar="[COLLECTION]")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="All of them, also those that are there or failed.")
    ] = False,
) -> None:
    """Make the pictures that are missing; interrupted, it goes on where it was.

    Those that a worker is making at the moment are left to it.
    """
    settings = settings_of(context)
    with database(settings), ExitStack() as stack:
        progress = stack.enter_context(progress_bar())
        task = progress.add_task("previews", total=None)

        def done(outcome: Outcome) -> None:
            progress.update(task, completed=outcome.made + outcome.failed)

        outcome = make_previews(
            settings, collection=collection, again=again, done=done,
            found=lambda number: progress.update(task, total=number),
        )  # fmt: skip
    _out.print(f"{outcome.made} previews made, {outcome.failed} files cannot be shown.")
    if outcome.failed:
        _out.print("'vo-service previews failures' says why.")


@previews.command("failures")
def failures_command(
    context: typer.Context,
    collection: Annotated[
        str | None, typer.Argument(help="Only of this collection.", metavar="[COLLECTION]")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = _SHOWN,
) -> None:
    """Show which files have no preview, and why."""
    settings = settings_of(context)
    with database(settings):
        failures = preview_failures(settings, collection, limit)
    for place, reason in failures:
        _out.print(f"{place}: {reason}", markup=False)
    if not failures:
        _out.print("There are none.")
