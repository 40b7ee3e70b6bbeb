"""DataLink operations: links of products, and how results of other services lead to them.

Source: DataLink 1.1, "The {links} endpoint" and "Service Descriptors".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vo_service.db.datalink import LINKS_FIELDS, select_links
from vo_service.db.stream import Reader
from vo_service.formats.encoder import ServiceDescriptor
from vo_service.model.obscore import OBSCORE
from vo_service.model.table import Field, Rows
from vo_service.model.visitor import ANYBODY, Visitor
from vo_service.params.datalink import LinksQuery
from vo_service.services.cutouts import cutouts_descriptor
from vo_service.settings import Settings

__all__ = ["LINKS_STANDARD", "OWN_CUTOUTS", "LinkService", "links_descriptors", "links_url"]

#: Identifiers in a request up to which each has a descriptor of cutouts with what it covers, and
#: its siblings and what was made of it are listed.
OWN_CUTOUTS = 50

LINKS_STANDARD = "ivo://ivoa.net/std/DataLink#links-1.1"

(_DID,) = (column for column in OBSCORE if column.name == "obs_publisher_did")


def links_url(settings: Settings) -> str:
    """The address of {links}."""
    return f"{settings.root_url}/datalink/links"


def links_descriptors(settings: Settings, fields: Sequence[Field]) -> list[ServiceDescriptor]:
    """What to write into a result so that clients find links and cutouts of its rows.

    Two descriptors if a column holds publisher DIDs as ObsCore has them, under any name.
    """
    names = {field.name for field in fields}
    for field in fields:
        if field.utype == _DID.utype and field.ucd == _DID.ucd:
            links = ServiceDescriptor(
                identifier=_unlike(names, "datalink"),
                access_url=links_url(settings),
                standard_id=LINKS_STANDARD,
                column=field.name,
                description="Files and services of each row (DataLink)",
            )
            return [links, cutouts_descriptor(settings, field.name, _unlike(names, "soda"))]
    return []


def _unlike(names: set[str], identifier: str) -> str:
    """An XML ID that no column has, whose names are IDs of the document too."""
    while identifier in names:
        identifier += "_"
    return identifier


@dataclass(frozen=True, slots=True)
class LinkService:
    """Reads what may be known of products, as the door role; *root_url* is this server's."""

    reader: Reader
    root_url: str

    async def links(self, request: LinksQuery, visitor: Visitor = ANYBODY) -> Rows:
        """The links of identifiers for *visitor*; the rows must be closed by the caller.

        What an identifier lacks is told in its row; an error is about the request as a whole.

        Raises
        ------
        VOError
            Before the first row.
        """
        if request.maxrec == 0:
            # Metadata only: an overflow by definition (DALI 1.1, "MAXREC").
            return Rows(fields=LINKS_FIELDS, source=_nothing(), truncated=True)
        few = len(request.ids) <= OWN_CUTOUTS
        statement = select_links(request.ids, request.maxrec, root_url=self.root_url, few=few)
        rows = await self.reader.rows(statement, LINKS_FIELDS, request.maxrec + 1, visitor.name)
        rows.source = _whole(rows, rows.source)
        return rows

    async def available(self) -> None:
        """Ask for the links of nothing, which needs the database to work.

        Raises
        ------
        TransientError
            If it does not.
        """
        rows = await self.links(LinksQuery(ids=(), maxrec=1))
        await rows.aclose()


async def _whole(
    rows: Rows, source: AsyncIterator[pa.RecordBatch]
) -> AsyncIterator[pa.RecordBatch]:
    """Rows of identifiers that fit as a whole (DataLink 1.1, "ID"); without the column for this."""
    async for batch in source:
        *columns, beyond = batch.columns
        fit = pc.index(beyond, True).as_py()
        rows.truncated = fit >= 0
        whole = pa.RecordBatch.from_arrays(columns, names=batch.schema.names[:-1])
        yield whole.slice(0, fit) if rows.truncated else whole
        if rows.truncated:
            return


async def _nothing() -> AsyncIterator[pa.RecordBatch]:
    return
    yield
