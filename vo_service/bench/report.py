"""The report: a table for people, JSON for programs, a plot."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from rich.table import Table

from vo_service import __version__
from vo_service.bench.figures import Figure, as_json
from vo_service.bench.place import Place

__all__ = ["as_table", "conditions", "write_json", "write_plot"]


def conditions(place: Place) -> dict[str, Any]:
    """What the figures were taken on and with."""
    with psycopg.connect(place.dsn) as connection:
        version = connection.info.parameter_status("server_version")
        row = connection.execute(
            "SELECT current_setting('shared_buffers'), current_setting('work_mem')"
        ).fetchone()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "taken": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}",
        "vo_service": __version__,
        "rows": place.archive.rows,
        "seed": place.archive.seed,
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "python": platform.python_version(),
        "postgresql": version,
        "shared_buffers": row[0] if row else None,
        "work_mem": row[1] if row else None,
    }


def as_table(figures: Sequence[Figure]) -> Table:
    """A line for each figure."""
    table = Table(box=None, pad_edge=False)
    for name in ("what", "measured", "reference", "ratio", "target", ""):
        table.add_column(name, justify="left" if name in {"what", ""} else "right")
    group = ""
    for figure in figures:
        if figure.group != group:
            table.add_section()
        group = figure.group
        verdict = {True: "[green]reached[/]", False: "[red]missed[/]", None: ""}[figure.reached]
        table.add_row(
            f"{figure.group}: {figure.name}",
            _number(figure.value, figure.unit),
            _number(figure.reference, figure.unit) if figure.reference is not None else "",
            f"{figure.ratio:.2f}" if figure.reference else "",
            figure.target.words(figure.unit) if figure.target else "",
            " ".join(filter(None, (verdict, figure.note))),
        )
    return table


def _number(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 100 or value == int(value) else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def write_json(file: Path, setting: dict[str, Any], figures: Sequence[Figure]) -> None:
    """Everything, to be compared with other runs."""
    content = {"conditions": setting, "figures": [as_json(figure) for figure in figures]}
    file.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def write_plot(file: Path, figures: Sequence[Figure]) -> None:
    """Ratios to the reference as bars, with their targets as lines."""
    # Here, for it takes half a second that no other command should pay.
    from matplotlib.figure import Figure as Drawing  # noqa: PLC0415 - see above

    shown = [figure for figure in figures if figure.reference]
    drawing = Drawing(figsize=(9, 1 + 0.28 * len(shown)), layout="constrained")
    axes = drawing.add_subplot()
    places = range(len(shown))
    colours = {True: "tab:green", False: "tab:red", None: "tab:blue"}
    axes.barh(
        places, [figure.ratio for figure in shown],
        color=[colours[figure.reached] for figure in shown],
    )  # fmt: skip
    for at, figure in zip(places, shown, strict=True):
        if figure.target and figure.target.of == "ratio":
            axes.plot([figure.target.bound] * 2, [at - 0.4, at + 0.4], color="black", lw=2)
    axes.set_yticks(places, [f"{figure.group}: {figure.name}" for figure in shown])
    axes.invert_yaxis()
    axes.axvline(1, color="grey", lw=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("ratio to the reference (black: target)")
    drawing.savefig(file)
