"""`vo-service hips`: sky images of collections, built, listed, removed."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import TaskID

from vo_service.cli.context import database, settings_of, stopping_on_sigterm
from vo_service.cli.progress import amount, progress_bar
from vo_service.services.hips import HipsRecipe, build_hips, remove_hips
from vo_service.services.hips_output import hips_list

__all__ = ["hips"]

hips = typer.Typer(no_args_is_help=True, help="Sky images (HiPS) of collections (docs/hips.md).")

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

_SHOWN = 10
_STAGES = {"tile": "tiles", "parent": "smaller tiles", "picture": "pictures"}


@hips.command("build")
def build_command(
    context: typer.Context,
    collection: Annotated[str, typer.Argument(help="Name of a collection.")],
    name: Annotated[str | None, typer.Option(help="Of the HiPS (that of the collection).")] = None,
    order: Annotated[
        int | None,
        typer.Option(min=0, max=13, help="The deepest order (as fine as the frames)."),
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="Of pictures: png, jpeg or webp (png).")
    ] = None,
    depth: Annotated[
        int | None, typer.Option(min=1, help="Frames that are enough for a pixel (20).")
    ] = None,
    instrument: Annotated[
        str | None, typer.Option(help="Only frames of this instrument_name.")
    ] = None,
    subtract_sky: Annotated[
        bool | None, typer.Option("--subtract-sky", help="Take away the median of each frame.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Begin from nothing, with options of this call.")
    ] = False,
) -> None:
    """Build the HiPS of a collection's public images, or bring it up to date.

    Interrupted or killed, it goes on where it was. What is served stays as it is until the new
    one is complete.
    """
    settings = settings_of(context)
    recipe = HipsRecipe(
        order=order, form=form, depth=depth, subtract_sky=subtract_sky, instrument=instrument
    )
    with stopping_on_sigterm(), database(settings), progress_bar() as progress:
        task: TaskID | None = None

        def stage(what: str, number: int) -> None:
            nonlocal task
            task = progress.add_task(_STAGES[what], total=number)

        def done() -> None:
            if task is not None:
                progress.advance(task)

        built = build_hips(settings, collection, name, recipe, again=again, stage=stage, done=done)
    for problem in built.problems[:_SHOWN]:
        _err.print(f"not drawn: {problem}", markup=False, style="red")
    if len(built.problems) > _SHOWN:
        _err.print(f"... and {len(built.problems) - _SHOWN} more")
    if built.published:
        _out.print(
            f"{built.name}: {built.tiles} tiles of order {built.order} made, "
            f"{built.frames} frames in all; served at {settings.root_url}/hips/{built.name}"
        )
    else:
        _out.print(f"{built.name}: nothing has changed ({built.frames} frames).")


@hips.command("list")
def list_command(context: typer.Context) -> None:
    """Show the HiPS that are served."""
    settings = settings_of(context)
    found = hips_list(settings)
    for said in found:
        size = int(said.get("hips_estsize", 0)) * 1024
        _out.print(
            f"{said['hips_service_url']}: {said.get('obs_title', '')}, order "
            f"{said.get('hips_order')}, {said.get('hips_tile_format')}, "
            f"{amount(size)}, of {said.get('hips_release_date')}",
            markup=False,
        )
    if not found:
        _out.print("There are none; see 'vo-service hips build --help'.")


@hips.command("remove")
def remove_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the HiPS.")],
) -> None:
    """Serve a HiPS no more, and delete it; the frames stay."""
    settings = settings_of(context)
    remove_hips(settings, name)
    _out.print(f"{name} is removed.")
