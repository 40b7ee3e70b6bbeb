"""`vo-service crawl`: what other sites have, read into tables of ours."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from vo_service.cli.context import database, settings_of, stopping_on_sigterm
from vo_service.errors import UsageError
from vo_service.model.crawl import Origin
from vo_service.params.dali import read_circle
from vo_service.services.crawl import Crawled, crawl
from vo_service.services.origins import (
    CrawlRequest,
    forget_origin,
    list_origins,
    list_refusals,
    register_origin,
)
from vo_service.settings import Settings

__all__ = ["crawl_command"]

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

_SHOWN = 10


class CrawledProtocol(StrEnum):
    """How a service is asked."""

    TAP = "tap"
    SIA2 = "sia2"


def crawl_command(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="SERVICE",
            help="Address of a TAP or SIA 2.0 service, or the name of one that is known; without "
            "it, all that are known are brought up to date.",
        ),
    ] = None,
    protocol: Annotated[
        CrawledProtocol | None, typer.Option(help="What the service is (its capabilities tell).")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What its rows are called here, their origin (the host).")
    ] = None,
    circle: Annotated[
        str | None,
        typer.Option("--region", help="Only within a circle: 'RA DEC RADIUS', in degrees (ICRS)."),
    ] = None,
    collection: Annotated[
        list[str] | None, typer.Option(help="Only this obs_collection; may be repeated.")
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(min=0, help="Let a worker repeat it after so many days; 0: no more."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Read everything, also what seems unchanged.")
    ] = False,
    show: Annotated[
        bool,
        typer.Option("--list", help="Show what is crawled; with SERVICE, why rows are refused."),
    ] = False,
    forget: Annotated[
        str | None, typer.Option(metavar="NAME", help="Drop a service and its rows.")
    ] = None,
) -> None:
    """Read what another site has (ObsCore by TAP or SIA 2.0) into the tables 'elsewhere'.

    Run again, it reads what changed; interrupted or killed, it goes on where it was. Exit status 1
    if a part of a service could not be read: its rows stay as they were.
    """
    settings = settings_of(context)
    with stopping_on_sigterm(), database(settings):
        if forget is not None:
            _out.print(f"{forget}: forgotten, with {forget_origin(settings, forget)} rows.")
            return
        if show:
            _show(settings, target)
            return
        if target is None:
            names = [origin.name for origin in list_origins(settings)]
            if not names:
                raise UsageError("nothing is crawled yet; name a service: vo-service crawl URL")
        else:
            request = CrawlRequest(
                target=target,
                protocol=protocol.value if protocol else None,
                name=name,
                circle=read_circle("--region", circle.replace(",", " ")) if circle else None,
                collections=tuple(collection) if collection else None,
                every_days=every,
            )
            names = [register_origin(settings, request).name]
        troubled = [name for name in names if not _crawl(settings, name, full=full)]
    if troubled:
        raise typer.Exit(1)


def _crawl(settings: Settings, name: str, *, full: bool) -> bool:
    with _err.status(f"{name}: asking ...") as status:

        def tell(done: Crawled) -> None:
            status.update(f"{name}: {done.read:,} rows read, {done.unchanged:,} unchanged")

        done = crawl(settings, name, full=full, progress=tell)
    for problem in done.problems[:_SHOWN]:
        _err.print(f"not read: {problem}", markup=False, style="red")
    if len(done.problems) > _SHOWN:
        _err.print(f"... and {len(done.problems) - _SHOWN} more")
    refused = sum(one.count for one in done.refused)
    _out.print(
        f"{name}: {done.products} rows; {done.read} read now, {done.unchanged} unchanged, "
        f"{refused} refused."
    )
    for one in done.refused[:_SHOWN]:
        _out.print(f"  {one.count} refused, {one.reason}; such as {one.example}", markup=False)
    return not done.problems


def _show(settings: Settings, target: str | None) -> None:
    if target is not None:
        for one in list_refusals(settings, target):
            _out.print(f"{one.count} refused, {one.reason}; such as {one.example}", markup=False)
        return
    origins = list_origins(settings)
    if not origins:
        _out.print("Nothing is crawled yet; see 'vo-service crawl --help'.")
        return
    for origin in origins:
        repeated = f", every {origin.every_days} d" if origin.every_days else ""
        _out.print(
            f"{origin.name}: {origin.protocol} {origin.url}, {origin.products} rows, "
            f"{origin.refused} refused, read {_last(origin)}{repeated}",
            markup=False,
        )


def _last(origin: Origin) -> str:
    ended = f"{origin.ended:%Y-%m-%d %H:%M}" if origin.ended else "never to the end"
    return f"{ended}; {origin.problem}" if origin.problem else ended
