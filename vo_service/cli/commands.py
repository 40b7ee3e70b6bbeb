"""The commands. Each is imported when it is called: most need little of what others need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from vo_service import __version__

__all__ = ["app"]

#: Where each is: module of `vo_service.cli` and name in it, a function or a group of commands.
_COMMANDS = {
    "init": "init:init_command",
    "ingest": "ingest:ingest_command",
    "release": "release:release_app",
    "withdraw": "withdraw:withdraw_command",
    "history": "life:history_command",
    "expire": "life:expire_command",
    "serve": "serve:serve_command",
    "worker": "worker:worker_command",
    "demo": "demo:demo_command",
    "status": "status:status_command",
    "transfers": "status:transfers_command",
    "check": "check:check_command",
    "md5": "check:md5_command",
    "bundle": "bundle:bundle_command",
    "crawl": "crawl:crawl_command",
    "backup": "backup:backup_command",
    "restore": "backup:restore_command",
    "bench": "bench:bench_command",
    "db": "db:db",
    "user": "user:user",
    "data": "data:data",
    "registry": "registry:registry",
    "corrections": "corrections:corrections",
    "provenance": "provenance:provenance",
    "previews": "previews:previews",
    "hips": "hips:hips",
    "shard": "shard:shard",
    "alarm": "alarm:alarm",
}


class _OnDemand(Mapping[str, Any]):
    """Commands by name, made when they are asked for."""

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = _COMMANDS[name].partition(":")
        found = getattr(import_module(f"vo_service.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            command: Any = typer.main.get_group(found)
        else:
            single = typer.Typer(add_completion=False)
            single.command(name)(found)
            command = typer.main.get_command(single)
        command.name = name
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


class _Group(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _OnDemand()  # type: ignore[assignment]  # read only, as it is used


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Publish an observatory's FITS archive in the Virtual Observatory.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        Console(highlight=False).print(f"vo-service {__version__}")
        raise typer.Exit


@app.callback()
def _start(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(help="The data directory (VO_HOME).", file_okay=False),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    context.obj = home
