"""``vo-service init``: make a data directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vo_service.cli.context import database
from vo_service.cli.registry import answers_for
from vo_service.errors import ConfigError
from vo_service.services.registry_setup import write_publisher
from vo_service.services.setup import initialise
from vo_service.settings import load_settings

__all__ = ["init_command"]

_out = Console(highlight=False)


def init_command(
    context: typer.Context,
    authority: Annotated[
        str | None, typer.Option(help="IVOA authority: your domain name, e.g. archive.example.org.")
    ] = None,
    publisher: Annotated[str | None, typer.Option(help="Who publishes, for people.")] = None,
    contact: Annotated[str | None, typer.Option(help="E-mail address for questions.")] = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            "--answers", help="File with these and what else registries want (docs/registry.md)."
        ),
    ] = None,
    partitions: Annotated[
        int | None, typer.Option(min=1, max=3600, help="Equal ranges of RA (36).")
    ] = None,
    partition_bounds: Annotated[
        str | None, typer.Option(help="Bounds of the ranges of RA, in degrees: 0,10,20,...,360.")
    ] = None,
) -> None:
    """Make a data directory: settings, database, an empty archive.

    At a terminal it asks for what is not given. Run again, it keeps what is there.
    """
    home = load_settings(context.obj).home
    said = answers_for(home, answers, authority=authority, publisher=publisher, contact=contact)
    settings = initialise(
        home,
        authority=said.authority,
        publisher=said.publisher,
        contact=said.contact,
        partition_bounds=_bounds(partitions, partition_bounds),
    )
    write_publisher(settings, said)
    with database(settings, upgrading=True):
        pass
    _out.print(f"The archive is in {settings.home}.")
    _out.print(
        "Next: write a collection file (docs/collections.md), then\n"
        "  vo-service ingest COLLECTION DIRECTORY\n  vo-service serve"
    )


def _bounds(count: int | None, text: str | None) -> list[float] | None:
    if text is not None:
        try:
            return [float(bound) for bound in text.split(",")]
        except ValueError:
            raise ConfigError(
                f"--partition-bounds: {text!r}: expected degrees with commas: 0,90,180,270,360"
            ) from None
    return None if count is None else [360.0 * step / count for step in range(count + 1)]
