"""The rows of DataLink: one statement for any number of identifiers.

Source: DataLink 1.1, "List of Links" and "Errors"; vocabulary ivoa.net/rdf/datalink/core.
Sizes are bytes. What is kept of a product is read from views (`archive.link` and its neighbours),
which show to each what they may know.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import TextClause, text

from vo_service.model.table import Field

__all__ = ["CUTOUT", "LINKS_FIELDS", "RELATED", "select_links"]

#: The descriptor of cutouts, which rows `#cutout` name; with a hyphen and the place of the
#: identifier in the request, where each has its own.
CUTOUT = "cutout"

#: Files of a kind (siblings, progenitors ...) that one identifier leads to, at most.
RELATED = 100


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
    _text("local_semantics", "What the link is, in words of this archive", "meta.id.assoc"),
    _text("link_auth", "Whether the link needs authentication", "meta.code"),
    Field(
        name="link_authorized",
        datatype="boolean",
        ucd="meta.code",
        description="Whether the one who asked may follow the link",
    ),
)

# Branches stand in the order of the rows of an identifier (*kind*); within one, *number* counts.
# Their columns: kind, number, semantics, local_semantics, access_url, service_def, fault,
# description, content_type, content_length, content_qualifier, link_auth, link_authorized.
# The offset keeps the look-up a query of its own, into which PostgreSQL puts the identifier; as a
# join it would work out all links first. Of equal places in the window all are counted.
_LINKS = """
SELECT given.id, l.access_url, l.service_def, l.fault, l.description, l.semantics,
       l.content_type, l.content_length, l.content_qualifier, l.local_semantics, l.link_auth,
       l.link_authorized, count(*) OVER (ORDER BY given.place) > :limit
