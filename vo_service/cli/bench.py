"""``vo-service bench``: measure this machine with a synthetic archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vo_service.bench import dumps, loads, searches
from vo_service.bench.archive import Loaded, drop_database, fill, settings_for
from vo_service.bench.figures import Figure
from vo_service.bench.place import Place, served
from vo_service.bench.report import as_table, conditions, write_json, write_plot
from vo_service.bench.synthetic import Synthetic
from vo_service.cli.context import database, settings_of
from vo_service.cli.progress import progress_bar
from vo_service.errors import ConfigError
from vo_service.settings import Settings

__all__ = ["bench_command"]

_out = Console(highlight=False)
if not _out.is_terminal:
    _out.width = 140  # a file has no width of its own, and the table's lines should not break

#: In the order in which they are taken: memory while the server is fresh, files last, for they
#: add rows.
_MEASURES: dict[str, Callable[[Place], Iterator[Figure]]] = {
    "memory": dumps.memory,
    "cones": searches.cones,
    "shapes": searches.shapes,
    "aggregates": searches.aggregates,
    "crowd": searches.crowd,
    "dumps": dumps.dumps,
    "uploads": loads.uploads,
    "jobs": loads.jobs,
    "files": loads.files,
}


def bench_command(
    context: typer.Context,
    rows: Annotated[int, typer.Option(min=1000, help="Frames of the archive.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="Which archive of that size.")] = 1,
    only: Annotated[
        str | None,
        typer.Option(help=f"Some measures, with commas: {', '.join(_MEASURES)}."),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database",
            help="An empty database, or one that was kept; else a new one in the private cluster.",
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the database; its address is printed.")
    ] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw the ratios (.png, .svg, .pdf).")
    ] = None,
) -> None:
    """Measure searches, dumps and loads on a synthetic archive, as ratios to PostgreSQL's own.

    docs/performance.md says what the figures mean. Nothing of your archive is read or changed.
    """
    names = _chosen(only)
    settings = settings_of(context)
    with database(settings):
        here = settings_for(settings, database_url)
        try:
            figures, setting = _measure(here, Synthetic(rows, seed), names)
        finally:
            if database_url is None and not keep:
                drop_database(here)
    _out.print(as_table(figures))
    if json:
        write_json(json, setting, figures)
    if plot:
        write_plot(plot, figures)
    if keep:
        _out.print(f"kept: --database '{here.database_url}'", soft_wrap=True, markup=False)


def _chosen(only: str | None) -> list[str]:
    names = list(_MEASURES) if only is None else [name.strip() for name in only.split(",")]
    if unknown := [name for name in names if name not in _MEASURES]:
        raise ConfigError(
            f"--only: there is no measure {unknown[0]!r}; those are {', '.join(_MEASURES)}"
        )
    return names


def _measure(
    settings: Settings, archive: Synthetic, names: list[str]
) -> tuple[list[Figure], dict[str, object]]:
    figures: list[Figure] = []
    loaded = _fill(settings, archive)
    if loaded:
        figures += loads.bulk(loaded)
    with served(settings, archive) as place:
        for name in names:
            with _out.status(f"measuring {name} ..."):
                figures += _MEASURES[name](place)
        return figures, conditions(place)


def _fill(settings: Settings, archive: Synthetic) -> Loaded | None:
    with progress_bar() as progress:
        tasks = {name: progress.add_task(name, total=None) for name in ("rows", "indexes")}
        return fill(
            settings,
            archive,
            progress=lambda name, done, total: progress.update(
                tasks[name], completed=done, total=total
            ),
        )
