"""`vo-service data`: data servers, their links and the keys of signed links."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vo_service.cli.context import database, settings_of
from vo_service.errors import ConfigError
from vo_service.services.dataservers import apply_server, make_links, public_list
from vo_service.services.setup import initialise_data_server
from vo_service.services.signing import make_keys, rotate_keys
from vo_service.settings import Settings, load_settings

__all__ = ["data"]

data = typer.Typer(
    no_args_is_help=True,
    help="Data servers: files that another machine delivers (docs/data-servers.md).",
)

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

Name = Annotated[str, typer.Argument(help="Name of a collection.")]


@data.command("init")
def init_command(
    context: typer.Context,
    centre: Annotated[
        str | None, typer.Option(help="Address of the centre, where closed files are asked for.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Public address of this server, if another stands before it.")
    ] = None,
) -> None:
    """Make the data directory of a data server: no database of its own, no keys.

    Run again, it keeps what is there.
    """
    settings = initialise_data_server(load_settings(context.obj).home, centre, base_url)
    _out.print(f"The data directory is {settings.home}.")
    _out.print(
        f"Next: copy the centre's signing.keys here (mode 0600), and the collection files into "
        f"{settings.collections}, then\n"
        "  vo-service data links COLLECTION LIST\n  vo-service serve"
    )


@data.command("apply")
def apply_command(context: typer.Context, collection: Name) -> None:
    """Take over what the collection's file says of its data server, at the centre.

    Addresses of all its files follow at once.
    """
    settings = settings_of(context)
    with database(settings):
        url = apply_server(settings, collection)
    _out.print(f"{collection}: files are at {url or settings.root_url + '/data/'}{collection}/")


@data.command("list")
def list_command(context: typer.Context, collection: Name) -> None:
    """Write the list of a collection's public files to standard output, for a data server."""
    settings = settings_of(context)
    if settings.role == "data":
        if settings.database_url is None:
            raise ConfigError("database_url is not set: the list is made at the centre")
        sys.stdout.writelines(f"{line}\n" for line in public_list(settings, collection))
        return
    with database(settings):
        sys.stdout.writelines(f"{line}\n" for line in public_list(settings, collection))


@data.command("links")
def links_command(
    context: typer.Context,
    collection: Name,
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[LIST]",
            help="What 'vo-service data list' wrote at the centre, - for standard input; "
            "without it the centre's database is asked.",
        ),
    ] = None,
) -> None:
    """Make this server's links of a collection what the centre says is public.

    Exit status 1 if files of the list are not here.
    """
    settings = settings_of(context)
    if source is None:
        if settings.database_url is None:
            raise ConfigError(
                "there is no database_url to ask: give the list that 'vo-service data list' "
                "writes at the centre, or - for standard input"
            )
        done = make_links(settings, collection, public_list(settings, collection))
    elif str(source) == "-":
        done = make_links(settings, collection, sys.stdin)
    else:
        with source.open(encoding="utf-8") as lines:
            done = make_links(settings, collection, lines)
    for problem in done.problems:
        _err.print(problem, markup=False, style="red")
    _out.print(
        f"{collection}: {done.made} links made, {done.kept} kept, {done.removed} removed, "
        f"{len(done.problems)} files not here."
    )
    if done.problems:
        raise typer.Exit(1)


@data.command("key")
def key_command(
    context: typer.Context,
    rotate: Annotated[bool, typer.Option("--rotate", help="Add a fresh key.")] = False,
    after: Annotated[
        float,
        typer.Option(
            min=0, max=720, help="Hours until the fresh key signs: time to copy the file."
        ),
    ] = 24.0,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget", help="With --rotate: drop all other keys, the fresh one signs now."
        ),
    ] = False,
) -> None:
    """Show where the keys of signed links are; make or rotate them. Never shows a key."""
    settings = settings_of(context)
    file, now = settings.signing_keys, datetime.now(UTC)
    if forget and not rotate:
        raise ConfigError("--forget: only together with --rotate")
    if make_keys(file, now):
        _out.print(f"{file}: a first key was made.")
    if rotate:
        begins = now if forget else now + timedelta(hours=after)
        fresh = rotate_keys(file, now, begins, forget=forget)
        _out.print(f"Key {fresh.name} signs from {fresh.begins:%Y-%m-%d %H:%M} UTC on.")
    _tell(settings)


def _tell(settings: Settings) -> None:
    _out.print(
        f"The keys are in {settings.signing_keys}; copy this file to each data server, for its "
        "user alone to read."
    )
