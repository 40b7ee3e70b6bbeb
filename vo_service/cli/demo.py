"""``vo-service demo``: everything from nothing to a served archive, in one command."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vo_service.cli.context import database, stopping_on_sigterm
from vo_service.cli.ingest import run_ingest
from vo_service.cli.progress import amount, progress_bar
from vo_service.cli.server import serve
from vo_service.cli.sockets import listen, on_port
from vo_service.demo import make_demo
from vo_service.services.setup import initialise
from vo_service.settings import Settings, default_home, load_settings

__all__ = ["demo_command"]

_out = Console(highlight=False, soft_wrap=True)

_TRY = """
ready: {url}/     (Ctrl-C stops everything; all data are in {home})

Three things to try:

1. PyVO (pip install pyvo; this checkout has it in .venv/bin/python):

     import pyvo
     service = pyvo.dal.TAPService("{url}/tap")
     for row in service.search("SELECT * FROM ivoa.obscore WHERE "
                               "s_ra BETWEEN 149 AND 150 AND s_dec BETWEEN 69 AND 70"):
         print(row["s_ra"], row["s_dec"], row["s_fov"], row["access_url"])

2. TOPCAT: menu VO, Table Access Protocol (TAP) Query, TAP URL:

     {url}/tap

3. A browser:

     {url}/
"""


def demo_command(
    context: typer.Context,
    port: Annotated[int | None, typer.Option(help="Port to listen on (VO_PORT; 8080).")] = None,
    make_only: Annotated[
        bool, typer.Option("--make-only", help="Make and ingest the archive, then stop.")
    ] = False,
    small: Annotated[
        bool, typer.Option("--small", help="The same frames without noise: 10 MB, in seconds.")
    ] = False,
) -> None:
    """Make a demonstration archive, ingest and serve it until Ctrl-C."""
    _run_demo(context.obj, port, make_only=make_only, small=small)


def _run_demo(home: Path | None, port: int | None, *, make_only: bool, small: bool) -> None:
    """Make what is missing, then serve; the second time nothing is missing."""
    place = (home or default_home()).absolute()
    initialise(place, publisher="Demonstration archive of vo-service")
    settings = load_settings(place, port=port)
    with stopping_on_sigterm():
        if make_only:
            with database(settings, stop=True):
                _fill(settings, small)
            return
        with closing(listen(settings)) as listening, database(settings, stop=True):
            _fill(settings, small)
            here = on_port(settings, listening)
            serve(here, listening, lambda: _say_ready(here))


def _fill(settings: Settings, small: bool) -> None:
    _out.print("Making the demonstration archive (once) ...")
    with progress_bar() as progress:
        task = progress.add_task("files made", total=None)
        archive = make_demo(
            settings.home / "demo",
            small=small,
            progress=lambda done, total, _: progress.update(task, completed=done, total=total),
        )
    _out.print(f"{archive.files} files, {amount(archive.size)}.")
    for made in archive.collections:
        run_ingest(settings, made.name, [made.directory])


def _say_ready(settings: Settings) -> None:
    _out.print(_TRY.format(url=settings.root_url, home=settings.home), markup=False)
