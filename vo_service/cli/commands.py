"""The commands, each a few lines over a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vo_service import __version__
from vo_service.cli.alarm import alarm
from vo_service.cli.bench import bench_command
from vo_service.cli.bundle import bundle_command
from vo_service.cli.context import database, settings_of, stopping_on_sigterm
from vo_service.cli.corrections import corrections
from vo_service.cli.data import data
from vo_service.cli.demo import run_demo
from vo_service.cli.hips import hips
from vo_service.cli.ingest import ingest_command
from vo_service.cli.life import expire_command, history_command
from vo_service.cli.previews import previews
from vo_service.cli.provenance import provenance
from vo_service.cli.registry import answers_for, registry
from vo_service.cli.release import release_app
from vo_service.cli.server import ServedRole, database_for, listen, on_port, serve
from vo_service.cli.status import status_command, transfers_command
from vo_service.cli.user import user
from vo_service.cli.withdraw import withdraw_command
from vo_service.cli.worker import run_worker
from vo_service.db.cluster import Cluster
from vo_service.db.connect import private_cluster
from vo_service.errors import ConfigError
from vo_service.services.checks import compute_md5, find_problems
from vo_service.services.registry_check import registry_problems
from vo_service.services.registry_setup import write_publisher
from vo_service.services.setup import initialise
from vo_service.settings import Settings, load_settings

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Publish an observatory's FITS archive in the Virtual Observatory.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
db = typer.Typer(no_args_is_help=True, help="The private PostgreSQL cluster.")
app.add_typer(db, name="db")
app.add_typer(user, name="user")
app.add_typer(data, name="data")
app.add_typer(registry, name="registry")
app.add_typer(corrections, name="corrections")
app.add_typer(provenance, name="provenance")
app.add_typer(alarm, name="alarm")
app.add_typer(previews, name="previews")
app.add_typer(hips, name="hips")

_out = Console(highlight=False)

Port = Annotated[int | None, typer.Option(help="Port to listen on (VO_PORT; 8080).")]
Context = typer.Context


def _version(wanted: bool) -> None:
    if wanted:
        _out.print(f"vo-service {__version__}")
        raise typer.Exit


@app.callback()
def _start(
    context: Context,
    home: Annotated[
        Path | None,
        typer.Option(help="The data directory (VO_HOME).", file_okay=False),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    context.obj = home


@app.command()
def init(
    context: Context,
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
        int | None, typer.Option(min=1, max=3600, help="Equal ranges of RA [36].")
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
    with database(settings):
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


app.command("bench")(bench_command)
app.command("ingest")(ingest_command)
app.command("bundle")(bundle_command)


app.add_typer(release_app, name="release")


app.command("withdraw")(withdraw_command)
app.command("history")(history_command)
app.command("expire")(expire_command)


@app.command("serve")
def serve_command(
    context: Context,
    port: Port = None,
    role: Annotated[
        ServedRole | None,
        typer.Option(
            help="What is served: all; api (files are left to data_url); data (files only, for "
            "another machine) (VO_ROLE; all)."
        ),
    ] = None,
) -> None:
    """Serve in the foreground until Ctrl-C."""
    settings = settings_of(context, port=port, role=role)
    with stopping_on_sigterm(), listen(settings) as sock, database_for(settings):
        here = on_port(settings, sock)
        serve(here, sock, lambda: _out.print(f"ready: {here.root_url}/"))


@app.command("worker")
def worker_command(context: Context) -> None:
    """Work off asynchronous jobs in the foreground until Ctrl-C; any number may run."""
    settings = settings_of(context)
    with stopping_on_sigterm(), database(settings):
        run_worker(settings, lambda: _out.print("ready: waiting for jobs"))


@app.command()
def demo(
    context: Context,
    port: Port = None,
    make_only: Annotated[
        bool, typer.Option("--make-only", help="Make and ingest the archive, then stop.")
    ] = False,
    small: Annotated[
        bool, typer.Option("--small", help="The same frames without noise: 10 MB, in seconds.")
    ] = False,
) -> None:
    """Make a demonstration archive, ingest and serve it until Ctrl-C."""
    run_demo(context.obj, port, make_only=make_only, small=small)


app.command("status")(status_command)
app.command("transfers")(transfers_command)


@app.command()
def check(
    context: Context,
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


@app.command("md5")
def md5_command(context: Context) -> None:
    """Compute the MD5 of every file that has none yet; an interrupted run goes on."""
    settings = settings_of(context)
    with database(settings):
        done = compute_md5(settings, _out.print)
    _out.print(f"{done} checksums computed.")


@db.command("start")
def db_start(context: Context) -> None:
    """Start the cluster (it stays up until 'db stop')."""
    cluster = _private(settings_of(context))
    _out.print("started" if cluster.start() else "was running already")


@db.command("stop")
def db_stop(context: Context) -> None:
    """Stop the cluster."""
    cluster = _private(settings_of(context))
    _out.print("stopped" if cluster.stop() else "was not running")


@db.command("status")
def db_status(context: Context) -> None:
    """Say whether the cluster runs; exit status 3 if it does not."""
    state = _private(settings_of(context)).status()
    if not state.running:
        _out.print("not running" if state.exists else "not made yet")
        raise typer.Exit(3)
    _out.print(f"running: PostgreSQL {state.version}, socket in {state.socket}")


@db.command("upgrade")
def db_upgrade(context: Context) -> None:
    """Bring the database to the newest schema."""
    with database(settings_of(context)):
        _out.print("The schema is up to date.")


def _private(settings: Settings) -> Cluster:
    cluster = private_cluster(settings)
    if cluster is None:
        raise ConfigError(
            "database_url is set: that PostgreSQL is not vo-service's to start or stop"
        )
    return cluster
