"""Broken, hostile and oversized files: told what is wrong, never a defect."""

from __future__ import annotations

import base64
import gzip
import io
import tempfile
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.uploads.support import LIMITS, read
from tests.uploads.test_roundtrip import WRITERS
from vo_service.errors import TooLargeError, UsageError
from vo_service.formats.tables_in import Limits


def votable(fields: str, data: str, before: str = "") -> bytes:
    return (
        f"<?xml version='1.0'?>{before}<VOTABLE version='1.4'><RESOURCE><TABLE>{fields}"
        f"<DATA>{data}</DATA></TABLE></RESOURCE></VOTABLE>"
    ).encode()


INT = "<FIELD name='n' datatype='int'/>"
TEXT = "<FIELD name='s' datatype='char' arraysize='*'/>"


def tabledata(fields: str, *rows: str) -> bytes:
    return votable(fields, f"<TABLEDATA>{''.join(rows)}</TABLEDATA>")


def stream(fields: str, content: bytes, kind: str = "BINARY", encoding: str = "base64") -> bytes:
    text = base64.b64encode(content).decode()
    return votable(fields, f"<{kind}><STREAM encoding='{encoding}'>{text}</STREAM></{kind}>")


BOMB = (
    "<!DOCTYPE VOTABLE [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;'>"
    "<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;'>]>"
)
EXTERNAL = "<!DOCTYPE VOTABLE [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"

BROKEN = {
    "nothing": (b"", "empty"),
    "blanks": (b" \n ", "empty"),
    "picture": (b"\x89PNG\r\n\x1a\n\0\0\0", "not known: expected VOTable, CSV"),
    "html": (b"<html><body>404</body></html>", "root element is html: expected VOTABLE"),
    "cut xml": (tabledata(INT, "<TR><TD>1</TD></TR>")[:-20], "not well-formed XML: line 1"),
    "two roots": (tabledata(INT) + b"<x/>", "not well-formed"),
    "entity bomb": (votable(TEXT, "<TABLEDATA/>", BOMB), "DOCTYPE"),
    "external entity": (votable(TEXT, "<TABLEDATA/>", EXTERNAL), "DOCTYPE"),
    "unknown entity": (tabledata(TEXT, "<TR><TD>&x;</TD></TR>"), "undefined entity"),
    "unknown encoding": (b"<?xml version='1.0' encoding='klingon'?><VOTABLE/>", "encoding"),
    "deep": (b"<VOTABLE>" + b"<RESOURCE>" * 5000, "nested more than 200"),
    "no table": (b"<VOTABLE><RESOURCE/></VOTABLE>", "no TABLE"),
    "no field": (votable("", "<TABLEDATA/>"), "no FIELD"),
    "no name": (votable("<FIELD datatype='int'/>", "<TABLEDATA/>"), "FIELD 1 has no name"),
    "type": (votable("<FIELD name='a' datatype='uint'/>", ""), "FIELD a: datatype 'uint'"),
    "arraysize": (votable("<FIELD name='a' datatype='int' arraysize='-1'/>", ""), "arraysize '-1'"),
    "same names": (tabledata(INT + INT), "2 columns are called n"),
    "few cells": (tabledata(INT + TEXT, "<TR><TD>1</TD></TR>"), "row 1 has 1 cells"),
    "bad cell": (
        tabledata(INT, "<TR><TD>1</TD></TR>", "<TR><TD>x</TD></TR>"),
        "row 2, column n: 'x' is no int",
    ),
    "large cell": (tabledata(INT, "<TR><TD>2147483648</TD></TR>"), "row 1, column n"),
    "python number": (tabledata(INT, "<TR><TD>1_0</TD></TR>"), "'1_0' is no int"),
    "elsewhere": (
        votable(INT, "<BINARY><STREAM href='file:///etc/passwd'/></BINARY>"),
        "STREAM lies elsewhere",
    ),
    "encoding": (stream(INT, b"", encoding="gzip"), "'gzip': expected base64"),
    "no base64": (votable(INT, "<BINARY><STREAM>a!b=</STREAM></BINARY>"), "not base64"),
    "half base64": (votable(INT, "<BINARY><STREAM>AAA</STREAM></BINARY>"), "not base64"),
    "odd element": (tabledata(INT, "<TABLEDATA/>"), "holds TABLEDATA: expected TR and TD"),
    "cut row": (stream(INT, b"\0\0\0\1\0\0"), "row 2: the data end within the row"),
    "negative length": (stream(TEXT, b"\xff\xff\xff\xff"), "row 1, column s: an array of -1"),
    "endless string": (stream(TEXT, b"\x7f\xff\xff\xffabc"), "row 1: the data end"),
    "no truth": (
        stream("<FIELD name='b' datatype='boolean'/>", b"X"),
        "byte 0x58 is no truth value",
    ),
    "wide rows": (
        stream("<FIELD name='a' datatype='double' arraysize='999999999x999999999'/>", b"abc"),
        "row 1: the data end",
    ),
    "no bytes": (stream("<FIELD name='a' datatype='char' arraysize='0'/>", b"abc"), "no bytes"),
    "data kind": (votable(INT, "<PARQUET/>"), "the data are PARQUET"),
    "not fits": (stream(INT, b"abc", "FITS"), "FITS table cannot be read"),
    "time": (
        tabledata("<FIELD name='t' datatype='char' arraysize='*' xtype='timestamp'/>",
                  "<TR><TD>2020-01-01</TD></TR><TR><TD>now</TD></TR>"),
        "row 2, column t: 'now' is no time",
    ),
    "point": (
        tabledata("<FIELD name='p' datatype='double' arraysize='2' xtype='point'/>",
                  "<TR><TD>1 91</TD></TR>"),
        "row 1, column p: a latitude is outside",
    ),
    "circle": (
        tabledata("<FIELD name='p' datatype='double' arraysize='3' xtype='circle'/>",
                  "<TR><TD>1 2 3</TD></TR><TR/>".replace("<TR/>", "<TR><TD>1 2 -3</TD></TR>")),
        "row 2, column p: a radius is outside",
    ),
    "polygon": (
        tabledata("<FIELD name='p' datatype='double' arraysize='*' xtype='polygon'/>",
                  "<TR><TD>1 2 3 4</TD></TR>"),
        "row 1, column p: 4 numbers do not make a polygon",
    ),
    "array length": (
        tabledata("<FIELD name='a' datatype='int' arraysize='3'/>", "<TR><TD>1 2</TD></TR>"),
        "row 1, column a: 2 elements: expected 3",
    ),
    "ragged csv": (b"a,b\n1,2\n3\n", "Expected 2 columns, got 1"),
    "latin csv": (b"a\n\xe9\n" + b"x\xff" * 3, "column a: a value is not UTF-8"),
    "latin header": (b"\xe9,b\n1,2\n", "header line is not UTF-8"),
    "same csv": (b"a,a\n1,2\n", "2 columns are called a"),
    "nameless csv": (b"a,\n1,2\n", "no name"),
    "ecsv": (b"# %ECSV 1.0\n# ---\n# x: [\na b\n", "not YAML"),
    "ecsv code": (b"# %ECSV 1.0\n# !!python/object/apply:os.system ['true']\na\n", "ECSV header"),
    "ecsv names": (
        b"# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int64}\nb\n1\n",
        "columns of the ECSV header",
    ),
    "parquet": (b"PAR1abcPAR1", "Parquet file cannot be read"),
    "fits": (b"SIMPLE  =                    T" + b" " * 2850, "FITS"),
    "gzip": (b"\x1f\x8b\x08\0abc", "gzip file is broken"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_refused_with_what_is_wrong(what: str, tmp_path: Path) -> None:
    content, said = BROKEN[what]
    with pytest.raises(UsageError, match=said) as caught:
        read(content, tmp_path)
    assert str(caught.value).startswith("upload t: ")
    assert str(tmp_path) not in str(caught.value)


def test_the_limit_of_rows_is_named(tmp_path: Path) -> None:
    rows = b"a\n" + b"1\n" * (LIMITS.rows + 1)
    with pytest.raises(TooLargeError, match="more than 2000 rows"):
        read(rows, tmp_path)
    assert read(rows[:-2], tmp_path)[0].rows == LIMITS.rows


def test_a_gzip_bomb_is_stopped_while_it_is_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(b"a\n" + b"1\n" * 5_000_000)
    assert len(bomb) < 20_000
    with pytest.raises(TooLargeError, match="more than 1000000 bytes when unpacked"):
        read(bomb, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_parquet_bomb_is_stopped_by_what_it_says_and_by_what_it_gives(tmp_path: Path) -> None:
    out = io.BytesIO()
    # Each row names the same long text: a dictionary holds it once.
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 1500, pa.int32()), ["x" * 100_000])
    pq.write_table(pa.table({"a": text}), out, compression="zstd")
    assert len(out.getvalue()) < 10_000
    with pytest.raises(TooLargeError, match="more than 1000000 bytes of values"):
        read(out.getvalue(), tmp_path)
    out = io.BytesIO()
    pq.write_table(pa.table({"a": [0] * 10_000_000}), out)
    with pytest.raises(TooLargeError, match="10000000 rows: expected at most 2000"):
        read(out.getvalue(), tmp_path)


def test_a_fits_file_that_promises_more_than_it_has_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    Table({"a": range(1000)}).write(out, format="fits")
    cut = out.getvalue()[:-2880]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UsageError, match="ends early"):
            read(cut, tmp_path)


