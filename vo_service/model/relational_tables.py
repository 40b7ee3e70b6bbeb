"""The relational registry ``rr``: the tables of RegTAP, as they are published.

Names, order and utypes (paths into VOResource) are the standard's; the tables themselves are in
``schema/sql/0017_relational.sql``. Source: RegTAP 1.2, "VOResource Tables". Angles are degrees,
times MJD (TDB), energies joules.
"""

from __future__ import annotations

import dataclasses

from vo_service.model.table import Column, ForeignKey, Schema, Table

__all__ = ["REGTAP", "RELATIONAL", "RELATIONAL_KEYS"]

#: The data model of the schema.
REGTAP = "ivo://ivoa.net/std/RegTAP#1.2"


def _text(name: str, path: str | None, description: str, *, indexed: bool = False) -> Column:
    return Column(
        name=name, datatype="char", arraysize="*", description=description, indexed=indexed,
        utype=path and f"xpath:{path}", std=True, principal=True,
    )  # fmt: skip


def _prose(name: str, path: str | None, description: str, *, indexed: bool = False) -> Column:
    """What people write in any script: a VOTable holds that as ``unicodeChar`` only."""
    column = _text(name, path, description, indexed=indexed)
    return dataclasses.replace(column, datatype="unicodeChar")


def _number(name: str, path: str | None, description: str, *, indexed: bool = False) -> Column:
    return Column(
        name=name, datatype="int", description=description, indexed=indexed,
        utype=path and f"xpath:{path}", std=True, principal=True,
    )  # fmt: skip


def _time(name: str, path: str, description: str) -> Column:
    return Column(
        name=name, datatype="char", arraysize="*", xtype="timestamp", description=description,
        utype=f"xpath:{path}", std=True, principal=True,
    )  # fmt: skip


def _real(name: str, path: str, unit: str, description: str, *, indexed: bool = False) -> Column:
    return Column(
        name=name, datatype="double", unit=unit, description=description, indexed=indexed,
        utype=f"xpath:{path}", std=True, principal=True,
    )  # fmt: skip


def _table(
    name: str, path: str | None, description: str, *columns: Column, kind: str = "table"
) -> Table:
    full = f"rr.{name}"
    return Table(
        name=full, relation=full, kind=kind, description=description, columns=columns,
        utype=path and f"xpath:{path}",
    )  # fmt: skip


_IVOID = _text("ivoid", "/identifier", "The resource that this belongs to", indexed=True)

#: What a column of a table and a parameter of an interface have in common.
_TYPED = (
    _text("name", "name", "Its name", indexed=True),
    _text("ucd", "ucd", "UCD: what kind of quantity it is", indexed=True),
    _text("unit", "unit", "Unit of its values"),
    _text("utype", "utype", "Role in a data model", indexed=True),
    _number("std", "@std", "1 if a standard defines it, 0 if not"),
    _text("datatype", "dataType", "Type of its values"),
    _text("extended_schema", "dataType/@extendedSchema", "Schema that extended_type is from"),
    _text("extended_type", "dataType/@extendedType", "A custom type of its values"),
    _text("arraysize", "dataType/@arraysize", "Shape of an array, as in VOTable"),
    _text("delim", "dataType/@delim", "What separates elements of an array"),
)

