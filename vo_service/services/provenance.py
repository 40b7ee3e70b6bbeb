"""Provenance, as an operator handles it: tables taken in, headers read again.

Ingest and corrections keep by themselves what headers say, where the collection file maps it.
Source: MISSION A7.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg

from vo_service.db.connect import Role, conninfo
from vo_service.db.corrections import CorrectionStore
from vo_service.db.frames import FrameStore
from vo_service.db.provenance import ProvenanceStore
from vo_service.errors import ConfigError, HeaderError, NotFoundError, UsageError
from vo_service.ingest.corrections import correct
from vo_service.ingest.provenance import provenance_of
from vo_service.ingest.provenance_file import Line, read_provenance
from vo_service.model.collection import Collection
from vo_service.model.correction import CorrectionSet
from vo_service.model.provenance import Provenance, Reference
from vo_service.settings import Settings

__all__ = ["Report", "import_provenance", "update_provenance"]

_BATCH = 500
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Report:
    """What was told of how many *products*: *runs*, and *used* files, *absent* of them not here."""

    products: int
    runs: int
    used: int
    absent: int


def import_provenance(
    settings: Settings,
    path: Path,
    collection: str,
    *,
    dry_run: bool = False,
    done: Callable[[int], None] = lambda _: None,
) -> Report:
    """Take in a table as `read_provenance` describes it.

    What it says of a product replaces what earlier tables said of it; what made the product is
    then as the table says, whatever headers do.

    Raises
    ------
    NotFoundError
        If there is no such collection.
    UsageError
        If the file is wrong, or about products that are not here, or not told apart; nothing
        is then imported.
    """
    with _writer(settings) as connection:
        store = ProvenanceStore(connection)
        if not store.has_collection(collection):
            raise NotFoundError(f"there is no collection {collection!r} in this archive")
        lines = read_provenance(path, collection)
        FrameStore(connection).lock(collection)
        with connection.transaction(force_rollback=dry_run):
            found = _by_product(path, lines, store)
            batches = iter(found.items())
            count = 0
            while batch := dict(islice(batches, _BATCH)):
                store.keep(collection, batch, imported=True)
                done(count := count + len(batch))
            store.forget_idle(collection)
            return _report(found, store)


def update_provenance(
    settings: Settings, collection: Collection, *, done: Callable[[int], None] = lambda _: None
) -> Report:
    """Read again what the kept headers, corrected, say by the rules that *collection* has now.

    Raises
    ------
    ConfigError
        If it has none.
    NotFoundError
        If nothing of it was ingested yet.
    UsageError
        If headers do not fit the rules; nothing is then changed.
    """
    if collection.provenance is None:
        raise ConfigError(
            f"collection {collection.name}: its file has no field 'provenance' (docs/provenance.md)"
        )
    name = collection.name
    with _writer(settings) as connection:
        store = ProvenanceStore(connection)
        if not store.has_collection(name):
            raise NotFoundError(f"there is no collection {name!r} in this archive")
        FrameStore(connection).lock(name)
        corrections = CorrectionSet.of(
            known.correction for known in CorrectionStore(connection).active(name)
        )
        products = runs = used = absent = 0
        problems: list[str] = []
        with connection.transaction():
            mapped = _mapped(collection, corrections, store, problems)
            while batch := dict(islice(mapped, _BATCH)):
                store.keep(name, batch)
                report = _report(batch, store)
                products, runs = products + report.products, runs + report.runs
                used, absent = used + report.used, absent + report.absent
                done(products)
            if problems:
                raise UsageError(
                    _listed("nothing was changed, because of these headers:", problems)
                )
            store.forget_idle(name)
    return Report(products, runs, used, absent)


def _mapped(
    collection: Collection,
    corrections: CorrectionSet,
    store: ProvenanceStore,
    problems: list[str],
) -> Iterator[tuple[int, Provenance | None]]:
    for kept in store.headers(collection.name):
        meant = corrections.meant_for(kept.frame_id or "", kept.path, kept.did)
        try:
            yield (
                kept.product_id,
                provenance_of(collection, correct(kept.headers, meant)[0]),
            )
        except HeaderError as error:
            problems.append(f"{collection.name}/{kept.path}, {error.keyword}: {error.reason}")


def _by_product(path: Path, lines: list[Line], store: ProvenanceStore) -> dict[int, Provenance]:
    """What the lines together say of each product, by its number."""
    numbers = store.products(list(dict.fromkeys(line.product for line in lines)))
    mistakes = []
    found: dict[int, Provenance] = {}
    for line in lines:
        here = numbers[line.product]
        if len(here) != 1:
            said = "is not the name of a product" if not here else f"names {len(here)} products"
            mistakes.append(f"{path}, line {line.number}, product: {line.product.name!r} {said}")
            continue
        known = found.get(here[0], Provenance())
        if line.activity and known.activity and line.activity != known.activity:
            mistakes.append(
                f"{path}, line {line.number}, run: another line says something else of the run "
                f"that made {line.product.name!r}"
            )
            continue
        found[here[0]] = Provenance(
            known.activity or line.activity,
            known.generated or line.generated,
            tuple(dict.fromkeys((*known.used, *([line.used] if line.used else [])))),
        )
    if mistakes:
        raise UsageError(_listed(None, mistakes))
    return found


def _report(
    found: dict[int, Provenance] | dict[int, Provenance | None], store: ProvenanceStore
) -> Report:
    told = [provenance for provenance in found.values() if provenance]
    used: list[Reference] = [file for provenance in told for file in provenance.used]
    here = store.products(used)
    return Report(
        products=len(told),
        runs=sum(provenance.activity is not None for provenance in told),
        used=len(used),
        absent=sum(not here[file] for file in used),
    )


def _listed(title: str | None, problems: list[str]) -> str:
    more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    return "\n".join([*([title] if title else []), *problems[:_SHOWN], *more])


@contextlib.contextmanager
def _writer(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection:
        yield connection
