"""VOTable documents: results as they arrive, and errors.

Source: VOTable 1.4 (whose namespace ends in v1.3); DALI 1.1, "Use of VOTable".
Positions in results are ICRS, times MJD in UTC: the model knows no others.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import lru_cache
from typing import Literal, Protocol

import pyarrow as pa
from lxml import etree

from vo_service.formats.binary import NULL_INTEGERS, BinaryEncoder
from vo_service.formats.encoder import (
    Encoder,
    Ending,
    Heading,
    Info,
    Input,
    ServiceDescriptor,
    encoded,
)
from vo_service.formats.tabledata import TableDataEncoder
from vo_service.formats.xmltext import add, document
from vo_service.model.table import Field, Rows

__all__ = [
    "Info",
    "Serialization",
    "VOTableEncoder",
    "cone_error",
    "error_votable",
    "votable",
    "votable_metadata",
]

Serialization = Literal["BINARY2", "TABLEDATA", "BINARY"]

_NAMESPACE = "http://www.ivoa.net/xml/VOTable/v1.3"
_SPACE_ID, _TIME_ID = "ICRS", "MJD_UTC"
_PLACES = frozenset({"point", "circle", "polygon", "adql:REGION"})
_NOT_ASCII = (
    "'?' stands for characters outside ASCII in {}; RESPONSEFORMAT=votable/td and the formats "
    "that are not VOTable or FITS have them"
)
_NCNAME = re.compile("[A-Za-z_][A-Za-z0-9_.-]*")


class _Data(Protocol):
    opening: bytes

    @property
    def altered(self) -> tuple[str, ...]: ...

    def encode(self, batch: pa.RecordBatch) -> bytes: ...

    def end(self) -> bytes: ...


class VOTableEncoder(Encoder):
    """Record batches to a VOTable.

    ``char`` is ASCII in BINARY and BINARY2 (others become ``?``, which a closing INFO tells:
    astropy reads no other), UTF-8 in TABLEDATA; ``unicodeChar`` holds everything.

    An overflow or failure is told in an INFO after the table (DALI 1.1, "Overflow", "Error").
    """

    def __init__(self, heading: Heading, serialization: Serialization = "BINARY2") -> None:
        fields = heading.fields
        self._data: _Data
        if serialization == "TABLEDATA":
            self._data = TableDataEncoder(fields)
        else:
            self._data = BinaryEncoder(fields, flags=serialization == "BINARY2")
        parts = _parts(
            fields, tuple(heading.services), tuple(heading.params), serialization == "BINARY"
        )
        before, between, self._end_of_table, self._end = parts
        infos = (b"\n    " + _written(info) for info in heading.infos)  # as far in as their parent
        self._before = b"".join((before, *infos, between))

    def begin(self) -> bytes:
        """Everything up to the data."""
        return self._before + self._data.opening

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """A slice of the data."""
        return self._data.encode(batch)

    def end(self, ending: Ending) -> Iterable[bytes]:
        """The end of the data, how it ended, and the end of the document."""
        infos = []
        if self._data.altered:
            names = ", ".join(self._data.altered)
            infos.append(Info("warning", "not ASCII", _NOT_ASCII.format(names)))
        if ending.status != "OK":
            infos.append(Info("QUERY_STATUS", ending.status, ending.message))
        late = b"".join(map(_written, infos))
        return [self._data.end() + self._end_of_table + late + self._end]


def votable(
    rows: Rows,
    *,
    serialization: Serialization = "BINARY2",
    infos: Sequence[Info] = (),
    services: Sequence[ServiceDescriptor] = (),
) -> AsyncIterator[bytes]:
    """*rows* as a VOTable while they arrive; see `encoded`."""
    return encoded(rows, VOTableEncoder(Heading(rows.fields, infos, services), serialization))


def votable_metadata(heading: Heading, ending: Ending) -> bytes:
    """A VOTable of a result without its data, for formats that carry one as metadata."""
    root, table = _tree(heading)
    resource = table.getparent()
    if resource is not None and ending.status != "OK":
        _add_info(resource, Info("QUERY_STATUS", ending.status, ending.message))
    return document(root)


def error_votable(message: str, infos: Sequence[Info] = ()) -> bytes:
    """The document that tells an error (DALI 1.1, "Error Response")."""
    root, resource = _resource()
    for info in (Info("QUERY_STATUS", "ERROR", message), *infos):
        _add_info(resource, info)
    return document(root)


def cone_error(message: str) -> bytes:
    """The document that tells an error of a cone search (Simple Cone Search 1.03, section 2)."""
    root, resource = _resource()
    info = Info("Error", message)
    root.insert(0, _add_info(resource, info))
    return document(root)


@lru_cache(256)
def _parts(
    fields: tuple[Field, ...],
    services: tuple[ServiceDescriptor, ...],
    params: tuple[Input, ...],
    nulls: bool,
) -> tuple[bytes, bytes, bytes, bytes]:
    """A document without INFOs and data, cut where those stand and after the table.

    Most answers have columns that others had before.
    """
    root, table = _tree(Heading(fields, services=services, params=params), nulls=nulls)
    add(table, "DATA")
    # Text cannot hold a bare "<".
    before, after = document(root).split(b"<DATA/>")
    end_of_table, end = after.split(b"</TABLE>")
    head, ok, between = before.partition(_written(Info("QUERY_STATUS", "OK")))
    return head + ok, between + b"<DATA>", b"</DATA>" + end_of_table + b"</TABLE>", end


def _tree(heading: Heading, *, nulls: bool = False) -> tuple[etree._Element, etree._Element]:
    """The document without data, and its TABLE; *nulls* declares what null integers are."""
    fields = heading.fields
    root, resource = _resource()
    for info in (Info("QUERY_STATUS", "OK"), *heading.infos):
        _add_info(resource, info)
    references = [_reference(field) for field in fields]
    if _SPACE_ID in references:
        add(resource, "COOSYS", ID=_SPACE_ID, system="ICRS")
    if _TIME_ID in references:
        frame = {"timeorigin": "MJD-origin", "timescale": "UTC", "refposition": "TOPOCENTER"}
        add(resource, "TIMESYS", ID=_TIME_ID, **frame)
    for param in heading.params:
        _add_input(resource, param)
    table = add(resource, "TABLE")
    identifiers = _identifiers(fields)
    for field, identifier in zip(fields, identifiers, strict=True):
        element = _add_field(table, field, identifier, _reference(field))
        if nulls and field.datatype in NULL_INTEGERS and not field.arraysize:
            add(element, "VALUES", null=str(NULL_INTEGERS[field.datatype]))
    for service in heading.services:
        if service.column is None or service.column in identifiers:
            _add_service(root, service)
    return root, table


def _add_service(root: etree._Element, service: ServiceDescriptor) -> None:
    """DataLink 1.1, "Service Descriptors"."""
    kind = {"utype": "adhoc:this", "name": "this"} if service.this else {"utype": "adhoc:service"}
    attributes = {"ID": service.identifier, "type": "meta", **kind}
    resource = etree.SubElement(root, "RESOURCE", attributes)
    if service.description:
        add(resource, "DESCRIPTION", service.description)
    text = {"datatype": "char", "arraysize": "*"}
    add(resource, "PARAM", name="standardID", value=service.standard_id, **text)
    add(resource, "PARAM", name="accessURL", value=service.access_url, **text)
    group = add(resource, "GROUP", name="inputParams")
    if not service.this:
        add(
            group,
            "PARAM",
            name=service.parameter,
            ucd=service.ucd,
            value=service.value,
            ref=service.column,
            **text,
        )
    for given in service.inputs:
        _add_input(group, given)


def _add_input(group: etree._Element, given: Input) -> None:
    param = add(
        group,
        "PARAM",
        name=given.name,
        datatype=given.datatype,
        arraysize=given.arraysize,
        xtype=given.xtype,
        unit=given.unit,
        ucd=given.ucd,
        value="",
    )
    if given.description:
        add(param, "DESCRIPTION", given.description)
    if given.minimum is None and given.maximum is None and not given.options:
        return
    values = add(param, "VALUES")
    for tag, value in (("MIN", given.minimum), ("MAX", given.maximum)):
        if value is not None:
            add(values, tag, value=value)
    for option in given.options:
        add(values, "OPTION", value=option)


def _resource() -> tuple[etree._Element, etree._Element]:
    # The namespace is only written, not known to lxml: so parts can be serialised alone.
    root = etree.Element("VOTABLE", {"version": "1.4", "xmlns": _NAMESPACE})
    return root, add(root, "RESOURCE", type="results")


def _add_field(
    table: etree._Element, field: Field, identifier: str | None, reference: str | None
) -> etree._Element:
    element = add(
        table,
        "FIELD",
        ID=identifier,
        name=field.name,
        ucd=field.ucd,
        utype=field.utype,
        datatype=field.datatype,
        arraysize=field.arraysize,
        xtype=field.xtype,
        unit=field.unit,
        ref=reference,
    )
    if field.description:
        add(element, "DESCRIPTION", field.description)
    return element


def _add_info(resource: etree._Element, info: Info) -> etree._Element:
    return add(resource, "INFO", info.text, name=info.name, value=info.value, ucd=info.ucd)


@lru_cache(256)
def _written(info: Info) -> bytes:
    """Most are those of every answer."""
    return etree.tostring(_add_info(etree.Element("RESOURCE"), info), encoding="utf-8")


def _identifiers(fields: tuple[Field, ...]) -> list[str | None]:
    """The name as ID where XML allows it and it is the first of its kind, else none.

    astropy takes the ID for the name of a column, so no other ID is invented.
    """
    taken = {_SPACE_ID, _TIME_ID}
    identifiers: list[str | None] = []
    for field in fields:
        usable = _NCNAME.fullmatch(field.name) is not None and field.name not in taken
        taken.add(field.name)
        identifiers.append(field.name if usable else None)
    return identifiers


def _reference(field: Field) -> str | None:
    """ID of the frame in which *field* is to be read, by its UCD, unit and xtype."""
    word = (field.ucd or "").split(";")[0].lower()
    if word.startswith(("pos.eq", "pos.outline")) or field.xtype in _PLACES:
        return _SPACE_ID
    if word in {"time.start", "time.end", "time.epoch"} and field.unit == "d":
        return _TIME_ID
    return None