_RESOURCES = (
    _table(
        "resource", "/", "Resources: services, data collections, organisations, ...",
        _text("ivoid", "identifier", "IVOA identifier of the resource", indexed=True),
        _text("res_type", "@xsi:type", "Type, as vs:catalogservice", indexed=True),
        _time("created", "@created", "When this description was first made (UTC)"),
        _prose("short_name", "shortName", "A name of up to 16 characters"),
        _prose("res_title", "title", "The full name", indexed=True),
        _time("updated", "@updated", "When this description was last changed (UTC)"),
        _text("content_level", "content/contentLevel", "For whom it is, joined with #"),
        _prose("res_description", "content/description", "What it is", indexed=True),
        _text("reference_url", "content/referenceURL", "A page about it for people"),
        _prose("creator_seq", "curation/creator/name", "Who made it, in order, joined with ;"),
        _text("content_type", "content/type", "What kinds of content it has, joined with #"),
        _text("source_format", "content/source/@format", "Format of source_value, as bibcode"),
        _prose("source_value", "content/source", "The publication that it comes from"),
        _text("res_version", "curation/version", "Version of the resource"),
        _real("region_of_regard", "coverage/regionOfRegard", "deg",
              "By how much a position should be blurred in a search"),
        _text("waveband", "coverage/waveband", "Parts of the spectrum, joined with #"),
        _prose("rights", "/rights", "Conditions of use"),
        _text("rights_uri", "/rights/@rightsURI", "Identifier of a licence"),
    ),
    _table(
        "res_role", None, "Persons and organisations: creators, contacts, publishers, ...",
        _IVOID,
        _prose("role_name", None, "Name of the person or organisation", indexed=True),
        _text("role_ivoid", None, "IVOA identifier of the person or organisation", indexed=True),
        _prose("street_address", None, "Postal address"),
        _text("email", None, "E-mail address"),
        _text("telephone", None, "Telephone number"),
        _text("logo", None, "Address of a picture that stands for it"),
        _text("base_role", None, "contact, publisher, contributor or creator", indexed=True),
    ),
    _table(
        "res_subject", "/content/", "Subjects of resources",
        _IVOID,
        _prose("res_subject", "subject", "Topic, kind of object or other keyword", indexed=True),
    ),
    _table(
        "res_date", "/curation/", "Dates in the life of resources",
        _IVOID,
        _time("date_value", "date", "The date"),
        _text("value_role", "date/@role", "What happened, as collected or updated"),
    ),
    _table(
        "relationship", "/content/relationship/", "How resources belong together",
        _IVOID,
        _text("relationship_type", "relationshipType", "How, as isservedby"),
        _text("related_id", "relatedResource/@ivo-id", "The other resource", indexed=True),
        _prose("related_name", "relatedResource", "Name of the other resource"),
    ),
    _table(
        "alt_identifier", "/(curation/creator/|)altIdentifier",
        "Other identifiers of resources and of their creators, as DOI and ORCID",
        _IVOID,
        _text("alt_identifier", None, "The identifier as a URI", indexed=True),
    ),
    _table(
        "validation", "/(capability/|)validationLevel", "How far resources have been validated",
        _IVOID,
        _text("validated_by", "validationLevel/@validatedBy", "Who says so"),
        _number("val_level", "validationLevel", "0 (kept) to 4 (seen by a person)"),
        _number("cap_index", None, "The capability, where it is only of one"),
    ),
    _table(
        "res_detail", None, "What else records say, as paths into VOResource with values",
        _IVOID,
        _number("cap_index", None, "The capability that it belongs to, if it does to one"),
        _text("detail_xpath", None, "Path of the element or attribute", indexed=True),
        _prose("detail_value", None, "Its value", indexed=True),
    ),
)  # fmt: skip

