"""`vo-service registry`: what other sites are told of this archive."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from vo_service.cli.context import database, settings_of
from vo_service.cli.harvest import harvest_command
from vo_service.services.registry import list_records, publish_records, show_record
from vo_service.services.registry_setup import Answers, checked_answers, read_answers
from vo_service.settings import SETTINGS_FILE

__all__ = ["answers_for", "registry"]

registry = typer.Typer(
    no_args_is_help=True,
    help="Records of this archive for other sites, and of others for here (docs/registry.md).",
)
registry.command("harvest")(harvest_command)

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


#: What is asked at a terminal.
_QUESTIONS = (
    ("authority", "IVOA authority: your domain name"),
    ("publisher", "Who publishes, for people"),
    ("contact", "E-mail address for questions"),
    ("contact_name", "Whose address that is"),
    ("reference_url", "Web page about you"),
    ("licence", "Licence of the data, if there is one for all"),
    ("licence_url", "Its address"),
)


def answers_for(home: Path, file: Path | None, **given: str | None) -> Answers:
    """What *file* says, over that what is *given*; at a terminal the rest is asked, once."""
    values = read_answers(file).model_dump() if file else {}
    values |= {name: value for name, value in given.items() if value is not None}
    if file is None and sys.stdin.isatty() and not (home / SETTINGS_FILE).exists():
        _out.print("A few questions; Enter leaves one out, and all can be answered later.")
        for name, question in _QUESTIONS:
            if values.get(name) is None:
                said = typer.prompt(question, default="", show_default=False).strip()
                values[name] = said or None
    return checked_answers(values)


@registry.command("publish")
def publish_command(context: typer.Context) -> None:
    """Make the records anew and publish those that changed; a worker does so every day.

    Exit status 1 if a record is not valid: it is not published, and the reason is said.
    """
    settings = settings_of(context)
    with database(settings):
        done = publish_records(settings)
    for word, identifiers in (
        ("new", done.added),
        ("changed", done.changed),
        ("deleted", done.deleted),
    ):
        for identifier in identifiers:
            _out.print(f"{word:8} {identifier}", markup=False)
    for reason in done.refused:
        _err.print(f"refused  {reason}", markup=False, style="red")
    _out.print(
        f"{len(done.added)} new, {len(done.changed)} changed, {len(done.deleted)} deleted, "
        f"{done.unchanged} as they were."
    )
    if done.refused:
        raise typer.Exit(1)


@registry.command("list")
def list_command(context: typer.Context) -> None:
    """List all records, deleted ones too, with their datestamps (UTC)."""
    settings = settings_of(context)
    with database(settings):
        records = list_records(settings)
    if not records:
        _out.print("Nothing has been published yet; 'vo-service registry publish' does it.")
        return
    table = Table("identifier", "updated", "state", box=None)
    for record in records:
        state = "deleted" if record.deleted else "active"
        table.add_row(record.identifier, f"{record.updated:%Y-%m-%d %H:%M:%S}", state)
    _out.print(table)


@registry.command("show")
def show_command(
    context: typer.Context,
    identifier: Annotated[str, typer.Argument(help="ivo://...")],
) -> None:
    """Write a record to standard output as harvesters get it (XML)."""
    settings = settings_of(context)
    with database(settings):
        text = show_record(settings, identifier)
    sys.stdout.write(f"{text}\n")