def test_a_fits_image_is_no_table(tmp_path: Path) -> None:
    out = io.BytesIO()
    fits.PrimaryHDU(data=None).writeto(out)
    with pytest.raises(UsageError, match="no table extension"):
        read(out.getvalue(), tmp_path)


SAMPLES = {
    name: write(Table({"n": [1, 2, 3], "x": [0.5, 1.5, 2.5], "s": ["a", "bc", "d"]}))
    for name, write in WRITERS.items()
} | {"csv": b"n,x,s\n1,0.5,a\n2,1.5,bc\n", "gzip": gzip.compress(b"n\n1\n2\n")}


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good file with some bytes changed, taken out, doubled or added."""
    content = bytearray(SAMPLES[draw(st.sampled_from(sorted(SAMPLES)))])
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 40))
        content[start : start + length] = draw(
            st.one_of(
                st.binary(max_size=40),
                st.sampled_from([b"", b"<", b"</TD>", b"-1", b"\xff" * 8, b"\0" * 8, b"1e999",
                                 b"'", b'"', b"<TR>", b"nan", b"99999999999999999999"]),
                st.just(bytes(content[start : start + length]) * 2),
            )
        )  # fmt: skip
    return bytes(content)


@hypothesis_settings(max_examples=500, deadline=None)
@given(content=damaged())
def test_damage_is_read_or_refused_but_never_a_defect(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found, values = read(content, Path(place), limits=Limits(2000, 10_000_000, 2**62))
        except UsageError:
            return
        assert all(len(column) == found.rows for column in values.values())