_SERVICES = (
    _table(
        "capability", "/capability/", "What resources can do",
        _IVOID,
        _number("cap_index", None, "Number of the capability", indexed=True),
        _text("cap_type", "@xsi:type", "Type; for a standard, ask for standard_id", indexed=True),
        _prose("cap_description", "description", "What it does"),
        _text("standard_id", "@standardID", "Identifier of the standard", indexed=True),
    ),
    _table(
        "interface", "/capability/interface/", "How capabilities are reached",
        _IVOID,
        _number("cap_index", None, "The capability", indexed=True),
        _number("intf_index", None, "Number of the interface in the resource", indexed=True),
        _text("intf_type", "@xsi:type", "Type, as vs:paramhttp", indexed=True),
        _text("intf_role", "@role", "std: the one that the standard defines"),
        _text("std_version", "@version", "Version of the standard"),
        _text("query_type", "queryType", "get and post, joined with #"),
        _text("result_type", "resultType", "Media type of the answer"),
        _text("wsdl_url", "wsdlURL", "Where a SOAP service is described"),
        _text("url_use", "accessURL/@use", "full, base (to be extended) or dir"),
        _text("access_url", "accessURL", "The address", indexed=True),
        _text("mirror_url", "mirrorURL", "Other addresses, joined with #"),
        _number("authenticated_only", None, "1 if it serves only people who log in, else 0"),
    ),
    _table(
        "intf_param", "/capability/interface/param/", "Parameters of interfaces",
        _IVOID,
        _number("intf_index", None, "The interface", indexed=True),
        *_TYPED,
        _text("param_use", "@use", "required, optional or ignored"),
        _prose("param_description", "description", "What it is for"),
    ),
    _table(
        "res_schema", "/tableset/schema/", "Sets of tables",
        _IVOID,
        _number("schema_index", None, "Number of the schema in the resource", indexed=True),
        _prose("schema_description", "description", "What its tables are"),
        _text("schema_name", "name", "Its name"),
        _prose("schema_title", "title", "Its name for people"),
        _text("schema_utype", "utype", "Data model that it represents"),
    ),
    _table(
        "res_table", "/(tableset/schema/|)table/", "Tables",
        _IVOID,
        _number("schema_index", None, "The schema, if it belongs to one"),
        _prose("table_description", "description", "What it holds", indexed=True),
        _text("table_name", "name", "Its name as it is to be written in a query"),
        _number("table_index", None, "Number of the table in the resource", indexed=True),
        _prose("table_title", "title", "Its name for people"),
        _text("table_type", "@type", "base_table, view, output or another"),
        _text("table_utype", "utype", "Part of a data model that it represents", indexed=True),
    ),
    _table(
        "table_column", "/(tableset/schema/|)/table/column/", "Columns of tables",
        _IVOID,
        _number("table_index", None, "The table", indexed=True),
        *_TYPED,
        _text("type_system", "dataType/@xsi:type", "Type system, as vs:votabletype"),
        _text("flag", "flag", "Traits as indexed, primary, nullable, joined with #"),
        _prose("column_description", "description", "What it holds", indexed=True),
    ),
    _table(
        "tap_table", None, "Tables that TAP services offer, each once for a service",
        _text("resid", "/identifier", "The resource that describes the table"),
        _text("svcid", "/identifier", "The TAP service that it can be queried at"),
        _text("table_name", "/tableset/schema/table/name", "Its name as written in a query"),
        _prose("table_title", "/tableset/schema/table/title", "Its name for people"),
        _prose("table_description", "/tableset/schema/table/description", "What it holds"),
        _text("table_utype", "/tableset/schema/table/utype", "What of a data model it represents"),
        kind="view",
    ),
)  # fmt: skip

_COVERAGE = (
    _table(
        "stc_spatial", "/coverage/spatial", "Where on the sky resources have data",
        _IVOID,
        Column(
            name="coverage", datatype="char", arraysize="*", xtype="moc", utype="xpath:.",
            description="The area, for CONTAINS and INTERSECTS (ICRS)", std=True, principal=True,
        ),
        _text("ref_system_name", "@frame", "Reference frame; always NULL: ICRS"),
    ),
    _table(
        "stc_temporal", "/coverage/temporal", "For which times resources have data",
        _IVOID,
        _real("time_start", ".", "d", "Begin of an interval (MJD, TDB)", indexed=True),
        _real("time_end", ".", "d", "End of the interval (MJD, TDB)", indexed=True),
    ),
    _table(
        "stc_spectral", "/coverage/spectral", "For which energies resources have data",
        _IVOID,
        _real("spectral_start", ".", "J", "Lowest energy of an interval", indexed=True),
        _real("spectral_end", ".", "J", "Highest energy of the interval", indexed=True),
    ),
)  # fmt: skip

RELATIONAL = Schema(
    name="rr",
    description="Registry: resources of the Virtual Observatory that are known here",
    utype=REGTAP,
    tables=(*_RESOURCES, *_SERVICES, *_COVERAGE),
)

# Columns in the order of their names, as TAP_SCHEMA gives them back.
_BELONGS = (
    *(
        (table.name, "rr.resource", ("ivoid",))
        for table in RELATIONAL.tables
        if table.name not in ("rr.resource", "rr.tap_table")
    ),
    ("rr.interface", "rr.capability", ("cap_index", "ivoid")),
    ("rr.intf_param", "rr.interface", ("intf_index", "ivoid")),
    ("rr.table_column", "rr.res_table", ("ivoid", "table_index")),
)

RELATIONAL_KEYS = tuple(
    ForeignKey(
        key_id=f"rr_{number:02}",
        from_table=source,
        target_table=target,
        columns=tuple((name, name) for name in columns),
    )
    for number, (source, target, columns) in enumerate(_BELONGS, 1)
)
