"""Cone search operations: the rows of a published table about a position.

Source: Simple Cone Search 1.03, section 2, whose words of UCD1 mark the columns of name and
position: PyVO (`record.pos`, `record.id`) knows no others, STILTS and TOPCAT know both kinds.
Angles are ICRS degrees.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from vo_service.adql import Statement, build
from vo_service.errors import NotFoundError
from vo_service.formats.encoder import Info, ServiceDescriptor
from vo_service.model.obscore import OBSCORE
from vo_service.model.table import Column, Field, Position, Rows, Table
from vo_service.model.visitor import ANYBODY, Visitor
from vo_service.params.scs import ConeSearch
from vo_service.services.datalink import links_descriptors
from vo_service.services.origin import origin
from vo_service.services.tap import TapService
from vo_service.settings import Settings

__all__ = ["SCS_STANDARD", "ConeService", "ConeTable", "cone_query"]

SCS_STANDARD = "ivo://ivoa.net/std/ConeSearch"

#: UCD1+, as published tables have it, and what a cone search calls the three.
_ID, _RA, _DEC = "meta.id;meta.main", "pos.eq.ra;meta.main", "pos.eq.dec;meta.main"
_MAIN = ";meta.main"
_ROLES = ("ID_MAIN", "POS_EQ_RA_MAIN", "POS_EQ_DEC_MAIN")

(_DID,) = (column for column in OBSCORE if column.name == "obs_publisher_did")


@dataclass(frozen=True, slots=True)
class ConeTable:
    """A table that can be searched: where its rows are, and the column that names each."""

    table: Table
    position: Position
    identifier: str


@dataclass(frozen=True, slots=True)
class ConeService:
    """Searches tables, as what TAP lets *visitor* read."""

    settings: Settings
    tap: TapService

    async def tables(self) -> list[ConeTable]:
        """All tables that can be searched, in the order of the catalogue."""
        catalog = await self.tap.catalog()
        found = (_searchable(table) for table in catalog.tables)
        return [table for table in found if table is not None]

    async def table(self, name: str) -> ConeTable:
        """The table of a name, whose case does not matter.

        Raises
        ------
        NotFoundError
            If there is none, or it has no positions or no column that names its rows.
        """
        known = await self.tables()
        for one in known:
            if one.table.name.lower() == name.lower():
                return one
        names = ", ".join(one.table.name for one in known)
        raise NotFoundError(f"no table {name[:100]!r} with positions: expected one of {names}")

    async def find(self, search: ConeSearch, among: ConeTable, visitor: Visitor = ANYBODY) -> Rows:
        """The rows of a table in a circle; they must be closed by the caller.

        Raises
        ------
        VOError
            Before the first row.
        """
        rows = await self.tap.search(cone_query(search, among), search.maxrec, visitor)
        rows.fields = tuple(_with_roles(field, among) for field in rows.fields)
        return rows

    def infos(self) -> list[Info]:
        """What a result says of where it comes from."""
        return [Info("standardID", SCS_STANDARD), *origin(self.settings, SCS_STANDARD)]

    def descriptors(self, among: ConeTable, fields: Sequence[Field]) -> list[ServiceDescriptor]:
        """The services of each row."""
        columns = {column.name: column for column in among.table.columns}
        return links_descriptors(self.settings, [columns.get(f.name, f) for f in fields])


def cone_query(search: ConeSearch, among: ConeTable) -> Statement:
    """What a cone search means in ADQL."""
    position = among.position
    place = build.point(build.column(position.ra), build.column(position.dec))
    where = build.contains(place, build.region(search.circle))
    main = (among.identifier, position.ra, position.dec)
    columns = among.table.columns
    if search.verbosity == 1:
        columns = tuple(column for column in columns if column.name in main)
    elif search.verbosity == 2:
        columns = tuple(column for column in columns if column.principal or column.name in main)
    chosen = [build.selected(column.name) for column in columns]
    return build.find(among.table.name, where, chosen)


def _searchable(table: Table) -> ConeTable | None:
    identifier = next(filter(None, map(_names_rows, table.columns)), None)
    if table.position is None or identifier is None:
        return None
    return ConeTable(table, table.position, identifier)


def _names_rows(column: Column) -> str | None:
    is_did = column.utype == _DID.utype and column.ucd == _DID.ucd
    return column.name if is_did or column.ucd == _ID else None


def _with_roles(field: Field, among: ConeTable) -> Field:
    """A field with the UCD of its role; no other field is the main one of its kind."""
    main = (among.identifier, among.position.ra, among.position.dec)
    if field.name in main:
        return dataclasses.replace(field, ucd=_ROLES[main.index(field.name)])
    if field.ucd in (_ID, _RA, _DEC):
        return dataclasses.replace(field, ucd=field.ucd.removesuffix(_MAIN))
    return field
