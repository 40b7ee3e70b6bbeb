"""`vo-service bundle`: a selection as an archive, as a list, in a directory, or to a program."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

import anyio
import typer
from psycopg_pool import AsyncConnectionPool
from rich.console import Console

from vo_service.cli.context import database, settings_of
from vo_service.cli.handover import Handed, copy_file, enough_room, link_file, run_program
from vo_service.cli.progress import amount, progress_bar
from vo_service.db.catalog import read_member_catalog
from vo_service.db.connect import Role, conninfo, engine_at
from vo_service.db.stream import Reader
from vo_service.errors import UsageError, VOError
from vo_service.model.bundle import BundleFile, Member, Selection
from vo_service.model.visitor import Visitor
from vo_service.params.bundle import BundleQuery, parse_bundle_query
from vo_service.services.bundle_layout import LISTS, inner_lists, lay_out, lists_of
from vo_service.services.bundles import BundleService
from vo_service.services.catalog import CatalogCache
from vo_service.services.correction_lists import CorrectionLists
from vo_service.services.tap import TapService
from vo_service.settings import Settings
from vo_service.web.tarball import MemberFiles, TarContent, held_source

__all__ = ["bundle_command"]

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

_NAME = "bundle"
_CHUNK = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_SHOWN = 20


def bundle_command(
    context: typer.Context,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Identifiers (obs_publisher_did); - reads a list."),
    ] = None,
    paths: Annotated[
        list[str] | None, typer.Option("--path", help="A file: COLLECTION/PATH, or its address.")
    ] = None,
    exposures: Annotated[
        list[str] | None, typer.Option("--exposure", help="All files of an obs_id.")
    ] = None,
    query: Annotated[
        str | None, typer.Option(help="ADQL query that selects obs_publisher_did.")
    ] = None,
    person: Annotated[
        str | None,
        typer.Option("--for", help="Whose proposals count as public (only public files)."),
    ] = None,
    corrected: Annotated[bool, typer.Option("--corrected", help="With corrected headers.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write a tar archive; - is standard output."),
    ] = None,
    listed: Annotated[
        str | None, typer.Option("--list", help=f"Print a list: {', '.join(LISTS)}.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Put the files into this directory.", file_okay=False),
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="With --to: symbolic links instead of copies.")
    ] = False,
    command: Annotated[
        str | None,
        typer.Option(
            help="Run a program (no shell) with the list on its input; in --to, if that is given."
        ),
    ] = None,
) -> None:
    """Take files out together: as a tar archive, as a list, into a directory, or to a program.

    Without -o, --list, --to or --command: say what the selection comes to. Exit status 1 if
    files were asked for that cannot be had.
    """
    wanted = _Wanted(output, listed, to, link, command)
    wanted.check(corrected=corrected)
    settings = settings_of(context)
    pairs = [("ID", value) for value in ids or () if value != "-"]
    pairs += [("ID", line) for line in (sys.stdin if "-" in (ids or ()) else ())]
    pairs += [("PATH", value) for value in paths or ()]
    pairs += [("OBS_ID", value) for value in exposures or ()]
    pairs += [("QUERY", query)] if query else []
    pairs += [("HEADER", "corrected")] if corrected else []
    request = parse_bundle_query(
        pairs,
        members_limit=settings.bundle_members_limit,
        query_length=settings.query_length_limit,
    )
    with database(settings):
        complete = anyio.run(_hand_out, settings, request, Visitor(name=person), wanted)
    if not complete:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be done with a selection."""

    output: Path | None
    listed: str | None
    to: Path | None
    link: bool
    command: str | None

    def check(self, *, corrected: bool) -> None:
        if self.listed is not None and self.listed not in LISTS:
            raise UsageError(f"--list {self.listed!r}: expected one of {', '.join(LISTS)}")
        if self.link and self.to is None:
            raise UsageError("--link belongs to --to DIRECTORY")
        if self.link and corrected:
            raise UsageError("--link: a link leads to the file as it is; copy with --corrected")
        if self.command is not None and not shlex.split(self.command):
            raise UsageError("--command: expected a program and its arguments")
        if self.to is not None and not self.to.is_dir():
            raise UsageError(f"--to {self.to}: there is no such directory")

    @property
    def nothing(self) -> bool:
        return not (self.output or self.listed or self.to or self.command)


@contextlib.asynccontextmanager
async def _services(settings: Settings) -> AsyncIterator[tuple[BundleService, MemberFiles]]:
    """What resolves a selection and opens its files, for as long as the block lasts."""
    limit_s = float(settings.async_limit_s)
    url = {"vo.data_url": f"{settings.root_url}/data/"}
    queries = [conninfo(settings, role, **url) for role in (Role.READER, Role.MEMBER)]
    readers = [Reader(dsn, 1, limit_s) for dsn in queries]
    engines = [engine_at(dsn) for dsn in queries]
    members = TapService(readers[1], CatalogCache(engines[1], limit_s, read_member_catalog))
    tap = TapService(readers[0], CatalogCache(engines[0], limit_s), members=members)
    try:
        async with (
            AsyncConnectionPool(
                conninfo(settings, Role.DOOR), min_size=1, max_size=4, open=False
            ) as door,
            AsyncConnectionPool(
                conninfo(settings, Role.JOBS), min_size=0, max_size=1, open=False
            ) as jobs,
        ):
            files = MemberFiles(settings.public, CorrectionLists(door))
            yield BundleService(settings, door, jobs, tap), files
    finally:
        for reader in readers:
            await reader.aclose()
        for engine in engines:
            engine.dispose()


