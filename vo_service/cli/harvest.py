"""`vo-service registry harvest`: records of other registries, to be searched here (``rr``)."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from vo_service.cli.context import database, settings_of, stopping_on_sigterm
from vo_service.cli.progress import progress_bar
from vo_service.errors import UsageError, VOError
from vo_service.services.harvest import (
    MANAGED,
    Harvested,
    forget_source,
    harvest,
    harvest_faults,
    harvest_sources,
)
from vo_service.settings import Settings

__all__ = ["harvest_command"]

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

#: Reasons that are printed at once; the rest is kept.
_TOLD = 20


def harvest_command(
    context: typer.Context,
    url: Annotated[
        str | None,
        typer.Argument(
            help="Address of the registry's OAI-PMH, as https://archive.example.org/oai; "
            "without one, all registries that are known."
        ),
    ] = None,
    set_name: Annotated[
        str, typer.Option("--set", help="The set of records that is asked for.")
    ] = MANAGED,
    all_sets: Annotated[
        bool,
        typer.Option("--all-sets", help="Ask for all records, those from elsewhere included."),
    ] = False,
    full: Annotated[
        bool,
        typer.Option("--full", help="Take all anew, not only what changed; what is gone goes."),
    ] = False,
    pause: Annotated[
        float, typer.Option(min=0.0, max=3600.0, help="Seconds between requests.")
    ] = 1.0,
    listed: Annotated[bool, typer.Option("--list", help="List the registries harvested.")] = False,
    faults: Annotated[
        bool, typer.Option("--faults", help="List what was wrong with records of URL.")
    ] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Remove all that was harvested at URL.")
    ] = False,
) -> None:
    """Take records of other registries, so that they can be searched here by TAP (schema rr).

    Asks for what has changed since the last time. Interrupted, it goes on where it was.
    """
    settings = settings_of(context)
    if listed + faults + forget > 1:
        raise UsageError("expected one of --list, --faults and --forget")
    if url is None and (faults or forget):
        raise UsageError("expected the address of a registry: see --list")
    with stopping_on_sigterm(), database(settings):
        if listed:
            _list(settings)
        elif faults:
            _list_faults(settings, str(url))
        elif forget:
            removed = forget_source(settings, str(url))
            _out.print(f"{removed} records removed.")
        elif url is not None:
            chosen = "" if all_sets else set_name
            _harvest(settings, url, chosen, full=full, pause_s=pause)
        else:
            _harvest_all(settings, full=full, pause_s=pause)


def _harvest_all(settings: Settings, *, full: bool, pause_s: float) -> None:
    sources = [counts.source for counts in harvest_sources(settings)]
    if not sources:
        _out.print("No registry is known yet; give the address of one.")
    failed = 0
    for source in sources:
        try:
            _harvest(settings, source.url, source.set_name, full=full, pause_s=pause_s)
        except VOError as error:  # the others are not to suffer
            _err.print(f"{error}", markup=False, style="red")
            failed += 1
    if failed:
        raise typer.Exit(1)


def _harvest(settings: Settings, url: str, set_name: str, *, full: bool, pause_s: float) -> None:
    with progress_bar() as bar:
        task = bar.add_task("records", total=None)

        def told(done: Harvested) -> None:
            bar.update(task, completed=done.taken, total=done.size)

        def say(text: str) -> None:
            _err.print(f"{url}: {text}", markup=False)

        done = harvest(
            settings, url, set_name=set_name, full=full, pause_s=pause_s, told=told, say=say
        )
        bar.update(task, completed=done.taken, total=done.taken)
    for reason in done.reasons[:_TOLD]:
        _err.print(f"fault    {reason}", markup=False, style="red")
    if len(done.reasons) > _TOLD:
        _err.print(f"and {len(done.reasons) - _TOLD} more; --faults lists them", markup=False)
    _out.print(_summary(done), markup=False)


def _summary(done: Harvested) -> str:
    parts = [
        f"{count} {word}"
        for count, word in (
            (done.new, "new"),
            (done.changed, "changed"),
            (done.deleted, "deleted"),
            (done.unchanged, "as they were"),
            (done.refused, "refused"),
            (done.elsewhere, "of other registries or our own"),
        )
        if count
    ]
    return f"{done.url}: {', '.join(parts) or 'nothing new'}."


def _list(settings: Settings) -> None:
    sources = harvest_sources(settings)
    if not sources:
        _out.print("Nothing is harvested yet; give the address of a registry.")
        return
    for counts in sources:
        source = counts.source
        finished = f"{source.finished:%Y-%m-%d %H:%M}" if source.finished else "never"
        if source.begun is not None:
            finished += f", interrupted after {source.taken} records"
        _out.print(
            f"{source.url} ({source.set_name or 'all sets'}): {counts.active} records, "
            f"{counts.deleted} deleted, {counts.refused} refused; last finished: {finished}",
            markup=False,
        )


def _list_faults(settings: Settings, url: str) -> None:
    found = harvest_faults(settings, url)
    for ivoid, state, reason in found:
        _out.print(f"{state:8} {ivoid}: {reason}", markup=False)
    if not found:
        _out.print("Nothing was wrong with any record.")
