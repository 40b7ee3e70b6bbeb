"""Header corrections, as an operator handles them: import, check, removal.

Rows of ``ivoa.obscore`` follow corrected headers: products that an import or a removal concerns
are mapped again in the same transaction, so that the archive is never between two states. The
kept headers stay as the files have them. Source: MISSION B4, C7.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import psycopg
from pydantic import ValidationError

from vo_service.db.connect import Role, conninfo
from vo_service.db.corrections import CorrectionStore, Imported, StoredProduct
from vo_service.db.frames import FrameStore
from vo_service.errors import ConfigError, HeaderError, NotFoundError, UsageError
from vo_service.ingest.correction_file import Line, read_corrections
from vo_service.ingest.corrections import Edit, Outcome, apply_edits, decide
from vo_service.ingest.frames import map_frame
from vo_service.model.collection import Collection
from vo_service.model.correction import Correction, CorrectionSet
from vo_service.model.observation import Frame
from vo_service.services.publication import operator
from vo_service.settings import Settings

__all__ = [
    "Finding",
    "Report",
    "check_corrections",
    "import_corrections",
    "list_corrections",
    "remove_corrections",
]

_BATCH = 100
_SHOWN = 20

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """A correction that cannot be applied to a product as it is; *path* stands below ``/data/``."""

    path: str
    outcome: Outcome

    def __str__(self) -> str:
        return f"{self.path}, {self.outcome}"


@dataclass(slots=True)
class Report:
    """What corrections do to an archive.

    *products* is how many they are meant for, *applied* and *already* in how many headers they
    are applied or not needed any more; *findings* where they cannot be, *nowhere* those that no
    product of the archive is meant by. Of an import, *added* is how many are new, *known* how
    many counted before.
    """

    collection: str = ""
    added: int = 0
    known: int = 0
    products: int = 0
    applied: int = 0
    already: int = 0
    findings: list[Finding] = field(default_factory=list)
    nowhere: list[Correction] = field(default_factory=list)


def import_corrections(
    settings: Settings,
    path: Path,
    *,
    collection: str | None = None,
    dry_run: bool = False,
    done: Callable[[int], None] = lambda _: None,
) -> Report:
    """Write the corrections of a file down, and map anew what they concern.

    Parameters
    ----------
    settings, path
        The archive, and a file as `read_corrections` describes it.
    collection
        To which they belong; where None, it is written in the file, or the only collection
        that has such frames.
    dry_run
        Do all of it, then take it back.
    done
        Called with the number of products looked at so far.

    Raises
    ------
    UsageError
        If the file is wrong, its collection is not clear, or a frame could not be mapped any
        more; nothing is then imported.
    """
    lines = read_corrections(path)
    with _writer(settings) as connection:
        store = CorrectionStore(connection)
        name = _collection_of(store, path, lines, collection)
        corrections = [line.correction for line in lines]
        FrameStore(connection).lock(name)
        with connection.transaction(force_rollback=dry_run):
            added = store.add(name, corrections, source=path.name, actor=operator())
            report = Report(name, added, len(corrections) - added)
            _map_again(connection, name, corrections, report, done)
    return report


def remove_corrections(
    settings: Settings, numbers: Sequence[int], *, done: Callable[[int], None] = lambda _: None
) -> list[Report]:
    """Let corrections not count any more; a report for each collection.

    Raises
    ------
    NotFoundError
        If there is no such correction, or it was removed before.
    UsageError
        If a frame could not be mapped any more; nothing is then removed.
    """
    reports = []
    with _writer(settings) as connection:
        store = CorrectionStore(connection)
        known = {found.correction.number: found for found in store.active()}
        if absent := [number for number in numbers if number not in known]:
            raise NotFoundError(f"there is no correction {absent[0]}, or it was removed before")
        for name in sorted({known[number].collection for number in numbers}):
            FrameStore(connection).lock(name)
        with connection.transaction():
            store.remove(numbers, operator())
            for name in sorted({known[number].collection for number in numbers}):
                gone = [known[n].correction for n in numbers if known[n].collection == name]
                report = Report(name, len(gone))
                _map_again(connection, name, gone, report, done)
                reports.append(report)
    return reports


def check_corrections(
    settings: Settings,
    collection: str | None = None,
    *,
    done: Callable[[int], None] = lambda _: None,
) -> list[Report]:
    """Compare corrections with the headers that are kept; a report for each collection.

    Raises
    ------
    NotFoundError
        If there is no such collection.
    """
    with _writer(settings) as connection, connection.transaction(force_rollback=True):
        store = CorrectionStore(connection)
        _check_name(store, collection)
        found: dict[str, list[Correction]] = {}
        for imported in store.active(collection):
            found.setdefault(imported.collection, []).append(imported.correction)
        reports = []
        for name, corrections in found.items():
            report = Report(name, known=len(corrections))
            for _ in _looked_at(store, name, corrections, report, done):
                pass
            reports.append(report)
        return reports


def list_corrections(settings: Settings, collection: str | None = None) -> list[Imported]:
    """Corrections that count, in the order in which they are applied.

    Raises
    ------
    NotFoundError
        If there is no such collection.
    """
    with _writer(settings) as connection:
        store = CorrectionStore(connection)
        _check_name(store, collection)
        return store.active(collection)


@contextlib.contextmanager
def _writer(settings: Settings) -> Iterator[Connection]:
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection:
        yield connection


def _check_name(store: CorrectionStore, collection: str | None) -> None:
    if collection is not None and store.definition(collection) is None:
        raise NotFoundError(f"there is no collection {collection!r} in this archive")


def _collection_of(
    store: CorrectionStore, path: Path, lines: Sequence[Line], asked: str | None
) -> str:
    """The one collection that all lines are about."""
    _check_name(store, asked)
    written = sorted({line.collection for line in lines if line.collection})
    if len(written) > 1 or (written and asked not in (None, written[0])):
        both = sorted({*written, *([asked] if asked else [])})
        raise UsageError(f"{path}: one collection at a time, found {', '.join(both)}")
    if asked or written:
        name = asked or written[0]
        _check_name(store, name)
        return name
    ranges = dict.fromkeys(line.correction.frames for line in lines)
    names = sorted({name for frames in ranges for name in store.collections_with(frames)})
    if len(names) != 1:
        found = f"those of {', '.join(names)} do" if names else "those of none do"
        raise UsageError(
            f"{path}: say with --collection whose headers these are: of the frames here, {found} "
            "answer to these names"
        )
    return names[0]


def _map_again(
    connection: Connection,
    name: str,
    concerned: Sequence[Correction],
    report: Report,
    done: Callable[[int], None],
) -> None:
    """Bring the rows of products that *concerned* are meant for in line with what counts now."""
    store, frames = CorrectionStore(connection), FrameStore(connection)
    collection = _definition(store, name)
    problems: list[str] = []
    mapped = _mapped(collection, _looked_at(store, name, concerned, report, done), problems)
    while batch := list(islice(mapped, _BATCH)):
        if not problems:
            frames.remap([number for number, _ in batch], [frame for _, frame in batch])
    if problems:
        more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise UsageError(
            "\n".join(
                [
                    "nothing was changed, because these frames could not be mapped any more:",
                    *problems[:_SHOWN],
                    *more,
                ]
            )
        )


def _looked_at(
    store: CorrectionStore,
    name: str,
    concerned: Sequence[Correction],
    report: Report,
    done: Callable[[int], None],
) -> Iterator[tuple[StoredProduct, list[Edit]]]:
    """Products that *concerned* are meant for, with the edits of all that counts."""
    ours = {correction.said for correction in concerned}
    counted = CorrectionSet.of(imported.correction for imported in store.active(name))
    unused = dict.fromkeys(correction.frames for correction in concerned)
    for stored in store.covered(name, list(unused)):
        product = stored.product
        names = (stored.frame_id, product.path, product.did)
        edits, outcomes = decide(product.headers, counted.meant_for(*names))
        report.products += 1
        for frames in [frames for frames in unused if frames.covers(*names)]:
            del unused[frames]
        for outcome in outcomes:
            if outcome.correction.said in ours:
                _count(report, f"{name}/{product.path}", outcome)
        done(report.products)
        yield stored, edits
    report.nowhere += [correction for correction in concerned if correction.frames in unused]


def _mapped(
    collection: Collection,
    looked_at: Iterator[tuple[StoredProduct, list[Edit]]],
    problems: list[str],
) -> Iterator[tuple[int, Frame]]:
    for stored, edits in looked_at:
        product = stored.product
        try:
            observation, fields = map_frame(
                collection, apply_edits(product.headers, edits), PurePosixPath(product.path)
            )
        except HeaderError as error:
            place = f", HDU {error.hdu}" if error.hdu is not None else ""
            keyword = f", {error.keyword}" if error.keyword else ""
            problems.append(f"{collection.name}/{product.path}{place}{keyword}: {error.reason}")
            continue
        yield stored.product_id, Frame(product=replace(product, **fields), observation=observation)


def _count(report: Report, path: str, outcome: Outcome) -> None:
    if outcome.status == "applied":
        report.applied += 1
    elif outcome.status == "already":
        report.already += 1
    else:
        report.findings.append(Finding(path, outcome))


def _definition(store: CorrectionStore, name: str) -> Collection:
    try:
        return Collection.model_validate(store.definition(name))
    except ValidationError as error:
        raise ConfigError(
            f"the collection {name} was ingested with fields that are not understood any more; "
            "ingest it again first"
        ) from error