async def _hand_out(
    settings: Settings, request: BundleQuery, visitor: Visitor, wanted: _Wanted
) -> bool:
    """Do what is wanted; False if files are missing."""
    async with _services(settings) as (service, files):
        selection = await service.select(request, visitor)
        complete = _tell(selection, wanted)
        lists = lists_of(settings, selection, f"{settings.root_url}/bundles/sync")
        if wanted.output is not None:
            texts = inner_lists(lists)
            await _write_tar(service, files, visitor, selection, texts, wanted.output)
        if wanted.to is not None:
            handed = await _put(service, files, visitor, selection, wanted)
            _tell_handed(handed, wanted.to)
            complete = complete and not handed.problems
        if wanted.command is not None:
            words = shlex.split(wanted.command)
            lines = list(lists[wanted.listed or "manifest"]())
            status = run_program(words, lines, wanted.to)
            if status:
                raise UsageError(f"--command: {words[0]} ended with status {status}")
        elif wanted.listed is not None:
            sys.stdout.writelines(lists[wanted.listed]())
    return complete


def _tell(selection: Selection, wanted: _Wanted) -> bool:
    """Say what the selection is, and what is not in it."""
    console = _out if wanted.nothing else _err
    console.print(f"{len(selection.files)} files, {amount(selection.size)}.")
    for missing in selection.left_out[:_SHOWN]:
        _err.print(f"{missing.asked}: {missing.reason}", style="red", markup=False)
    if len(selection.left_out) > _SHOWN:
        _err.print(f"... and {len(selection.left_out) - _SHOWN} more that cannot be had.")
    return not selection.left_out


def _tell_handed(handed: Handed, directory: Path) -> None:
    _err.print(f"{handed.done} files put into {directory}, {handed.kept} were there.")
    for problem in handed.problems:
        _err.print(problem, style="red", markup=False)


async def _put(
    service: BundleService,
    files: MemberFiles,
    visitor: Visitor,
    selection: Selection,
    wanted: _Wanted,
) -> Handed:
    """Put the files into a directory."""
    directory = wanted.to or Path()
    handed = Handed()
    if not wanted.link:
        enough_room(directory, selection.here)
    with progress_bar() as bar:
        task = bar.add_task("copying" if not wanted.link else "linking", total=len(selection.here))
        for file in selection.here:
            try:
                fresh = await _put_one(service, files, visitor, file, directory, link=wanted.link)
                handed.done += fresh
                handed.kept += not fresh
            except VOError as error:
                handed.problems.append(str(error))
            except OSError as error:
                handed.problems.append(f"{file.name}: {error.strerror or error}")
                if error.errno in _FULL:
                    handed.problems.append("the directory takes no more; run again when it does")
                    break
            bar.advance(task)
    return handed


async def _put_one(
    service: BundleService,
    files: MemberFiles,
    visitor: Visitor,
    file: BundleFile,
    directory: Path,
    *,
    link: bool,
) -> bool:
    """Put a file into a directory; False if it was there."""
    leave = (await service.readable(visitor, [file.product_id])).get(file.product_id)
    if leave is None:
        raise UsageError(f"{file.name}: withdrawn, replaced or closed meanwhile")
    member = Member(file.name, file.size or 0, file.modified, header_tag=file.header_tag)
    content = await files.open(member, leave, visitor)
    with contextlib.closing(content):
        if link:
            return link_file(directory, file, Path(leave.source or ""))
        return await copy_file(directory, file, content)


async def _write_tar(
    service: BundleService,
    files: MemberFiles,
    visitor: Visitor,
    selection: Selection,
    texts: Mapping[str, bytes],
    output: Path,
) -> None:
    """Write the archive: to standard output, or to a file that has its name when it is whole."""
    bundle, members = lay_out(
        _NAME, {name: len(text) for name, text in texts.items()}, selection, corrected=False
    )
    source = held_source(members, texts, service, files, visitor)
    content = TarContent(f"{_NAME}.tar", bundle.tar_size, bundle.tag, source)
    with contextlib.closing(content):
        if str(output) == "-":
            if sys.stdout.isatty():
                raise UsageError("-o -: a tar archive is not for a terminal; send it into a pipe")
            await _pump(content, sys.stdout.buffer)
            return
        part = output.with_name(f"{output.name}.part")
        with part.open("wb") as out:
            await _pump(content, out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(part, output)


async def _pump(content: TarContent, out: BinaryIO) -> None:
    position = 0
    while position < content.size:
        chunk = await content.read(position, min(_CHUNK, content.size - position))
        await anyio.to_thread.run_sync(out.write, chunk)
        position += len(chunk)
