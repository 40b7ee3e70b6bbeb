"""`vo-service user`: people who may read frames of their proposals before the release.

A password is asked for, or read from standard input where that is no terminal; it never stands
among the arguments, which every process of the machine can read.
"""

from __future__ import annotations

import getpass
import sys
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from vo_service.cli.context import database, settings_of
from vo_service.db.people import Membership
from vo_service.errors import UsageError
from vo_service.services import people

__all__ = ["user"]

user = typer.Typer(
    no_args_is_help=True, help="People who may read frames of their proposals before the release."
)

_out = Console(highlight=False, soft_wrap=True)

Context = typer.Context
Name = Annotated[str, typer.Argument(help="Name of the person.", metavar="NAME")]
Proposal = Annotated[
    str, typer.Argument(help="Identifier as the headers have it.", metavar="PROPOSAL")
]
Place = Annotated[str | None, typer.Option("--collection", help="In this collection (all).")]


@user.command()
def add(
    context: Context,
    name: Name,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="For one who gets tokens only.")
    ] = False,
) -> None:
    """Add a person; the password is asked for, or read from standard input."""
    settings = settings_of(context)
    with database(settings):
        people.add_person(settings, name, None if no_password else _password())
    _out.print(f"{name} is known now; next: vo-service user grant {name} PROPOSAL")


@user.command("list")
def list_(context: Context) -> None:
    """Show who is known, with proposals and tokens (never the tokens themselves)."""
    settings = settings_of(context)
    with database(settings):
        known = people.list_people(settings)
    table = Table(box=None, pad_edge=False)
    for column in ("name", "password", "proposals", "tokens"):
        table.add_column(column)
    for person in known:
        table.add_row(
            person.name, "yes" if person.has_password else "no",
            "\n".join(person.proposals) or "-", "\n".join(person.tokens) or "-",
        )  # fmt: skip
    _out.print(table if known else "Nobody is known; see 'vo-service user add'.")


@user.command()
def password(context: Context, name: Name) -> None:
    """Give a person another password; sessions of browsers end, tokens stay."""
    settings = settings_of(context)
    with database(settings):
        people.change_password(settings, name, _password())
    _out.print(f"{name} has a new password.")


@user.command()
def remove(context: Context, name: Name) -> None:
    """Remove a person; tokens and sessions are worthless at once."""
    settings = settings_of(context)
    with database(settings):
        people.remove_person(settings, name)
    _out.print(f"{name} is removed.")


@user.command()
def grant(
    context: Context,
    name: Name,
    proposal: Proposal,
    collection: Place = None,
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day, UTC (at once)."),
    ] = None,
    last: Annotated[
        datetime | None,
        typer.Option("--until", formats=["%Y-%m-%d"], help="Last day, UTC (for ever)."),
    ] = None,
) -> None:
    """Let a person read the frames of a proposal before their release.

    Said again, the new days count.
    """
    settings = settings_of(context)
    membership = Membership(
        proposal, collection, first.date() if first else None, last.date() if last else None
    )
    with database(settings):
        people.grant(settings, name, membership)
    _out.print(f"{name} may read frames of {proposal} in {collection or 'all collections'}.")


@user.command()
def revoke(context: Context, name: Name, proposal: Proposal, collection: Place = None) -> None:
    """Take a person out of a proposal; it counts from the next request on."""
    settings = settings_of(context)
    with database(settings):
        people.revoke(settings, name, proposal, collection)
    _out.print(f"{name} is not of {proposal} any more.")


@user.command()
def token(
    context: Context,
    name: Name,
    days: Annotated[int, typer.Option(min=1, max=3660, help="Days that it is valid.")] = 365,
    label: Annotated[str, typer.Option(help="What it is for; shown in the list.")] = "",
    revoke_all: Annotated[
        bool,
        typer.Option("--revoke", help="Make no token: end those there are (of the label, if any)."),
    ] = False,
) -> None:
    """Make a token for programs (Authorization: Bearer); it is printed once."""
    settings = settings_of(context)
    with database(settings):
        if revoke_all:
            ended = people.drop_tokens(settings, name, label or None)
            _out.print(f"{ended} tokens of {name} are worthless now.")
            return
        secret, expires = people.make_token(settings, name, days, label)
    print(secret)
    Console(stderr=True, highlight=False).print(
        f"A token of {name}, valid until {expires:%Y-%m-%d}. It is not shown again."
    )


def _password() -> str:
    """A password from a terminal, asked for twice, or the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    given = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != given:
        raise UsageError("the two passwords differ: nothing was changed")
    return given
