"""The command ``serve``."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vo_service.cli.context import settings_of, stopping_on_sigterm
from vo_service.cli.processes import serve_in_processes
from vo_service.cli.server import ServedRole, database_for, serve
from vo_service.cli.sockets import listen, on_port

__all__ = ["serve_command"]

_out = Console(highlight=False, soft_wrap=True)


def serve_command(
    context: typer.Context,
    port: Annotated[int | None, typer.Option(help="Port to listen on (VO_PORT; 8080).")] = None,
    role: Annotated[
        ServedRole | None,
        typer.Option(
            help="What is served: all; api (files are left to data_url); data (files only, for "
            "another machine) (VO_ROLE; all)."
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(help="Serve HTTPS with this certificate and its chain, PEM (VO_TLS_CERT)."),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(help="Its key, PEM, if it is in a file of its own (VO_TLS_KEY)."),
    ] = None,
    redirect_port: Annotated[
        int | None,
        typer.Option(help="Plain port that leads to base_url (VO_REDIRECT_PORT; none)."),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes that serve (VO_PROCESSES; 1).")
    ] = None,
    fd: Annotated[
        list[int] | None,
        typer.Option(
            help="Serve on this open socket, not on host and port (systemd: found without); "
            "a second one is for the redirect."
        ),
    ] = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve in the foreground until Ctrl-C.

    SIGTERM: what is under way finishes first (drain_s). SIGHUP: the certificate is read again.
    SIGUSR2, with several processes: each is replaced by a new one.
    """
    settings = settings_of(
        context, port=port, role=role, tls_cert=tls_cert, tls_key=tls_key,
        redirect_port=redirect_port, processes=processes,
    )  # fmt: skip
    with (
        stopping_on_sigterm(),
        closing(listen(settings, fd)) as listening,
        database_for(settings),
    ):
        here = on_port(settings, listening)

        def ready() -> None:
            _out.print(f"ready: {here.root_url}/")

        if here.processes > 1:
            serve_in_processes(here, listening, ready)
        else:
            serve(here, listening, ready, parent=parent)
