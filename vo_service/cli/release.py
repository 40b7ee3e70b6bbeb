"""`vo-service release`: what the rules ask for, done or only told; lists of the observatory."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from vo_service.cli.context import database, settings_of
from vo_service.cli.progress import amount
from vo_service.db.rules import Action, Step
from vo_service.services.lists import forget_list, import_list, imported_lists
from vo_service.services.release import Preview, preview, release_due
from vo_service.settings import Settings

__all__ = ["release_app"]

release_app = typer.Typer(
    invoke_without_command=True,
    help="Publish what is due and close what is not, as rules and lists say (docs/release.md).",
)

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

_SAID = {"publish": "to be published", "close": "to be closed again", "plan": "planned anew"}

Names = Annotated[
    list[str] | None, typer.Option("--collection", help="Only this collection; may be repeated.")
]
Name = Annotated[str, typer.Option("--collection", help="Name of a collection.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Day = Annotated[
    datetime | None,
    typer.Option("--date", formats=["%Y-%m-%d"], help="As if it were this day (today, UTC)."),
]


@release_app.callback()
def release(
    context: typer.Context,
    collection: Names = None,
    on: Day = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would change and why; change nothing.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="With --dry-run: list every file.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Publish what is due and close what is not, as rules and lists say (docs/release.md).

    Exit status 1 if something could not be done.
    """
    if context.invoked_subcommand is not None:
        return
    if verbose and not dry_run:
        raise typer.BadParameter("goes with --dry-run", param_hint="--verbose")
    settings = settings_of(context)
    day = on.date() if on else datetime.now(UTC).date()
    with database(settings):
        problems = (_tell if dry_run else _do)(
            settings, day, collection, verbose=verbose, as_json=as_json
        )
    for problem in problems:
        _err.print(problem, style="red", markup=False)
    if problems:
        raise typer.Exit(1)


def _do(
    settings: Settings, day: date, names: list[str] | None, *, verbose: bool, as_json: bool
) -> list[str]:
    done = release_due(settings, day, collections=names)
    if as_json:
        _print_json({"date": day.isoformat(), **asdict(done)})
    else:
        _out.print(
            f"{done.count} products released, {done.closed} closed again, "
            f"{done.planned} planned anew."
        )
    return done.problems


def _tell(
    settings: Settings, day: date, names: list[str] | None, *, verbose: bool, as_json: bool
) -> list[str]:
    """Print what a run would do; the problems that it would meet."""
    problems: list[str] = []
    told: list[dict[str, Any]] = []
    with preview(settings, day, collections=names) as found:
        for one in found:
            if one.problem:
                problems.append(one.problem)
            elif as_json:
                told.append(_as_json(one, verbose=verbose))
            else:
                _print_preview(one, verbose=verbose)
    if as_json:
        _print_json({"date": day.isoformat(), "collections": told, "problems": problems})
    elif not problems:
        _out.print("This was a dry run: nothing was changed.")
    return problems


def _print_preview(found: Preview, *, verbose: bool) -> None:
    if not found.actions:
        _out.print(f"{found.collection}: nothing to do")
        return
    for action in found.actions:
        _out.print(f"{found.collection}: {_sentence(action)}", markup=False)
        if verbose:  # steps come in the order of the actions
            for step in islice(found.steps, action.files):
                _out.print(f"    {_line(step)}", markup=False)
            continue
        for path in action.examples:
            _out.print(f"    {path}", markup=False)
        if action.files > len(action.examples):
            _out.print(f"    ... and {action.files - len(action.examples)} more")


def _sentence(action: Action) -> str:
    days = ""
    if action.action == "plan":
        days = f" for {action.first_day or 'no day in sight'}"
        if action.last_day != action.first_day:
            days += f" to {action.last_day}"
    files = f"{action.files} file{'' if action.files == 1 else 's'}"
    return f"{files} ({amount(action.size)}) {_SAID[action.action]}{days}: {action.rule}"


def _line(step: Step) -> str:
    before = step.old_day or "no day"
    was = f" (was planned for {before}: {step.old_rule or 'no rule'})"
    return step.path + (was if (step.old_day, step.old_rule) != (step.day, step.rule) else "")


def _as_json(found: Preview, *, verbose: bool) -> dict[str, Any]:
    said: dict[str, Any] = {
        "collection": found.collection,
        "actions": [asdict(action) for action in found.actions],
    }
    if verbose:
        said["steps"] = [asdict(step) for step in found.steps]
    return said


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))


@release_app.command("import")
def import_command(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The list, CSV or TSV.", metavar="LIST")],
    collection: Name,
    state: Annotated[
        str | None, typer.Option(help="For a list of frames without this column.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="The day, for a list of frames without this column.")
    ] = None,
    allow_unknown: Annotated[
        bool, typer.Option("--allow-unknown", help="Take names that are not here (yet).")
    ] = False,
) -> None:
    """Take in a list: prolonged proposals, nights on hold, frames public or private.

    It replaces a list of the same name, and is taken whole or not at all. It counts from the
    next run on ('vo-service release --dry-run' tells what will follow).
    """
    settings = settings_of(context)
    given = {"state": state, "since": since}
    with database(settings):
        taken = import_list(
            settings, collection, file, allow_unknown=allow_unknown,
            **{name: value for name, value in given.items() if value is not None},
        )  # fmt: skip
    _out.print(
        f"{taken.name}: {len(taken.entries)} lines about {taken.kind} taken in; "
        "they count from the next 'vo-service release' on.",
        markup=False,
    )


@release_app.command("lists")
def lists_command(context: typer.Context, as_json: Json = False) -> None:
    """Show the lists that count."""
    settings = settings_of(context)
    with database(settings):
        lists = imported_lists(settings)
    if as_json:
        _print_json([asdict(item) for item in lists])
        return
    table = Table(box=None, pad_edge=False)
    for name in ("collection", "list", "about", "lines", "taken in (UTC)", "by"):
        table.add_column(name, justify="right" if name == "lines" else "left", overflow="fold")
    for item in lists:
        table.add_row(
            item.collection, item.name, item.kind, str(item.lines),
            f"{item.imported:%Y-%m-%d %H:%M}",
            "its collection file" if item.by_file else item.actor,
        )  # fmt: skip
    _out.print(table if lists else "There are no lists; see 'vo-service release import --help'.")


@release_app.command("forget")
def forget_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the list.", metavar="LIST")],
    collection: Name,
) -> None:
    """Let an imported list count no more, from the next run on."""
    settings = settings_of(context)
    with database(settings):
        forget_list(settings, collection, name)
    _out.print(f"{name} is forgotten; what it held back is released by the next run.", markup=False)
