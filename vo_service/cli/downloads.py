"""`vo-service status --downloads`: how much was fetched, by month and collection."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer
from rich.console import Console
from rich.table import Table

from vo_service.cli.context import database
from vo_service.cli.progress import amount
from vo_service.services.downloads import download_months
from vo_service.settings import Settings

__all__ = ["show_downloads"]

_out = Console(highlight=False)


def show_downloads(settings: Settings, *, as_json: bool = False) -> None:
    """Print the table, today included; with *as_json* for programs, sizes in bytes."""
    with database(settings):
        lines = download_months(settings)
    if as_json:
        typer.echo(json.dumps([asdict(line) for line in lines], indent=2))
        return
    if not lines:
        off = "; the log is off (download_log)" if settings.download_log == "off" else ""
        _out.print(f"Nothing has been downloaded yet{off}.")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("month", "collection", "files", "size", "visitor days"):
        table.add_column(name, justify="left" if name in ("month", "collection") else "right")
    for line in lines:
        table.add_row(
            line.month, line.collection, str(line.files), amount(line.size), str(line.visitor_days)
        )
    _out.print(table)
