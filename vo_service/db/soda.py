"""What cutouts are made from: headers and ObsCore values of datasets, by their identifiers.

Runs as the door (`archive.dataset`; while a shard is away, `archive.dataset_at`); the caller owns
the transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import psycopg
from psycopg.rows import class_row

from vo_service.db.people import work_for
from vo_service.model.observation import HDUHeader
from vo_service.model.table import Gap

__all__ = ["Dataset", "Extent", "datasets", "extents"]

Connection = psycopg.AsyncConnection[Any]

_T = TypeVar("_T", bound="Extent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What ObsCore says that a dataset covers; all but *did* may be unknown."""

    did: str
    s_ra: float | None
    s_dec: float | None
    s_fov: float | None
    s_region: str | None
    t_min: float | None
    t_max: float | None
    em_min: float | None
    em_max: float | None
    pol_states: str | None

    @classmethod
    def unknown(cls, did: str) -> Extent:
        """That of a dataset of which no more is known now."""
        values: dict[str, Any] = dict.fromkeys(field.name for field in fields(cls))
        return cls(**values | {"did": did})


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset(Extent):
    """A row of `archive.dataset`; headers and extent are there if the file is *readable*.

    *size* is bytes.
    """

    collection: str
    path: str
    media_type: str
    size: int
    readable: bool
    headers: list[dict[str, Any]] | None
    t_resolution: float | None
    t_xel: int | None

    @property
    def place(self) -> str:
        """What follows ``/data/``, not percent-encoded."""
        return f"{self.collection}/{self.path}"

    @property
    def packed(self) -> bool:
        """Whether the file is compressed as a whole."""
        return any(hdu["header_offset"] is None for hdu in self.headers or ())

    @property
    def hdus(self) -> tuple[HDUHeader, ...]:
        """The headers as they were ingested."""
        return tuple(
            HDUHeader(**{**hdu, "cards": tuple(tuple(card) for card in hdu["cards"])})
            for hdu in self.headers or ()
        )


async def datasets(
    connection: Connection, ids: Sequence[str], person: str | None, gap: Gap | None = None
) -> dict[str, Dataset]:
    """Datasets that *person* may know of, by identifier.

    Where rows of a *gap* cannot be read now, those that may be in it have no headers, *readable*
    or not.
    """
    if gap is None:
        return {row.did: row for row in await _rows(connection, Dataset, ids, person, None)}
    found = {row.did: row for row in await _rows(connection, Dataset, ids, person, gap)}
    rest = [did for did in ids if did not in found]
    cursor = await connection.execute(
        "SELECT did, collection, path, media_type, size, readable FROM archive.known_product "
        "WHERE did = ANY(%s)",
        (rest,),
    )
    unknown: dict[str, Any] = dict.fromkeys(field.name for field in fields(Dataset))
    for did, *values in await cursor.fetchall():
        names = ("collection", "path", "media_type", "size", "readable")
        known = dict(zip(names, values, strict=True))
        found[did] = Dataset(**unknown | known | {"did": did})
    return found


async def extents(
    connection: Connection, ids: Sequence[str], person: str | None, gap: Gap | None = None
) -> list[Extent]:
    """What the datasets that *person* may read cover, as far as there are any.

    Those whose rows may be in a *gap* that cannot be read now are left out.
    """
    return await _rows(connection, Extent, ids, person, gap)


async def _rows(
    connection: Connection, kind: type[_T], ids: Sequence[str], person: str | None, gap: Gap | None
) -> list[_T]:
    await work_for(connection, person)
    columns = ", ".join(field.name for field in fields(kind))
    view, conditions = "archive.dataset", ["did = ANY(%s)"]
    values: list[object] = [list(ids)]
    if kind is Extent:
        conditions.append("readable")
    if gap is not None:
        view = "archive.dataset_at"
        for low, high in gap.ranges:
            conditions.append("(s_ra < %s OR s_ra >= %s OR s_ra IS NULL)")
            values += [low, high]
        for name in gap.collections:
            conditions.append("(obs_collection <> %s OR obs_collection IS NULL)")
            values.append(name)
    async with connection.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(
            f"SELECT {columns} FROM {view} WHERE {' AND '.join(conditions)}".encode(),  # noqa: S608 - ours
            values,
        )
        return await cursor.fetchall()
