"""Store frames: products and their observations, by COPY, a batch a transaction.

Everything here runs on one psycopg connection as the writer; the caller owns the
transaction. A batch is whole or absent: what PostgreSQL refuses is found out frame by frame
under a savepoint and handed back as refusals.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg.types.json import Jsonb

from vo_service.db.previews import want_again
from vo_service.db.provenance import keep_frames
from vo_service.db.publication import PublicationStore
from vo_service.db.visibility import (
    OBSERVATION_COLUMNS,
    closed_on_arrival,
    drop_rows,
    note_days,
    place_rows,
    placing,
    widen_reach,
)
from vo_service.errors import TransientError
from vo_service.model.observation import Frame, HDUHeader, Product, Refusal
from vo_service.model.region import Circle, Point, Polygon

__all__ = ["Counts", "FrameStore", "Known", "access_path", "spoint", "spoly"]

_PRODUCT_COLUMNS = (
    *("product_id", "collection", "path", "version", "did", "source", "size", "modified"),
    *("media_type", "md5", "md5_given", "night", "release_date", "proposal_id", "data_typ"),
    *("obs_mod", "observer", "object_name", "elsewhere", "headers"),
    *("origin", "release_rule", "instrument", "frame_id", "exposure", "dataproduct_type"),
)
_OBSERVATION_VALUES = (
    *("dataproduct_type", "calib_level", "obs_collection", "obs_id", "target_name", "s_ra"),
    *("s_dec", "s_fov", "s_resolution", "s_xel1", "s_xel2", "t_min", "t_max", "t_exptime"),
    *("t_resolution", "t_xel", "em_min", "em_max", "em_res_power", "em_xel", "o_ucd"),
    *("pol_states", "pol_xel", "facility_name", "instrument_name"),
)


@dataclass(slots=True)
class Counts:
    """What happened to the files of a run."""

    files: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.files + other.files,
            self.added + other.added,
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.refused + other.refused,
        )


@dataclass(frozen=True, slots=True)
class Known:
    """The current version of a product."""

    product_id: int
    version: int
    size: int
    modified: datetime
    source: str | None
    elsewhere: bool


def access_path(product: Product) -> str | None:
    """What follows ``/data/`` in the product's address; None where no file is to be had."""
    if product.source is None and not product.elsewhere:
        return None
    return quote(f"{product.collection}/{product.path}")