FROM unnest(CAST(:ids AS text[])) WITH ORDINALITY AS given (id, place)
LEFT JOIN LATERAL (
    SELECT *, collection IN (SELECT collection FROM archive.correction_time)
              AND EXISTS (SELECT FROM archive.correction_of AS o
                          WHERE o.product_id = link.product_id) AS corrected
    FROM archive.link WHERE did = given.id OFFSET 0
) AS f ON true
CROSS JOIN LATERAL (
    SELECT 1 AS kind, CAST(0 AS bigint) AS number, '#this' AS semantics,
           'file' AS local_semantics,
           CASE WHEN f.fault IS NULL THEN f.access_url END AS access_url,
           CAST(NULL AS text) AS service_def,
           CASE WHEN f.did IS NULL THEN 'NotFoundFault: nothing here has this identifier'
                ELSE f.fault END AS fault,
           CASE WHEN f.fault IS NULL AND f.state = 'arrived'
                    THEN 'The file as it was archived; for you, before its release'
                WHEN f.fault IS NULL AND f.did IS NOT NULL THEN 'The file as it was archived'
                WHEN f.link_authorized = false THEN 'Proprietary: the file ' || f.outlook
           END AS description,
           CASE WHEN f.fault IS NULL THEN f.media_type END AS content_type,
           CASE WHEN f.fault IS NULL THEN f.size END AS content_length,
           CASE WHEN f.fault IS NULL THEN f.qualifier END AS content_qualifier,
           f.link_auth, f.link_authorized
    UNION ALL
    SELECT 2, 0, '#this', 'corrected', f.access_url || '?header=corrected', NULL, NULL,
           'The file with its header corrected, on the way to you', f.media_type, NULL,
           f.qualifier, f.link_auth, true
    WHERE f.fault IS NULL AND f.corrected AND f.delivered_here
      AND f.media_type IN ('application/fits', 'image/fits')
    UNION ALL
    SELECT 3, p.number, p.semantics, p.local_semantics,
           :root || '/previews/' || f.place || p.suffix, NULL, NULL, p.description,
           'image/png', NULL, NULL, f.link_auth, true
    FROM (VALUES (1, '#preview', 'preview', '.png', 'A picture of the data'),
                 (2, '#thumbnail', 'thumbnail', '.thumb.png', 'A small picture of the data')
         ) AS p (number, semantics, local_semantics, suffix, description)
    WHERE f.fault IS NULL AND f.has_preview
    UNION ALL
    SELECT 4, 0, '#cutout', 'cutout', NULL,
           :cutout || CASE WHEN :few THEN '-' || given.place ELSE '' END, NULL,
           'Cutouts by position, wavelength, time, polarization, pixels (SODA)',
           'application/fits', NULL, f.qualifier, f.link_auth, true
    -- What can be cut is FITS, packed as a whole or not, and here: elsewhere it has no size.
    WHERE f.fault IS NULL AND f.size IS NOT NULL
      AND f.media_type IN ('application/fits', 'image/fits', 'application/gzip',
                           'image/x-fits-gzip')
    UNION ALL
    SELECT 5, 0, '#detached-header', 'header',
           :root || '/datalink/header?ID=' || archive.quoted_value(f.did), NULL, NULL,
           'The headers of the file as text, one card a line', 'text/plain', NULL, NULL,
           CASE WHEN f.state = 'arrived' THEN 'true' ELSE 'false' END, true
    WHERE f.readable
    UNION ALL
    SELECT 6, 0, '#auxiliary', 'header-corrections', :root || '/corrections/' || f.collection
           || '?RESPONSEFORMAT=csv&ID=' || archive.quoted_value(f.did), NULL, NULL,
           'Corrections of the header, as a list', 'text/csv', NULL, NULL,
           CASE WHEN f.state = 'arrived' THEN 'true' ELSE 'false' END, true
    WHERE f.readable AND f.corrected
    UNION ALL
    SELECT 7, row_number() OVER (ORDER BY d.role <> 'progenitor', d.role, d.name, u.did),
           '#' || d.role, d.role, CASE WHEN u.fault IS NULL THEN u.access_url END, NULL,
           CASE WHEN u.did IS NULL THEN 'NotFoundFault: ' || d.name || ' is not in this archive'
                ELSE u.fault END,
           CASE d.role WHEN 'progenitor' THEN 'Made from ' WHEN 'calibration'
                THEN 'Calibrated with ' ELSE 'Calibrated with the ' || d.role || ' ' END
           || coalesce(u.frame_id, d.name),
           CASE WHEN u.fault IS NULL THEN u.media_type END,
           CASE WHEN u.fault IS NULL THEN u.size END,
           CASE WHEN u.fault IS NULL THEN u.qualifier END, u.link_auth, u.link_authorized
    FROM (SELECT * FROM archive.known_derivation WHERE product_id = f.product_id
          ORDER BY role <> 'progenitor', role, name LIMIT :related) AS d
    LEFT JOIN LATERAL (SELECT * FROM archive.link WHERE product_id = d.used_id OFFSET 0) AS u
         ON true
    WHERE f.readable
    UNION ALL
    (SELECT 8, row_number() OVER (), '#derivation', d.role || '-of', u.access_url, NULL, NULL,
           'Made with this: ' || coalesce(u.frame_id, u.path), u.media_type, u.size, u.qualifier,
           u.link_auth, u.link_authorized
    FROM archive.known_derivative AS d
    CROSS JOIN LATERAL (SELECT * FROM archive.link WHERE product_id = d.product_id OFFSET 0) AS u
    WHERE :few AND f.readable AND d.used_id = f.product_id AND u.fault IS NULL
    LIMIT :related)
    UNION ALL
    (SELECT 9, row_number() OVER (ORDER BY s.path), '#coderived', 'exposure', s.access_url, NULL,
            NULL, 'Of the same exposure: ' || coalesce(s.frame_id, s.path), s.media_type, s.size,
            s.qualifier, s.link_auth, s.link_authorized
     FROM archive.link AS s
     WHERE :few AND f.readable AND s.collection = f.collection AND s.exposure = f.exposure
       AND s.product_id <> f.product_id AND s.fault IS NULL
     LIMIT :related)
    UNION ALL
    SELECT 10, 0, '#package', 'exposure-tar', :root || '/bundles/sync?OBS_ID='
           || archive.quoted_value(f.exposure), NULL, NULL,
           'All files of the exposure ' || f.exposure || ', as a tar archive',
           'application/x-tar', NULL, NULL, f.link_auth, true
    WHERE f.readable AND EXISTS (
        SELECT FROM archive.known_product AS s
        WHERE s.collection = f.collection AND s.exposure = f.exposure AND s.readable
          AND s.product_id <> f.product_id AND (s.source IS NOT NULL OR s.elsewhere))
) AS l
ORDER BY given.place, l.kind, l.number
LIMIT :limit + 1
"""


def select_links(ids: Sequence[str], limit: int, *, root_url: str, few: bool = False) -> TextClause:
    """The rows of identifiers, in their order, with the columns of `LINKS_FIELDS` and one more.

    Exactly one of access_url, service_def and error_message is there in each row. The last column
    tells whether the rows up to those of this identifier are more than *limit*.

    Parameters
    ----------
    ids
        Each once.
    limit
        Rows at most; one more shows that there are more.
    root_url
        Of this server, without a slash at its end.
    few
        Whether each row of cutouts has a descriptor of its own, and siblings and derivatives
        are listed: a few identifiers may have many.
    """
    return text(_LINKS).bindparams(
        ids=list(ids), limit=limit, root=root_url, few=few, related=RELATED, cutout=CUTOUT
    )
