"""Capabilities, tables and other details of a VOResource record, as rows.

Source: RegTAP 1.2, "The capability Table" to "The intf_param Table", "XPaths for res_detail".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lxml import etree

from vo_service.registry.reading import (
    Notes,
    canonical_type,
    children,
    first,
    hash_list,
    inner,
    local_name,
)

__all__ = ["add_capabilities", "add_details", "add_tables"]

_Rows = dict[str, list[Mapping[str, Any]]]

_STD = {"true": 1, "1": 1, "false": 0, "0": 0}

#: What is kept as a detail: the paths that the standard names.
_NAMED = """
accessURL coverage/footprint coverage/footprint/@ivo-id deprecated endorsedVersion facility
format format/@isMIMEType full instrument instrument/@ivo-id managedAuthority managingOrg rights
rights/@rightsURI schema/@namespace capability/complianceLevel capability/creationType
capability/dataModel capability/dataModel/@ivo-id capability/dataSource
capability/defaultMaxRecords capability/executionDuration/default
capability/executionDuration/hard capability/imageServiceType
capability/interface/securityMethod/@standardID capability/interface/testQueryString
capability/language/name capability/language/version/@ivo-id capability/maxAperture
capability/maxFileSize capability/maxImageExtent/lat capability/maxImageExtent/long
capability/maxImageSize capability/maxImageSize/lat capability/maxImageSize/long
capability/maxQueryRegionSize/lat capability/maxQueryRegionSize/long capability/maxRecords
capability/maxSearchRadius capability/maxSR capability/outputFormat/@ivo-id
capability/outputFormat/alias capability/outputFormat/mime capability/outputLimit/default
capability/outputLimit/default/@unit capability/outputLimit/hard
capability/outputLimit/hard/@unit capability/retentionPeriod/default
capability/retentionPeriod/hard capability/supportedFrame capability/testQuery/catalog
capability/testQuery/dec capability/testQuery/extras capability/testQuery/pos/lat
capability/testQuery/pos/long capability/testQuery/pos/refframe
capability/testQuery/queryDataCmd capability/testQuery/ra capability/testQuery/size
capability/testQuery/size/lat capability/testQuery/size/long capability/testQuery/sr
capability/testQuery/verb capability/uploadLimit/default capability/uploadLimit/default/@unit
capability/uploadLimit/hard capability/uploadLimit/hard/@unit
capability/uploadMethod/@ivo-id capability/verbosity
"""
_DETAILS = frozenset(f"/{path}" for path in _NAMED.split())

#: The elements on the way to one of them.
_ON_THE_WAY = frozenset(
    path.rsplit("/", count)[0] for path in _DETAILS for count in range(path.count("/"))
) | {path.rpartition("/@")[0] for path in _DETAILS if "/@" in path}


def add_capabilities(root: etree._Element, rows: _Rows, notes: Notes) -> None:
    """Capabilities with their interfaces and parameters, and who validated them."""
    _add_validation(root, rows, notes, None)
    number = 0
    for cap_index, capability in enumerate(children(root, "capability"), 1):
        rows["capability"].append(
            {
                "cap_index": cap_index,
                "cap_type": canonical_type(capability),
                "cap_description": notes.long(
                    first(capability, "description"), "capability/description"
                ),
                "standard_id": notes.attribute(capability, "standardID", lower=True),
            }
        )
        _add_validation(capability, rows, notes, cap_index)
        for interface in children(capability, "interface"):
            number += 1
            row = {"cap_index": cap_index, "intf_index": number} | _interface(interface, notes)
            rows["interface"].append(row)
            for param in children(interface, "param"):
                typed = {"intf_index": number} | _typed(param, notes)
                typed["param_use"] = notes.attribute(param, "use", lower=True)
                typed["param_description"] = notes.long(first(param, "description"), "param")
                del typed["type_system"]
                rows["intf_param"].append(typed)


def _add_validation(
    parent: etree._Element, rows: _Rows, notes: Notes, cap_index: int | None
) -> None:
    for level in children(parent, "validationLevel"):
        text = inner(level)
        if text not in {"0", "1", "2", "3", "4"}:
            notes.said.append(f"validationLevel: {text[:40]!r}: expected 0 to 4")
            continue
        by = notes.attribute(level, "validatedBy", lower=True)
        rows["validation"].append(
            {"validated_by": by, "val_level": int(text), "cap_index": cap_index}
        )


def _interface(interface: etree._Element, notes: Notes) -> dict[str, Any]:
    access = first(interface, "accessURL")
    methods = [method.get("standardID") for method in children(interface, "securityMethod")]
    return {
        "intf_type": canonical_type(interface),
        "intf_role": notes.attribute(interface, "role", lower=True),
        "std_version": notes.attribute(interface, "version", lower=True),
        "query_type": hash_list(
            notes.short(inner(one), "queryType", lower=True)
            for one in children(interface, "queryType")
        ),
        "result_type": notes.child(interface, "resultType", lower=True),
        "wsdl_url": notes.child(interface, "wsdlURL"),
        "url_use": None if access is None else notes.attribute(access, "use", lower=True),
        "access_url": notes.short(inner(access), "accessURL"),
        "mirror_url": hash_list(
            notes.short(inner(one), "mirrorURL") for one in children(interface, "mirrorURL")
        ),
        # A method without a name says that nobody need log in.
        "authenticated_only": int(bool(methods) and all(methods)),
    }


def _typed(element: etree._Element, notes: Notes) -> dict[str, Any]:
    """What columns and parameters have in common."""
    kind = first(element, "dataType")
    row: dict[str, Any] = {
        "name": notes.child(element, "name", lower=True),
        "ucd": notes.child(element, "ucd", lower=True),
        "unit": notes.child(element, "unit"),
        "utype": notes.child(element, "utype", lower=True),
        "std": _STD.get(element.get("std", "").strip().lower()),
        "datatype": notes.short(inner(kind), "dataType", lower=True),
        "type_system": None,
    }
    if kind is not None:
        row["extended_schema"] = notes.attribute(kind, "extendedSchema")
        row["extended_type"] = notes.attribute(kind, "extendedType")
        row["arraysize"] = notes.attribute(kind, "arraysize")
        row["delim"] = notes.attribute(kind, "delim")
        row["type_system"] = canonical_type(kind)
    return row


def add_tables(root: etree._Element, rows: _Rows, notes: Notes) -> None:
    """Schemas, tables, columns; tables outside of schemas are of VODataService 1.0."""
    for schema_index, schema in enumerate(children(root, "tableset", "schema"), 1):
        rows["res_schema"].append(
            {
                "schema_index": schema_index,
                "schema_description": notes.long(first(schema, "description"), "schema"),
                "schema_name": notes.child(schema, "name", lower=True),
                "schema_title": notes.child(schema, "title"),
                "schema_utype": notes.child(schema, "utype", lower=True),
            }
        )
        for table in children(schema, "table"):
            _add_table(table, schema_index, rows, notes)
    for table in children(root, "table"):
        _add_table(table, None, rows, notes)


def _add_table(table: etree._Element, schema_index: int | None, rows: _Rows, notes: Notes) -> None:
    table_index = len(rows["res_table"]) + 1
    rows["res_table"].append(
        {
            "schema_index": schema_index,
            "table_index": table_index,
            "table_description": notes.long(first(table, "description"), "table/description"),
            "table_name": notes.child(table, "name"),
            "table_title": notes.child(table, "title"),
            "table_type": notes.attribute(table, "type", lower=True),
            "table_utype": notes.child(table, "utype", lower=True),
        }
    )
    for column in children(table, "column"):
        row = {"table_index": table_index} | _typed(column, notes)
        row["flag"] = hash_list(notes.short(inner(one), "flag") for one in children(column, "flag"))
        row["column_description"] = notes.long(first(column, "description"), "column/description")
        rows["table_column"].append(row)


def add_details(root: etree._Element, rows: _Rows, notes: Notes) -> None:
    """What has no column of its own, as pairs of path and value."""
    cap_index = 0
    for element in root:
        capable = local_name(element) == "capability"
        cap_index += capable
        for path, value in _walk(element, f"/{local_name(element)}"):
            if text := notes.short(value, path):
                rows["res_detail"].append(
                    {
                        "cap_index": cap_index if capable else None,
                        "detail_xpath": path,
                        "detail_value": text,
                    }
                )


def _walk(element: etree._Element, path: str) -> Iterator[tuple[str, str]]:
    if path not in _DETAILS and path not in _ON_THE_WAY:
        return
    if path in _DETAILS and not len(element):
        yield path, inner(element)
    for name, value in element.attrib.items():
        if (inside := f"{path}/@{etree.QName(name).localname}") in _DETAILS:
            yield inside, str(value)
    for child in element:
        if name_of := local_name(child):
            yield from _walk(child, f"{path}/{name_of}")
