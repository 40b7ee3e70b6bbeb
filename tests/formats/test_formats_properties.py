"""Random tables through every format and back, through readers that share nothing with it."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sqlite3
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import html

from tests.formats.results import field, written
from tests.formats.test_votable_properties import same, tables
from vo_service.errors import VOError
from vo_service.formats.encoder import Info
from vo_service.formats.output import FORMATS
from vo_service.formats.xmltext import legal
from vo_service.model.table import Field

RandomTable = tuple[tuple[Field, ...], list[list[Any]], list[pa.RecordBatch]]
TEXT = ("char", "unicodeChar")

checked = settings(deadline=None, max_examples=100)


def expect(table: RandomTable, rows: list[list[Any]], read_as: Callable[[Field, Any], Any]) -> None:
    """*rows* are those of *table*, but for what *read_as* says of a value."""
    fields, columns, _ = table
    assert len(rows) == len(columns[0])
    for number, row in enumerate(rows):
        for of, column, got in zip(fields, columns, row, strict=True):
            wanted = read_as(of, column[number])
            if of.datatype == "float" and isinstance(got, float):
                got = struct.unpack("f", struct.pack("f", got))[0]  # noqa: PLW2901 - as the column holds it
            assert same(got, wanted), (of, got, wanted)


def from_words(of: Field, cell: str) -> Any:
    if of.datatype in TEXT:
        return cell
    if of.datatype == "boolean":
        return {"true": True, "false": False}[cell]
    number = float if of.datatype in ("float", "double") else int
    return [number(word) for word in cell.split()] if of.arraysize else number(cell)


@given(tables())
@checked
def test_parquet_and_arrow_give_back_every_value(table: RandomTable) -> None:
    fields, _, batches = table
    for read in (
        pq.read_table(io.BytesIO(written("parquet", fields, *batches))),
        pa.ipc.open_stream(written("arrow", fields, *batches)).read_all(),
    ):
        rows = [list(row) for row in zip(*(c.to_pylist() for c in read.columns), strict=True)]
        expect(table, rows, lambda _, value: value)


@given(tables())
@checked
def test_json_gives_back_every_value_but_what_is_not_finite(table: RandomTable) -> None:
    fields, _, batches = table
    read = json.loads(
        written("json", fields, *batches),
        parse_constant=lambda word: 1 / 0,
        parse_int=lambda word: -0.0 if word == "-0" else int(word),  # Python's drops the sign
    )

    def finite(of: Field, value: Any) -> Any:
        if isinstance(value, list):
            return [finite(of, element) for element in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    def typed(of: Field, value: Any) -> Any:  # 1.0 may be written as 1
        if isinstance(value, list):
            return [typed(of, element) for element in value]
        return float(value) if of.datatype in ("float", "double") and value is not None else value

    rows = [[typed(*pair) for pair in zip(fields, row, strict=True)] for row in read["data"]]
    expect(table, rows, finite)


@given(tables())
@checked
def test_csv_gives_back_every_value(table: RandomTable) -> None:
    fields, _, batches = table
    text = written("csv", fields, *batches).decode()
    _, *lines = csv.reader(io.StringIO(text, newline=""))
    rows = [
        [from_words(f, cell) if cell else None for f, cell in zip(fields, line, strict=True)]
        for line in lines
    ]
    expect(table, rows, lambda _, value: value or None if value in ("", []) else value)


@given(tables())
@checked
def test_tsv_gives_back_every_value_with_spaces_for_tabs(table: RandomTable) -> None:
    fields, _, batches = table
    lines = written("tsv", fields, *batches).decode().split("\n")[1:-1]
    cells = [zip(fields, line.split("\t"), strict=True) for line in lines]
    rows = [[from_words(f, cell) if cell else None for f, cell in line] for line in cells]

    def flat(_: Field, value: Any) -> Any:
        return (re.sub("[\t\r\n]", " ", value) if isinstance(value, str) else value) or (
            value if value in (0, False) and not isinstance(value, list | str) else None
        )

    expect(table, rows, flat)


@given(tables())
@checked
def test_sqlite_gives_back_every_value_but_nan(table: RandomTable) -> None:
    fields, _, batches = table
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(written("sqlite", fields, *batches))
        found = sqlite3.connect(file.name)
        stored = found.execute("SELECT * FROM result ORDER BY rowid").fetchall()
        found.close()
    rows = []
    for row in stored:
        pairs = list(zip(fields, row, strict=True))
        rows.append([from_words(f, v) if f.arraysize and v is not None else v for f, v in pairs])

    def kept(_: Field, value: Any) -> Any:
        if isinstance(value, float):  # SQLite keeps whole numbers as integers
            return None if math.isnan(value) else value or 0.0
        return value

    expect(table, rows, kept)


@given(tables())
@checked
def test_html_shows_every_value(table: RandomTable) -> None:
    fields, _, batches = table
    page = html.fromstring(written("html", fields, *batches))
    rows = []
    for tr in page.iterfind(".//tbody/tr"):
        cells = ["".join(map(str, td.itertext())) for td in tr]
        rows.append([from_words(f, c) if c else None for f, c in zip(fields, cells, strict=True)])

    def shown(_: Field, value: Any) -> Any:
        return legal(value) or None if isinstance(value, str) else None if value == [] else value

    expect(table, rows, shown)


@given(tables())
@settings(deadline=None, max_examples=60)
def test_astropy_reads_the_same_from_fits(table: RandomTable) -> None:
    fields, columns, batches = table
    content = written("fits", fields, *batches)
    with fits.open(io.BytesIO(content), logical_as_bytes=True) as found:
        found[1].verify("exception")
        data, described = found[1].data, found[1].columns
        for of, column in zip(fields, columns, strict=True):
            null = described[of.name].null
            for got, value in zip(data[of.name], column, strict=True):
                if of.datatype in TEXT:
                    # FITS: printable ASCII, and no trailing spaces.
                    assert got == re.sub("[^ -~]", "?", value or "").rstrip(" ")
                elif of.datatype == "boolean":
                    assert got == {True: b"T", False: b"F", None: b""}[value]
                elif of.arraysize:
                    absent = [] if of.arraysize == "*" else [math.nan] * 3
                    assert same(list(map(float, got)), absent if value is None else value)
                elif value is None:
                    assert np.isnan(got) if null is None else got == null
                else:
                    assert same(got.item(), value)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(), st.sampled_from(FORMATS))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_name_and_no_message_breaks_a_writer(name: str, text: str, known: Any) -> None:
    shown = text.encode("utf-8", "replace").decode()
    fields = (field(name, "int", None, unit=shown, description=shown), field("t", "char", "*"))
    batch = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([shown])], names=["a", "b"])
    failure = None if known.suffix in ("csv", "tsv") else VOError(shown)
    infos = [Info("query", shown)]
    assert written(known.media_type, fields, batch, infos=infos, failure=failure)
