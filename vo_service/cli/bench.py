"""``vo-service bench``: measure this machine with a synthetic archive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from vo_service.bench import dumps, loads, searches
from vo_service.bench.archive import Loaded, drop_database, fill, settings_for
from vo_service.bench.crowd import crowd
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
_err = Console(stderr=True, highlight=False)
if not _out.is_terminal:
    _out.width = 140  # a file has no width of its own, and the table's lines should not break

#: In the order in which they are taken: memory while the server is fresh, files last, for they
#: add rows.
_MEASURES: dict[str, Callable[[Place], Iterator[Figure]]] = {
    "memory": dumps.memory,
    "cones": searches.cones,
    "images": searches.images,
    "shapes": searches.shapes,
    "aggregates": searches.aggregates,
    "crowd": crowd,
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
    found = _Found(json, plot)
    with database(settings):
        here = settings_for(settings, database_url)
        if keep:
            _out.print(f"kept: --database '{here.database_url}'", soft_wrap=True, markup=False)
        try:
            _measure(here, Synthetic(rows, seed), names, found)
        finally:
            if database_url is None and not keep:
                drop_database(here)
            found.show()
    if found.failed:
        raise typer.Exit(1)


@dataclass
class _Found:
    """The figures so far, each written down as it comes, so that none of them is lost."""

    json: Path | None
    plot: Path | None
    figures: list[Figure] = field(default_factory=list)
    setting: dict[str, Any] = field(default_factory=dict)
    failed: bool = False

    def take(self, measured: Iterable[Figure], what: str) -> None:
        """Add the figures of a measure; one that fails is told of and costs no other."""
        try:
            for figure in measured:
                self.figures.append(figure)
                if self.json:
                    write_json(self.json, self.setting, self.figures)
        except Exception as error:  # whatever it is, what was measured before counts
            self.failed = True
            _err.print(f"{what}: not measured: {error}", style="red", markup=False)

    def show(self) -> None:
        """The table, and the plot."""
        if self.figures:
            _out.print(as_table(self.figures))
        if self.plot:
            write_plot(self.plot, self.figures)


def _chosen(only: str | None) -> list[str]:
    names = list(_MEASURES) if only is None else [name.strip() for name in only.split(",")]
    if unknown := [name for name in names if name not in _MEASURES]:
        raise ConfigError(
            f"--only: there is no measure {unknown[0]!r}; those are {', '.join(_MEASURES)}"
        )
    return names


def _measure(settings: Settings, archive: Synthetic, names: list[str], found: _Found) -> None:
    loaded = _fill(settings, archive)
    if loaded:
        found.take(loads.bulk(loaded), "load")
    for jobs in (False, True):
        if chosen := [name for name in names if (name == "jobs") is jobs]:
            with served(settings, archive, jobs=jobs) as place:
                found.setting = conditions(place)
                for name in chosen:
                    with _out.status(f"measuring {name} ..."):
                        found.take(_MEASURES[name](place), name)


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