class FrameStore:
    """Statements of ingest, on a connection of the writer; *actor* is who ingests."""

    def __init__(self, connection: psycopg.Connection[Any], actor: str = "ingest") -> None:
        self._connection = connection
        self._publication = PublicationStore(connection)
        self._actor = actor

    def register(
        self, name: str, title: str, description: str, definition: str, file: str | None = None
    ) -> None:
        """Add a collection or bring its definition up to date, and where it was read."""
        with self._connection.transaction(), placing(self._connection, name):
            self._connection.execute(
                "INSERT INTO archive.collection (name, title, description, definition, file) "
                "VALUES (%s, %s, %s, %s, %s) "
                "ON CONFLICT (name) DO UPDATE SET title = EXCLUDED.title, "
                "description = EXCLUDED.description, definition = EXCLUDED.definition, "
                "file = EXCLUDED.file, updated = now()",
                (name, title, description, definition, file),
            )

    def roots(self, collection: str) -> list[str]:
        """Storage roots of a collection so far."""
        row = self._connection.execute(
            "SELECT roots FROM archive.collection WHERE name = %s", (collection,)
        ).fetchone()
        return row[0] if row else []

    def add_roots(self, collection: str, roots: Iterable[str]) -> None:
        """Let published links of a collection lead into further directories."""
        self._connection.execute(
            "UPDATE archive.collection SET roots = ARRAY(SELECT DISTINCT r FROM "
            "unnest(roots || %s::text[]) AS r ORDER BY r) WHERE name = %s",
            (list(roots), collection),
        )

    def lock(self, collection: str) -> None:
        """Keep other ingests of the collection out until the session ends.

        Raises
        ------
        TransientError
            If one is running.
        """
        row = self._connection.execute(
            "SELECT pg_try_advisory_lock(hashtext('ingest'), hashtext(%s))", (collection,)
        ).fetchone()
        if row is None or not row[0]:
            raise TransientError(f"another ingest of {collection} is running; let it finish first")

    def start_run(self, collection: str) -> int:
        """Open a row of ``archive.ingest_run``; its number."""
        row = self._connection.execute(
            "INSERT INTO archive.ingest_run (collection) VALUES (%s) RETURNING run_id",
            (collection,),
        ).fetchone()
        assert row is not None  # noqa: S101 - RETURNING gives a row
        return int(row[0])

    def end_run(self, run_id: int, counts: Counts) -> None:
        """Write down how a run ended."""
        self._connection.execute(
            "UPDATE archive.ingest_run SET ended = now(), files = %s, added = %s, changed = %s, "
            "unchanged = %s, refused = %s WHERE run_id = %s",
            (
                counts.files, counts.added, counts.changed, counts.unchanged, counts.refused,
                run_id,
            ),
        )  # fmt: skip

    def known(self, collection: str, paths: Sequence[str]) -> dict[str, Known]:
        """Current products by path, of those asked for."""
        rows = self._connection.execute(
            "SELECT path, product_id, version, size, modified, source, elsewhere "
            "FROM archive.product "
            "WHERE collection = %s AND path = ANY(%s) AND current",
            (collection, list(paths)),
        )
        return {path: Known(*rest) for path, *rest in rows}

    def refuse(self, run_id: int, refusals: Iterable[Refusal]) -> None:
        """Write refusals down; the newest for a file stands."""
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO archive.refusal (collection, source, run_id, hdu, keyword, reason) "
                "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (collection, source) DO UPDATE SET "
                "run_id = EXCLUDED.run_id, refused = now(), hdu = EXCLUDED.hdu, "
                "keyword = EXCLUDED.keyword, reason = EXCLUDED.reason",
                [
                    (
                        _storable(r.collection), _storable(r.source), run_id, r.hdu,
                        _storable(r.keyword), _storable(r.reason),
                    )
                    for r in refusals
                ],
            )  # fmt: skip

    def store(self, frames: Sequence[Frame]) -> tuple[Counts, list[Refusal]]:
        """Store a batch of frames of one collection.

        Returns
        -------
        Counts, list of Refusal
            What was added and changed; the frames that PostgreSQL or a rule of the archive
            did not take, with the reason.
        """
        fresh, refusals = self._without_clashes(frames)
        try:
            with self._connection.transaction():
                counts = self._copy(fresh)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            if len(fresh) == 1:
                reason = error.diag.message_primary or str(error)
                return Counts(), [*refusals, _refusal(fresh[0], f"not storable: {reason}")]
            counts = Counts()
            for frame in fresh:
                one, refused = self.store([frame])
                counts += one
                refusals += refused
        return counts, refusals

    def _without_clashes(self, frames: Sequence[Frame]) -> tuple[list[Frame], list[Refusal]]:
        """Frames whose identifier no other product has, and refusals for the rest."""
        holders: dict[str, tuple[str, str]] = {}
        for did, collection, path in self._connection.execute(
            "SELECT did, collection, path FROM archive.product WHERE did = ANY(%s) AND current",
            ([frame.product.did for frame in frames],),
        ):
            holders[did] = (collection, path)
        fresh: list[Frame] = []
        refusals: list[Refusal] = []
        for frame in frames:
            product = frame.product
            here = (product.collection, product.path)
            holder = holders.setdefault(product.did, here)
            if holder == here:
                fresh.append(frame)
            else:
                refusals.append(
                    _refusal(
                        frame,
                        f"the identifier {product.did} is already that of {'/'.join(holder)}; "
                        "the collection's publisher_did rule must tell them apart",
                    )
                )
        return fresh, refusals

    def _copy(self, frames: Sequence[Frame]) -> Counts:
        if not frames:
            return Counts()
        closed = closed_on_arrival(self._connection, frames[0].product.collection)
        old = self.known(frames[0].product.collection, [f.product.path for f in frames])
        gone = [known.product_id for known in old.values()]
        withdrawn: set[str] = set()
        if gone:
            withdrawn = self._publication.retire(gone, self._actor)
            drop_rows(self._connection, gone)
        ids = [
            row[0]
            for row in self._connection.execute(
                "SELECT nextval('archive.product_product_id_seq') FROM generate_series(1, %s)",
                (len(frames),),
            )
        ]
        versions = {path: known.version + 1 for path, known in old.items()}
        with self._copy_into("archive.product", (*_PRODUCT_COLUMNS, "closed")) as copy:
            for number, frame in zip(ids, frames, strict=True):
                row = _product_row(number, versions.get(frame.product.path, 1), frame)
                copy.write_row((*row, closed))
        self._copy_observations(ids, frames, closed)
        keep_frames(self._connection, ids, frames)
        widen_reach(self._connection, _reach(frames), closed=closed)
        # A new version may be put right, or not: that is for the one to say who withdrew it.
        still = [n for n, f in zip(ids, frames, strict=True) if f.product.path in withdrawn]
        if still:
            self._publication.keep_withdrawn(still, self._actor)
        self._connection.execute(
            "DELETE FROM archive.refusal WHERE collection = %s AND source = ANY(%s)",
            (frames[0].product.collection, [f.product.source for f in frames]),
        )
        return Counts(added=len(frames) - len(old), changed=len(old))

    def remap(self, ids: Sequence[int], frames: Sequence[Frame]) -> None:
        """Give products, which stay what they are, the values of corrected headers.

        When they are released is left to the rules, which look at proposal and night.
        """
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE archive.product SET night = %s, proposal_id = %s, data_typ = %s, "
                "obs_mod = %s, observer = %s, object_name = %s, instrument = %s, "
                "exposure = %s, dataproduct_type = %s WHERE product_id = %s",
                [
                    (
                        p.night, p.proposal_id, p.data_typ, p.obs_mod, p.observer, p.object_name,
                        (o := frame.observation).instrument_name, o.obs_id, o.dataproduct_type,
                        number,
                    )
                    for number, frame in zip(ids, frames, strict=True) if (p := frame.product)
                ],
            )  # fmt: skip
        drop_rows(self._connection, ids)
        keep_frames(self._connection, ids, frames)
        rows = self._connection.execute(
            "SELECT product_id FROM archive.product WHERE product_id = ANY(%s) AND closed",
            (list(ids),),
        )
        hidden = {number for (number,) in rows}
        for closed in (False, True):
            chosen = [i for i, number in enumerate(ids) if (number in hidden) == closed]
            some = [frames[i] for i in chosen]
            self._copy_observations([ids[i] for i in chosen], some, closed)
            widen_reach(self._connection, _reach(some), closed=closed)
        place_rows(self._connection, ids)
        want_again(self._connection, ids)

    def _copy_observations(self, ids: Sequence[int], frames: Sequence[Frame], closed: bool) -> None:
        table: str = "archive.observation"
        readers: tuple[str, ...] = ()
        if closed:
            table, readers = "archive.observation_closed", ("collection", "proposal_id")
        with self._copy_into(table, (*OBSERVATION_COLUMNS, *readers)) as copy:
            for number, frame in zip(ids, frames, strict=True):
                whose = [getattr(frame.product, name) for name in readers]
                copy.write_row((*_observation_row(number, frame), *whose))
        if not closed:
            note_days(self._connection, ids, [frame.observation.t_min for frame in frames])

    def _copy_into(self, table: str, columns: Sequence[str]) -> Any:
        cursor = self._connection.cursor()
        return cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN")


