"""`vo-service status --slow`: queries that took long, and PostgreSQL's plan for one of them."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vo_service.services.slow import plan_of_slow, slowest
from vo_service.settings import Settings

__all__ = ["show_slow"]

_out = Console(highlight=False)

_WIDTH = 70


def show_slow(settings: Settings, *, limit: int, plan: int | None, as_json: bool) -> None:
    """Print the slowest queries, or the one of number *plan* with its plan."""
    if plan is not None:
        found, lines = plan_of_slow(settings, plan)
        if as_json:
            typer.echo(json.dumps(asdict(found) | {"plan": lines}, default=str, indent=2))
            return
        typer.echo(f"{found.query or found.statement}\n")
        typer.echo("\n".join(lines))
        return
    kept = slowest(settings, limit)
    if as_json:
        typer.echo(json.dumps([asdict(query) for query in kept], default=str, indent=2))
        return
    if not kept:
        _out.print(
            f"No query took {settings.slow_query_s:g} s in {settings.slow_query_days} days."
            if settings.slow_query_s
            else "Slow queries are not kept: slow_query_s is 0."
        )
        return
    table = Table(box=None, pad_edge=False)
    for name in ("number", "seconds", "rows"):
        table.add_column(name, justify="right")
    for name in ("began (UTC)", "end", "query"):
        table.add_column(name, no_wrap=name != "query")
    for query in kept:
        text = " ".join((query.query or query.statement or "").split())
        table.add_row(
            str(query.slow_id), f"{query.seconds:.1f}", str(query.rows),
            f"{query.began:%Y-%m-%d %H:%M}", query.outcome,
            escape(text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"),
        )  # fmt: skip
    _out.print(table)
    _out.print("One of them whole, with its plan: vo-service status --plan NUMBER")
