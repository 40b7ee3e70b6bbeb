"""``vo-service db``: the private PostgreSQL cluster and what is in it."""

from __future__ import annotations

import typer
from rich.console import Console

from vo_service.cli.context import database, settings_of
from vo_service.cli.progress import index_progress, progress_bar
from vo_service.db.cluster import Cluster
from vo_service.db.cluster_use import start_to_stay, stop_for_all
from vo_service.db.connect import private_cluster
from vo_service.errors import ConfigError
from vo_service.services.bulk import build_missing
from vo_service.settings import Settings

__all__ = ["db"]

db = typer.Typer(no_args_is_help=True, help="The private PostgreSQL cluster.")

_out = Console(highlight=False)


@db.command("start")
def db_start(context: typer.Context) -> None:
    """Start the cluster (it stays up until 'db stop')."""
    cluster = _private(settings_of(context))
    _out.print("started" if start_to_stay(cluster) else "was running already")


@db.command("stop")
def db_stop(context: typer.Context) -> None:
    """Stop the cluster."""
    cluster = _private(settings_of(context))
    _out.print("stopped" if stop_for_all(cluster) else "was not running")


@db.command("status")
def db_status(context: typer.Context) -> None:
    """Say whether the cluster runs; exit status 3 if it does not."""
    state = _private(settings_of(context)).status()
    if not state.running:
        _out.print("not running" if state.exists else "not made yet")
        raise typer.Exit(3)
    _out.print(f"running: PostgreSQL {state.version}, socket in {state.socket}")


@db.command("upgrade")
def db_upgrade(context: typer.Context) -> None:
    """Bring the database to the newest schema."""
    with database(settings_of(context), upgrading=True):
        _out.print("The schema is up to date.")


@db.command("indexes")
def db_indexes(context: typer.Context) -> None:
    """Build the indexes that a bulk load which was broken off left away."""
    settings = settings_of(context)
    with database(settings), progress_bar() as progress:
        built = build_missing(settings, index_progress(progress))
    _out.print(f"{built} indexes built." if built else "All indexes are there.")


def _private(settings: Settings) -> Cluster:
    cluster = private_cluster(settings)
    if cluster is None:
        raise ConfigError(
            "database_url is set: that PostgreSQL is not vo-service's to start or stop"
        )
    return cluster