def _reach(frames: Sequence[Frame]) -> float:
    """Degrees from a position to the farthest point of its footprint, largest of all."""
    seen = (frame.observation for frame in frames)
    return max(((o.s_fov or 0.0) / 2 for o in seen if o.region is not None), default=0.0)


def _refusal(frame: Frame, reason: str) -> Refusal:
    product = frame.product
    return Refusal(
        collection=product.collection, source=product.source or product.path, reason=reason
    )


def _storable(text: str | None) -> str | None:
    """Text that PostgreSQL can hold: no NUL, no half of a surrogate pair."""
    if text is None:
        return None
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _product_row(number: int, version: int, frame: Frame) -> tuple[Any, ...]:
    product = frame.product
    return (
        number, product.collection, product.path, version, product.did, product.source,
        product.size, product.modified, product.media_type, product.md5, product.md5_given,
        product.night, product.release_date, product.proposal_id, product.data_typ,
        product.obs_mod, product.observer, product.object_name, product.elsewhere,
        Jsonb([_header(hdu) for hdu in product.headers], dumps=_dumps),
        product.origin, product.release_rule, frame.observation.instrument_name,
        _storable(product.frame_id), frame.observation.obs_id,
        frame.observation.dataproduct_type,
    )  # fmt: skip


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _header(hdu: HDUHeader) -> dict[str, Any]:
    return {
        "index": hdu.index,
        "name": hdu.name,
        "kind": hdu.kind,
        "header_offset": hdu.header_offset,
        "data_offset": hdu.data_offset,
        "data_size": hdu.data_size,
        "cards": hdu.cards,
    }


def _observation_row(number: int, frame: Frame) -> tuple[Any, ...]:
    product, observation = frame.product, frame.observation
    values = [getattr(observation, name) for name in _OBSERVATION_VALUES]
    region = observation.region
    centre = None
    if observation.s_ra is not None and observation.s_dec is not None:
        centre = spoint(Point(observation.s_ra, observation.s_dec))
    return (
        *values, number, product.did, access_path(product), product.media_type,
        -(-product.size // 1000) if product.source else None,
        region.stc_s if region else None, centre, spoly(region) if region else None,
    )  # fmt: skip


def spoint(point: Point) -> str:
    """A position as pgSphere reads it."""
    return f"({point.ra!r}d,{point.dec!r}d)"


def spoly(region: Polygon | Circle) -> str:
    """A footprint as pgSphere reads it."""
    polygon = region if isinstance(region, Polygon) else region.polygon()
    return "{" + ",".join(spoint(vertex) for vertex in polygon.vertices) + "}"
