"""Tables of what other sites have, published beside ours: schema ``elsewhere``.

``elsewhere.obscore`` holds rows that were crawled, ``elsewhere.everything`` these and our own
(MISSION D5). The columns are those of ObsCore 1.1, then the origin of the row. An identifier has
here the UCD of a row's name and not that of ObsCore, by which clients are led to our DataLink,
which knows nothing of other sites' data.
"""

from __future__ import annotations

import dataclasses

from vo_service.model.obscore import OBSCORE
from vo_service.model.table import Column, ForeignKey, Position, Schema, Table

__all__ = ["ELSEWHERE", "ELSEWHERE_KEYS", "EVERYTHING", "HERE"]

#: The origin of our own rows.
HERE = "here"

#: Name of the table that holds all rows, whose reach is that of the farther of its parts.
EVERYTHING = "elsewhere.everything"


def _text(name: str, ucd: str, description: str) -> Column:
    return Column(
        name=name, datatype="char", arraysize="*", ucd=ucd, description=description, principal=True
    )


_ORIGIN = _text("origin", "meta.id;meta.curation", "Service that the row was read from")

_COLUMNS = (
    *(
        dataclasses.replace(column, ucd="meta.id;meta.main")
        if column.name == "obs_publisher_did"
        else column
        for column in OBSCORE
    ),
    dataclasses.replace(_ORIGIN, description=f"Service that the row was read from; {HERE}: ours"),
)

_POSITION = Position(ra="s_ra", dec="s_dec", point="position", partitioned=True)

ELSEWHERE = Schema(
    name="elsewhere",
    description="What other sites have, as they said when they were last asked",
    tables=(
        Table(
            name="elsewhere.obscore",
            relation="archive.elsewhere",
            columns=_COLUMNS,
            description="Observations of other sites, as their ObsCore describes them",
            position=_POSITION,
        ),
        Table(
            name=EVERYTHING,
            relation="archive.everything",
            columns=_COLUMNS,
            kind="view",
            description="Observations of this archive and of other sites together",
            position=_POSITION,
        ),
        Table(
            name="elsewhere.origin",
            relation="archive.origin_known",
            kind="view",
            description="The services of other sites that are read",
            columns=(
                _text("origin", "meta.id;meta.main", "Name of the service here"),
                _text("url", "meta.ref.url", "Its address"),
                _text("protocol", "meta.code", "How it is asked: tap or sia2"),
                Column(
                    name="products", datatype="long", ucd="meta.number",
                    description="Rows in elsewhere.obscore", principal=True,
                ),
                _text("crawled", "time.processing", "When it was last read to the end (UTC)"),
            ),
        ),
    ),
)  # fmt: skip

ELSEWHERE_KEYS = (
    ForeignKey(
        key_id="elsewhere_1",
        from_table="elsewhere.obscore",
        target_table="elsewhere.origin",
        columns=(("origin", "origin"),),
        description="The service that a row was read from",
    ),
)
