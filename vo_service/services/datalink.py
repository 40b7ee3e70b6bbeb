"""DataLink operations: links of products, and how results of other services lead to them.

Source: DataLink 1.1, "The {links} endpoint" and "Service Descriptors".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from vo_service.db.datalink import LINKS_FIELDS, select_links
from vo_service.db.stream import Reader
from vo_service.formats.encoder import ServiceDescriptor
from vo_service.model.obscore import OBSCORE
from vo_service.model.table import Field, Rows
from vo_service.params.datalink import LinksQuery
from vo_service.settings import Settings

__all__ = ["LINKS_STANDARD", "LinkService", "links_descriptors", "links_url"]

LINKS_STANDARD = "ivo://ivoa.net/std/DataLink#links-1.1"

(_DID,) = (column for column in OBSCORE if column.name == "obs_publisher_did")


def links_url(settings: Settings) -> str:
    """The address of {links}."""
    return f"{settings.root_url}/datalink/links"


def links_descriptors(settings: Settings, fields: Sequence[Field]) -> list[ServiceDescriptor]:
    """What to write into a result so that clients find the links of its rows.

    One descriptor if a column holds publisher DIDs as ObsCore has them, under any name.
    """
    names = {field.name for field in fields}
    identifier = "datalink"
    while identifier in names:  # names of columns are XML IDs of the document too
        identifier += "_"
    return [
        ServiceDescriptor(
            identifier=identifier,
            access_url=links_url(settings),
            standard_id=LINKS_STANDARD,
            column=field.name,
            description="Files and services of each row (DataLink)",
        )
        for field in fields
        if field.utype == _DID.utype and field.ucd == _DID.ucd
    ][:1]


@dataclass(frozen=True, slots=True)
class LinkService:
    """Reads what may be known of products, as the reader role."""

    reader: Reader

    async def links(self, request: LinksQuery) -> Rows:
        """The links of identifiers; the rows must be closed by the caller.

        What an identifier lacks is told in its row; an error is about the request as a whole.

        Raises
        ------
        VOError
            Before the first row.
        """
        if request.maxrec == 0:
            # Metadata only: an overflow by definition (DALI 1.1, "MAXREC").
            return Rows(fields=LINKS_FIELDS, source=_nothing(), truncated=True)
        statement = select_links(request.ids, request.maxrec + 1)
        return await self.reader.rows(statement, LINKS_FIELDS, request.maxrec)

    async def available(self) -> None:
        """Ask for the links of nothing, which needs the database to work.

        Raises
        ------
        TransientError
            If it does not.
        """
        rows = await self.links(LinksQuery(ids=(), maxrec=1))
        await rows.aclose()


async def _nothing() -> AsyncIterator[pa.RecordBatch]:
    return
    yield
