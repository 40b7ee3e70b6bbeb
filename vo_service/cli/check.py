"""``vo-service check`` and ``md5``: whether rows, links, files and records agree."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from vo_service.cli.context import database, settings_of
from vo_service.services.checks import compute_md5, find_problems
from vo_service.services.registry_check import registry_problems

__all__ = ["check_command", "md5_command"]

_out = Console(highlight=False)


def check_command(
    context: typer.Context,
    files: Annotated[
        bool, typer.Option("--files", help="Also read the files and compare their MD5.")
    ] = False,
    registry_too: Annotated[
        bool,
        typer.Option(
            "--registry", help="Check registry records instead, and the addresses they give."
        ),
    ] = False,
) -> None:
    """Compare the archive's rows with links and files; exit status 1 if something is wrong."""
    settings = settings_of(context)
    with database(settings):
        problems = 0
        found = (
            registry_problems(settings)
            if registry_too
            else find_problems(settings, read_files=files)
        )
        for problem in found:
            _out.print(problem)
            problems += 1
    _out.print(f"{problems} problems." if problems else "All is well.")
    if problems:
        raise typer.Exit(1)


def md5_command(context: typer.Context) -> None:
    """Compute the MD5 of every file that has none yet; an interrupted run goes on."""
    settings = settings_of(context)
    with database(settings):
        done = compute_md5(settings, _out.print)
    _out.print(f"{done} checksums computed.")
