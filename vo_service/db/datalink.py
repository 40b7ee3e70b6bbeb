"""The rows of DataLink: one statement for any number of identifiers.

Source: DataLink 1.1, "List of Links" and "Errors"; vocabulary ivoa.net/rdf/datalink/core.
Sizes are bytes. What is kept of a product is read from the view `archive.link`, which shows to
each what they may know.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    ARRAY,
    Boolean,
    Select,
    Text,
    case,
    cast,
    column,
    func,
    null,
    or_,
    select,
    table,
    true,
)

from vo_service.model.table import Field

__all__ = ["CUTOUT", "LINKS_FIELDS", "select_links"]

#: The descriptor of cutouts, which rows `#cutout` name; with a hyphen and the place of the
#: identifier in the request, where each has its own.
CUTOUT = "cutout"

_FITS = ("application/fits", "image/fits")


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
    *map(column, ("did", "state", "release_date", "has_file", "media_type", "size", "readable")),
    column("access_url"),
    schema="archive",
)


def select_links(
    ids: Sequence[str], limit: int, *, own_cutouts: bool = False
) -> Select[tuple[object, ...]]:
    """The rows of identifiers, in their order, with the columns of `LINKS_FIELDS` and one more.

    Exactly one of access_url, service_def and error_message is there in each row. The last column
    tells whether the rows up to those of this identifier are more than *limit*.

    Parameters
    ----------
    ids
        Each once.
    limit
        Rows at most; one more shows that there are more.
    own_cutouts
        Whether each row of cutouts has a descriptor of its own.
    """
    given = (
        func.unnest(cast(list(ids), ARRAY(Text)))
        .table_valued("id", with_ordinality="place", name="given")
        .render_derived()
    )
    # The offset keeps this a query of its own, into whose branches PostgreSQL puts the identifier;
    # as a join it would work out all links first.
    found = select(_LINK).where(_LINK.c.did == given.c.id).offset(0).lateral("link")
    link = found.c
    waiting = link.state == "arrived"
    when = func.coalesce(
        "will be released on " + func.to_char(link.release_date, "YYYY-MM-DD"),
        "has no release date",
    )
    fault = case(
        (link.did.is_(None), "NotFoundFault: nothing here has this identifier"),
        (link.state == "withdrawn", "NotFoundFault: withdrawn"),
        (link.state == "expired", "NotFoundFault: not kept any more, its lifetime is over"),
        (~link.has_file, "NotFoundFault: only the header is kept here, the file is elsewhere"),
        # No fault is named after this: the others say that it is not here, or asked wrongly.
        (~link.readable, "DefaultFault: proprietary; the file " + when),
    )
    there = fault.is_(None)
    closed = waiting & link.has_file & ~link.readable
    nothing = cast(null(), Text)
    kind = (
        func.unnest(cast(["#this", "#cutout"], ARRAY(Text)))
        .table_valued("semantics", with_ordinality="place", name="kind")
        .render_derived()
    )
    this, cutout = kind.c.semantics == "#this", kind.c.semantics == "#cutout"
    # What can be cut is FITS, and here: elsewhere it has no size.
    is_fits = or_(*(link.media_type == name for name in _FITS))
    wanted = this | (there & link.size.is_not(None) & is_fits)
    own = "-" + cast(given.c.place, Text) if own_cutouts else cast("", Text)
    return (
        select(
            given.c.id,
            case((this & there, link.access_url)),
            case((cutout, CUTOUT + own)),
            fault,
            case(
                (cutout, "Cutouts by position, wavelength, time, polarization, pixels (SODA)"),
                (there & waiting, "The file as it was archived; for you, before its release"),
                (there, "The file as it was archived"),
                (closed, "Proprietary: the file " + when),
            ),
            kind.c.semantics,
            case((cutout, _FITS[0]), (there, link.media_type)),
            case((this & there, link.size)),
            nothing.label("content_qualifier"),
            nothing.label("local_semantics"),
            case((there & ~waiting, "false"), (waiting & link.has_file, "true")),
            cast(case((there, True), (closed, False)), Boolean),
            # Of equal places all are counted.
            func.count().over(order_by=given.c.place) > limit,
        )
        .select_from(given.outerjoin(found, true()).join(kind, wanted))
        .order_by(given.c.place, kind.c.place)
        .limit(limit + 1)
    )
