"""The rows of DataLink: one statement for any number of identifiers.

Source: DataLink 1.1, "List of Links" and "Errors"; vocabulary ivoa.net/rdf/datalink/core.
Sizes are bytes. What is kept of a product is read from the view `archive.link`.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ARRAY, Boolean, Select, Text, case, cast, column, func, null, select, table

from vo_service.model.table import Field

__all__ = ["LINKS_FIELDS", "select_links"]


def _text(name: str, description: str, ucd: str | None = None) -> Field:
    return Field(name=name, datatype="char", arraysize="*", ucd=ucd, description=description)


#: DataLink 1.1, "List of Links", with its UCDs and units.
LINKS_FIELDS = (
    _text("ID", "Identifier, as it was given", "meta.id;meta.main"),
    _text("access_url", "Where the link leads", "meta.ref.url"),
    _text("service_def", "Descriptor of the service that the link needs", "meta.ref"),
    _text("error_message", "Why there is no link", "meta.code.error"),
    _text("description", "What the link gives", "meta.note"),
    _text("semantics", "What the link is to the identifier", "meta.code"),
    _text("content_type", "Media type of what the link gives", "meta.code.mime"),
    Field(
        name="content_length",
        datatype="long",
        unit="byte",
        ucd="phys.size;meta.file",
        description="Size of what the link gives",
    ),
    _text("content_qualifier", "Kind of product that the link gives"),
    _text("local_semantics", "What the link is, in words of the collection", "meta.id.assoc"),
    _text("link_auth", "Whether the link needs authentication", "meta.code"),
    Field(
        name="link_authorized",
        datatype="boolean",
        ucd="meta.code",
        description="Whether the one who asked may follow the link",
    ),
)

_LINK = table(
    "link",
    *map(column, ("did", "state", "release_date", "has_file", "media_type", "size", "access_url")),
    schema="archive",
)


def select_links(ids: Sequence[str], limit: int) -> Select[tuple[object, ...]]:
    """A row for each identifier, in their order, with the columns of `LINKS_FIELDS`.

    Exactly one of access_url, service_def and error_message is there in each row.
    """
    given = (
        func.unnest(cast(list(ids), ARRAY(Text)))
        .table_valued("id", with_ordinality="place", name="given")
        .render_derived()
    )
    link = _LINK.c
    public = link.state == "public"
    waiting = link.state == "arrived"
    when = func.coalesce(
        "will be released on " + func.to_char(link.release_date, "YYYY-MM-DD"),
        "has no release date",
    )
    fault = case(
        (link.did.is_(None), "NotFoundFault: nothing here has this identifier"),
        (link.state == "withdrawn", "NotFoundFault: withdrawn"),
        (~link.has_file, "NotFoundFault: only the header is kept here, the file is elsewhere"),
        # No fault is named after this: the others say that it is not here, or asked wrongly.
        (~public, "DefaultFault: proprietary; the file " + when),
    )
    there = fault.is_(None)
    closed = waiting & link.has_file
    nothing = cast(null(), Text)
    return (
        select(
            given.c.id,
            case((there, link.access_url)),
            nothing.label("service_def"),
            fault,
            case((there, "The file as it was archived"), (closed, "Proprietary: the file " + when)),
            cast("#this", Text),
            case((there, link.media_type)),
            case((there, link.size)),
            nothing.label("content_qualifier"),
            nothing.label("local_semantics"),
            case((there, "false"), (closed, "true")),
            cast(case((there, True), (closed, False)), Boolean),
        )
        .select_from(given.outerjoin(_LINK, link.did == given.c.id))
        .order_by(given.c.place)
        .limit(limit)
    )
