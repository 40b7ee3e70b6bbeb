"""Random tables through the writers and back through readers that share nothing with them."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import math
import struct
from collections.abc import AsyncIterator
from typing import Any

import pyarrow as pa
from astropy.io.votable import parse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.support import validate
from vo_service.formats.votable import Info, Serialization, votable
from vo_service.formats.xmltext import legal
from vo_service.model.table import Field, Rows

NS = {"v": "http://www.ivoa.net/xml/VOTable/v1.3"}

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_ASCII = st.text(st.characters(max_codepoint=127), max_size=12)
_DOUBLE = st.floats()

#: (datatype, arraysize): values, and the Arrow types in which they may arrive.
KINDS: dict[tuple[str, str | None], tuple[st.SearchStrategy[Any], list[Any]]] = {
    ("boolean", None): (st.booleans(), [pa.bool_()]),
    ("short", None): (st.integers(-(2**15), 2**15 - 1), [pa.int16(), pa.int32(), pa.int64()]),
    ("int", None): (st.integers(-(2**31), 2**31 - 1), [pa.int32(), pa.int64()]),
    ("long", None): (st.integers(-(2**63), 2**63 - 1), [pa.int64()]),
    ("float", None): (st.floats(width=32), [pa.float32(), pa.float64()]),
    ("double", None): (_DOUBLE, [pa.float64()]),
    ("char", "*"): (_ASCII, [pa.string(), pa.large_string()]),
    ("unicodeChar", "*"): (_TEXT, [pa.string(), pa.large_string()]),
    ("double", "3"): (st.lists(_DOUBLE, min_size=3, max_size=3), [pa.list_(pa.float64())]),
    ("double", "*"): (st.lists(_DOUBLE, max_size=5), [pa.list_(pa.float64())]),
}
_NUMBERS = {"short": "h", "int": "i", "long": "q", "float": "f", "double": "d"}


@st.composite
def tables(draw: st.DrawFn) -> tuple[tuple[Field, ...], list[list[Any]], list[pa.RecordBatch]]:
    """Fields, columns of values, and the same as batches with offsets."""
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS, key=str)), min_size=1, max_size=11))
    count = draw(st.integers(0, 12))
    fields, columns, arrays = [], [], []
    for number, kind in enumerate(kinds):
        values, arrow = KINDS[kind]
        column = draw(st.lists(st.none() | values, min_size=count, max_size=count))
        fields.append(Field(name=f"c{number}", datatype=kind[0], arraysize=kind[1]))
        columns.append(column)
        arrays.append(pa.array(column, draw(st.sampled_from(arrow))))
    whole = pa.RecordBatch.from_arrays(arrays, names=[field.name for field in fields])
    cuts = sorted(draw(st.lists(st.integers(0, count), max_size=3)))
    edges = [0, *cuts, count]
    batches = [whole.slice(a, b - a) for a, b in itertools.pairwise(edges)]
    return tuple(fields), columns, batches


def written(
    fields: tuple[Field, ...], batches: list[pa.RecordBatch], serialization: Serialization
) -> bytes:
    async def source() -> AsyncIterator[pa.RecordBatch]:
        for batch in batches:
            yield batch

    async def collect() -> bytes:
        rows = Rows(fields, source())
        return b"".join([part async for part in votable(rows, serialization=serialization)])

    return asyncio.run(collect())


def decoded_binary2(fields: tuple[Field, ...], stream: io.BytesIO) -> list[list[Any]]:
    """Rows of a BINARY2 stream, one value after the other, as the standard words it."""

    def number(code: str) -> Any:
        return struct.unpack(f">{code}", stream.read(struct.calcsize(code)))[0]

    def value(field: Field) -> Any:
        if field.datatype == "boolean":
            return {b"T": True, b"F": False, b"?": None}[stream.read(1)]
        if field.datatype == "char":
            return stream.read(number("i")).decode("ascii")
        if field.datatype == "unicodeChar":
            return stream.read(2 * number("i")).decode("utf-16-be")
        code = _NUMBERS[field.datatype]
        if field.arraysize is None:
            return number(code)
        count = number("i") if field.arraysize == "*" else int(field.arraysize)
        return [number(code) for _ in range(count)]

    rows = []
    while flags := stream.read((len(fields) + 7) // 8):
        row = [value(field) for field in fields]
        for index in range(len(fields)):
            if flags[index // 8] >> (7 - index % 8) & 1:
                row[index] = None
        rows.append(row)
    return rows


def same(first: Any, second: Any) -> bool:
    """Equal, with NaN equal to NaN and the sign of zero telling."""
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, float) and isinstance(second, float):
        return struct.pack("d", first) == struct.pack("d", second) or (
            math.isnan(first) and math.isnan(second)
        )
    return bool(first == second)


@given(tables())
@settings(deadline=None, max_examples=150)
def test_binary2_gives_back_every_value_and_every_null(
    table: tuple[tuple[Field, ...], list[list[Any]], list[pa.RecordBatch]],
) -> None:
    fields, columns, batches = table
    text = etree.fromstring(written(fields, batches, "BINARY2")).findtext(".//v:STREAM", None, NS)
    rows = decoded_binary2(fields, io.BytesIO(base64.b64decode(text or "")))
    assert len(rows) == len(columns[0])
    for number, row in enumerate(rows):
        assert same(row, [column[number] for column in columns])


def _cell(field: Field, text: str) -> Any:
    """A TABLEDATA cell as the standard words it; an empty one is null or nothing."""
    if field.datatype in ("char", "unicodeChar"):
        return text
    if text == "":
        return None
    if field.datatype == "boolean":
        return {"true": True, "false": False}[text]
    if field.datatype in ("float", "double"):
        values = [float(word) for word in text.split()]
        return values if field.arraysize else values[0]
    return int(text)


@given(tables())
@settings(deadline=None, max_examples=150)
def test_tabledata_gives_back_every_value(
    table: tuple[tuple[Field, ...], list[list[Any]], list[pa.RecordBatch]],
) -> None:
    fields, columns, batches = table
    root = etree.fromstring(written(fields, batches, "TABLEDATA"))
    rows = root.findall(".//v:TR", NS)
    assert len(rows) == len(columns[0])
    for number, row in enumerate(rows):
        for field, column, cell in zip(fields, columns, row, strict=True):
            read, value = _cell(field, cell.text or ""), column[number]
            if field.datatype in ("char", "unicodeChar"):
                assert read == legal(value or "")
            elif field.datatype == "float" and value is not None:
                assert same(struct.unpack("f", struct.pack("f", read))[0], value)
            else:
                assert same(read, value or None if isinstance(value, list) else value)


@given(tables(), st.sampled_from(["BINARY", "BINARY2", "TABLEDATA"]))
@settings(deadline=None, max_examples=40)
def test_astropy_reads_every_table(
    table: tuple[tuple[Field, ...], list[list[Any]], list[pa.RecordBatch]],
    serialization: Serialization,
) -> None:
    fields, columns, batches = table
    document = written(fields, batches, serialization)
    read = parse(io.BytesIO(document)).get_first_table().array
    assert len(read) == len(columns[0])
    for field, column in zip(fields, columns, strict=True):
        for got, value in zip(read[field.name].tolist(), column, strict=True):
            if field.datatype == "long" and value is not None and value != -(2**63):
                assert got == value
            if field.datatype == "unicodeChar" and serialization != "TABLEDATA":
                assert got == (value or "")


@given(st.text(), st.text(), st.text())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_of_a_client_breaks_the_document(name: str, value: str, text: str) -> None:
    fields = (Field(name=name, datatype="int", description=text, unit=value),)

    async def nothing() -> AsyncIterator[pa.RecordBatch]:
        return
        yield

    async def collect() -> bytes:
        infos = [Info(name, value, text)]
        return b"".join([part async for part in votable(Rows(fields, nothing()), infos=infos)])

    validate(asyncio.run(collect()), "VOTable-v1.4.xsd")
