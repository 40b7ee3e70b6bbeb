"""What is read from each format: names, types, metadata, nulls; values worked out by hand."""

from __future__ import annotations

import base64
import datetime
import gzip
import io
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from tests.uploads.support import read
from vo_service.formats.tables_in import Limits
from vo_service.model.table import Field


def votable(fields: str, data: str) -> bytes:
    return (
        "<VOTABLE version='1.4'><DESCRIPTION>of it all</DESCRIPTION><RESOURCE><PARAM name='p' "
        f"datatype='int' value='1'/><TABLE>{fields}<DATA>{data}</DATA></TABLE>"
        f"<TABLE><FIELD name='second' datatype='int'/></TABLE></RESOURCE></VOTABLE>"
    ).encode()


def rows(*cells: tuple[str, ...]) -> str:
    inside = "".join(
        "<TR>" + "".join(f"<TD>{cell}</TD>" for cell in row) + "</TR>\n" for row in cells
    )
    return f"<TABLEDATA>\n{inside}</TABLEDATA>"


def binary(content: bytes, kind: str = "BINARY") -> str:
    text = base64.encodebytes(content).decode()  # lines of 76 characters
    return f"<{kind}><STREAM encoding='base64'>\n{text}</STREAM></{kind}>"


def one(datatype: str, cells: list[str], place: Path, **more: str) -> list[Any]:
    attributes = "".join(f" {key}='{value}'" for key, value in more.items())
    field = f"<FIELD name='x' datatype='{datatype}'{attributes}/>"
    return read(votable(field, rows(*((cell,) for cell in cells))), place)[1]["x"]


def test_metadata_of_a_field_are_kept(tmp_path: Path) -> None:
    field = (
        "<FIELD ID='i' name='RA' datatype='float' unit='deg' ucd='pos.eq.ra;meta.main' "
        "utype='a:b' xtype='x'><DESCRIPTION>Right\n ascension</DESCRIPTION>"
        "<VALUES null='-1'/></FIELD>"
    )
    found, _ = read(votable(field, rows(("1",))), tmp_path)
    assert found.fields == (
        Field(name="RA", datatype="float", unit="deg", ucd="pos.eq.ra;meta.main", utype="a:b",
              xtype="x", description="Right ascension"),
    )  # fmt: skip


def test_the_id_is_the_name_where_there_is_no_name(tmp_path: Path) -> None:
    found, _ = read(votable("<FIELD ID='i' datatype='int'/>", rows(("1",))), tmp_path)
    assert found.fields[0].name == "i"


def test_prefixes_processing_instructions_and_utf_16_are_understood(tmp_path: Path) -> None:
    text = (
        '<?xml version="1.0" encoding="utf-16"?><?x y?><!-- c --><v:VOTABLE xmlns:v="http://www.'
        'ivoa.net/xml/VOTable/v1.3"><v:RESOURCE><v:TABLE><v:FIELD name="s" datatype="unicodeChar" '
        'arraysize="*"/><v:DATA><v:TABLEDATA><v:TR><v:TD>\u661f<![CDATA[<&]]></v:TD></v:TR>'
        "</v:TABLEDATA></v:DATA></v:TABLE></v:RESOURCE></v:VOTABLE>"
    )
    assert read(text.encode("utf-16"), tmp_path)[1] == {"s": ["星<&"]}


def test_a_table_without_data_has_no_rows(tmp_path: Path) -> None:
    content = b"<VOTABLE><RESOURCE><TABLE><FIELD name='a' datatype='int'/></TABLE></RESOURCE>"
    found, values = read(content + b"</VOTABLE>", tmp_path)
    assert (found.rows, values) == (0, {"a": []})


@pytest.mark.parametrize(
    ("datatype", "more", "cells", "expected"),
    [
        ("boolean", {}, ["T", "false", "1", "?", ""], [True, False, True, None, None]),
        ("bit", {}, ["1", "0", ""], [True, False, None]),
        ("unsignedByte", {}, ["0", " 255 ", "", "0x1f"], [0, 255, None, 31]),
        ("short", {}, ["-32768", "+7", ""], [-32768, 7, None]),
        ("long", {}, ["9223372036854775807", "-1"], [2**63 - 1, -1]),
        ("float", {}, ["1.5", "NaN", "+Inf", "-Inf", ""], [1.5, None, np.inf, -np.inf, None]),
        ("double", {}, ["1e-300", " 2.5 ", ".5", "-0"], [1e-300, 2.5, 0.5, 0.0]),
        ("char", {"arraysize": "*"}, ["a b", "", " c "], ["a b", None, " c "]),
        ("char", {}, ["a", ""], ["a", None]),
        ("int", {"arraysize": "2"}, ["1 2", "", "3\n4"], [[1, 2], None, [3, 4]]),
        ("double", {"arraysize": "*"}, ["1 NaN", "", "2"], [[1.0, None], None, [2.0]]),
        ("bit", {"arraysize": "3"}, ["101", "0 1 1"], [[True, False, True], [False, True, True]]),
        ("floatComplex", {}, ["1 -2", ""], [[1.0, -2.0], None]),
        ("doubleComplex", {"arraysize": "2"}, ["1 2 3 4"], [[1.0, 2.0, 3.0, 4.0]]),
    ],
)  # fmt: skip
def test_cells_of_tabledata(
    datatype: str, more: dict[str, str], cells: list[str], expected: list[Any], tmp_path: Path
) -> None:
    found = one(datatype, cells, tmp_path, **more)
    plain = [[None if v != v else v for v in c] if isinstance(c, list) else c for c in found]
    assert plain == expected


def test_the_declared_null_is_null_in_text_and_in_bytes(tmp_path: Path) -> None:
    field = "<FIELD name='n' datatype='short'><VALUES null='-99'/></FIELD>"
    numbers = [-99, 1, -99, 2]
    packed = struct.pack(">4h", *numbers)
    flagged = b"".join(b"\0" + struct.pack(">h", n) for n in numbers)
    for data in (rows(*((str(n),) for n in numbers)), binary(packed), binary(flagged, "BINARY2")):
        assert read(votable(field, data), tmp_path)[1]["n"] == [None, 1, None, 2]


FIELDS = (
    "<FIELD name='b' datatype='boolean'/><FIELD name='s' datatype='char' arraysize='*'/>"
    "<FIELD name='u' datatype='unicodeChar' arraysize='3'/><FIELD name='d' datatype='double'/>"
    "<FIELD name='a' datatype='short' arraysize='*'/>"
    "<FIELD name='c' datatype='char' arraysize='4'/>"
    "<FIELD name='x' datatype='bit' arraysize='10'/><FIELD name='i' datatype='int'/>"
    "<FIELD name='z' datatype='floatComplex'/>"
)


def packed_row(flags: bytes) -> bytes:
    return (
        flags + b"T" + struct.pack(">i", 2) + b"hi" + "星\0\0".encode("utf-16-be")
        + struct.pack(">d", 2.5) + struct.pack(">i3h", 3, 1, -2, 3) + b"ab\0d"
        + bytes([0b10100000, 0b01000000]) + struct.pack(">i", 7) + struct.pack(">2f", 1.5, -2)
    )  # fmt: skip


ROW = {"b": True, "s": "hi", "u": "星", "d": 2.5, "a": [1, -2, 3], "c": "ab",
       "x": [c == "1" for c in "1010000001"], "i": 7, "z": [1.5, -2.0]}  # fmt: skip


def test_a_binary_row_is_read_as_the_standard_lays_it_out(tmp_path: Path) -> None:
    _, values = read(votable(FIELDS, binary(packed_row(b"") * 3)), tmp_path)
    assert values == {name: [value] * 3 for name, value in ROW.items()}


def test_the_flags_of_binary2_make_null_of_every_type(tmp_path: Path) -> None:
    # Nine columns: the first flag bit is that of the first column.
    content = packed_row(b"\0\0") + packed_row(b"\xff\x80") + packed_row(b"\x01\0")
    _, values = read(votable(FIELDS, binary(content, "BINARY2")), tmp_path)
    for name, value in ROW.items():
        assert values[name] == [value, None, None if name == "i" else value]


def test_an_empty_string_is_one_in_binary2_and_null_elsewhere(tmp_path: Path) -> None:
    field = "<FIELD name='s' datatype='char' arraysize='*'/>"
    empty = struct.pack(">i", 0)
    assert read(votable(field, binary(b"\0" + empty, "BINARY2")), tmp_path)[1]["s"] == [""]
    assert read(votable(field, binary(empty)), tmp_path)[1]["s"] == [None]
    assert read(votable(field, rows(("",))), tmp_path)[1]["s"] == [None]


def test_rows_across_the_edges_of_buffers_are_whole(tmp_path: Path) -> None:
    field = "<FIELD name='s' datatype='char' arraysize='*'/><FIELD name='n' datatype='long'/>"
    texts = ["x" * (n % 5000) for n in range(2000)]  # 5 MB, more than one buffer
    content = b"".join(
        struct.pack(">i", len(t)) + t.encode() + struct.pack(">q", n) for n, t in enumerate(texts)
    )
    large = Limits(2000, 10_000_000, 2**62)
    _, values = read(votable(field, binary(content)), tmp_path, limits=large)
    assert values["s"] == [text or None for text in texts]
    assert values["n"] == list(range(2000))


def test_bytes_that_are_no_utf_8_are_latin_1(tmp_path: Path) -> None:
    field = "<FIELD name='s' datatype='char' arraysize='2'/>"
    found, values = read(votable(field, binary(b"\xe9\0ab")), tmp_path)
    assert values["s"] == ["é", "ab"]
    assert found.fields[0].datatype == "unicodeChar"  # what char cannot hold


def test_lists_of_strings_keep_their_shape(tmp_path: Path) -> None:
    field = "<FIELD name='s' datatype='char' arraysize='3x2'/>"
    found, values = read(votable(field, binary(b"a\0\0bcd")), tmp_path)
    assert (values["s"], found.fields[0].arraysize) == (["a  bcd"], "3x2")


def test_times_become_times(tmp_path: Path) -> None:
    cells = [
        "2020-02-29",
        "2020-01-01T10:20:30.25Z",
        "1999-12-31 23:59",
        "",
        "2000-01-01T00:00:00.1234567",
    ]
    found = one("char", cells, tmp_path, arraysize="*", xtype="timestamp")
    assert found == [
        datetime.datetime(2020, 2, 29),
        datetime.datetime(2020, 1, 1, 10, 20, 30, 250_000),
        datetime.datetime(1999, 12, 31, 23, 59),
        None,
        datetime.datetime(2000, 1, 1, 0, 0, 0, 123_456),
    ]


def test_fits_inside_a_votable_is_read(tmp_path: Path) -> None:
    out = io.BytesIO()
    table = fits.BinTableHDU.from_columns([fits.Column("other", "J", array=[1, 2])])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(out)
    field = "<FIELD name='n' datatype='int' unit='m'/>"
    found, values = read(votable(field, binary(out.getvalue(), "FITS")), tmp_path)
    assert (values, found.fields[0].unit) == ({"n": [1, 2]}, "m")


def test_gzip_is_unpacked(tmp_path: Path) -> None:
    assert read(gzip.compress(b"a,b\n1,x\n"), tmp_path)[1] == {"a": [1], "b": ["x"]}


def test_csv_finds_its_types_in_all_rows(tmp_path: Path) -> None:
    content = (
        b"i,f,s,b,t,none,mixed\r\n1,1.5,a,true,2020-01-01T00:00:00,,1\r\n"
        b',NaN,"b, ""c""\r\nd",false,2020-01-01T00:00:00.5,,x\r\n'
    )
    found, values = read(content, tmp_path)
    assert [(f.datatype, f.arraysize, f.xtype) for f in found.fields] == [
        ("long", None, None), ("double", None, None), ("char", "*", None), ("boolean", None, None),
        ("char", "*", "timestamp"), ("char", "*", None), ("char", "*", None),
    ]  # fmt: skip
    assert values == {
        "i": [1, None],
        "f": [1.5, None],
        "s": ["a", 'b, "c"\r\nd'],
        "b": [True, False],
        "t": [datetime.datetime(2020, 1, 1), datetime.datetime(2020, 1, 1, 0, 0, 0, 500_000)],
        "none": [None, None],
        "mixed": ["1", "x"],
    }


def test_tabs_are_seen_or_told(tmp_path: Path) -> None:
    assert read(b"a\tb\n1\t2\n", tmp_path)[1] == {"a": [1], "b": [2]}
    assert read(b"a,b\n1,2\n", tmp_path, "text/tab-separated-values")[1] == {"a,b": ["1,2"]}


def test_ecsv_says_its_types_and_units(tmp_path: Path) -> None:
    content = (
        b"# %ECSV 1.0\n# ---\n# datatype:\n"
        b"# - {name: ra, unit: deg, datatype: float32, description: Right ascension}\n"
        b"# - {name: name, datatype: string}\n"
        b"# - {name: a, datatype: string, subtype: 'int64[2]'}\n"
        b"# - {name: v, datatype: string, subtype: 'float64[null]'}\n"
        b"# meta: !!omap\n# - {x: !astropy.units.Unit {unit: m}}\n# schema: astropy-2.0\n"
        b'ra name a v\n1.5 "a b" [1,2] [1.5]\n"" "" [3,4] []\n'
    )
    found, values = read(content, tmp_path)
    assert found.fields[0] == Field(
        name="ra", datatype="float", unit="deg", description="Right ascension"
    )
    assert values == {"ra": [1.5, None], "name": ["a b", None], "a": [[1, 2], [3, 4]],
                      "v": [[1.5], []]}  # fmt: skip


def test_fits_nulls_units_and_scaling(tmp_path: Path) -> None:
    columns = fits.ColDefs(
        [
            fits.Column("n", "J", null=-1, array=np.array([1, -1, 3])),
            fits.Column("u", "I", bzero=32768, array=np.array([0, 40000, 65535], "u2")),
            fits.Column("x", "E", unit="deg", array=np.array([1.5, np.nan, 2])),
            fits.Column("s", "5A", array=["ab", "", "abcde"]),
            fits.Column("v", "PD()", array=np.array([[1.0], [], [2.0, 3.0]], object)),
            fits.Column("l", "L", array=[True, False, True]),
            fits.Column("m", "4J", dim="(2,2)", array=np.arange(12).reshape(3, 2, 2)),
        ]
    )
    hdu = fits.BinTableHDU.from_columns(columns)
    hdu.header["TUCD3"] = "pos.eq.ra"
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((2, 2))), hdu]).writeto(out)
    found, values = read(out.getvalue(), tmp_path)
    assert values == {
        "n": [1, None, 3],
        "u": [0, 40000, 65535],
        "x": [1.5, None, 2.0],
        "s": ["ab", None, "abcde"],
        "v": [[1.0], None, [2.0, 3.0]],
        "l": [True, False, True],
        "m": [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]],
    }
    assert (found.fields[2].unit, found.fields[2].ucd) == ("deg", "pos.eq.ra")
    assert [f.arraysize for f in found.fields] == [None, None, None, "*", "*", None, "2x2"]


def test_a_fits_table_without_rows_has_its_columns(tmp_path: Path) -> None:
    columns = [fits.Column("n", "J", array=[]), fits.Column("v", "PE()", array=[]),
               fits.Column("s", "4A", array=[])]  # fmt: skip
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(out)
    found, values = read(out.getvalue(), tmp_path)
    assert values == {"n": [], "v": [], "s": []}
    assert [f.datatype for f in found.fields] == ["int", "float", "char"]


def test_unknown_logicals_and_complex_numbers_of_fits(tmp_path: Path) -> None:
    columns = [fits.Column("l", "L", array=np.array([True, False, True])),
               fits.Column("c", "C", array=np.array([1 + 2j, 0, -1j], "c8")),
               fits.Column("q", "QI()", array=np.array([[1], [], [2, 3]], object)),
               fits.Column("w", "6A", dim="(3,2)", array=np.array([["ab", "c"]] * 3))]  # fmt: skip
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(out)
    content = out.getvalue()
    _, values = read(content, tmp_path)
    assert values["c"] == [[1.0, 2.0], [0.0, 0.0], [0.0, -1.0]]
    assert values["q"] == [[1], None, [2, 3]]
    assert values["w"] == ["ab c  "] * 3
    start = content.index(b"T\x3f\x80")  # the first row: true, then 1.0
    _, values = read(content[:start] + b"\0" + content[start + 1 :], tmp_path)
    assert values["l"] == [None, False, True]


def test_an_ascii_table_of_fits_is_read(tmp_path: Path) -> None:
    hdu = fits.TableHDU.from_columns(
        [fits.Column("n", "I6", array=[1, 22], ascii=True),
         fits.Column("x", "F8.3", array=[1.5, -2.25], ascii=True),
         fits.Column("s", "A4", array=["ab", "c"], ascii=True)]
    )  # fmt: skip
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(out)
    assert read(out.getvalue(), tmp_path)[1] == {"n": [1, 22], "x": [1.5, -2.25], "s": ["ab", "c"]}


def test_parquet_types_and_metadata(tmp_path: Path) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=9))
    table = pa.table(
        {
            "i": pa.array([1, None], pa.uint8()),
            "t": pa.array([datetime.datetime(2020, 1, 1, 9, tzinfo=zone), None],
                          pa.timestamp("ns", "Asia/Tokyo")),
            "d": pa.array([datetime.date(2020, 1, 2), None]),
            "l": pa.array([[1, 2], None], pa.list_(pa.int32())),
            "k": pa.array(["x", None]).dictionary_encode(),
            "n": pa.array([[1.0, None], []], pa.large_list(pa.float32())),
        }
    )  # fmt: skip
    unit = pa.field("i", pa.uint8(), metadata={"unit": "ct", "ucd": "phot.count"})
    out = io.BytesIO()
    pq.write_table(table.cast(table.schema.set(0, unit)), out)
    found, values = read(out.getvalue(), tmp_path)
    assert values["i"] == [1, None]
    assert values["t"] == [datetime.datetime(2020, 1, 1), None]  # UTC
    assert values["d"] == [datetime.datetime(2020, 1, 2), None]
    assert (values["l"], values["k"]) == ([[1, 2], None], ["x", None])
    assert values["n"][0][0] == 1.0
    assert (found.fields[0].unit, found.fields[0].ucd) == ("ct", "phot.count")
    assert [f.datatype for f in found.fields] == ["short", "char", "char", "int", "char", "float"]


def test_voparquet_says_what_columns_are(tmp_path: Path) -> None:
    header = votable("<FIELD name='x' datatype='double' unit='Jy' ucd='phot.flux'/>", "")
    schema = pa.schema([pa.field("x", pa.float64())],
                       metadata={"IVOA.VOTable-Parquet.content": header})  # fmt: skip
    out = io.BytesIO()
    pq.write_table(pa.table({"x": [1.0]}, schema=schema), out)
    found, _ = read(out.getvalue(), tmp_path)
    assert found.fields == (Field(name="x", datatype="double", unit="Jy", ucd="phot.flux"),)


def test_a_hundred_thousand_rows_take_less_than_three_seconds(tmp_path: Path) -> None:
    count = 100_000
    fields = (
        "<FIELD name='ra' datatype='double'/><FIELD name='dec' datatype='double'/>"
        "<FIELD name='s' datatype='char' arraysize='*'/>"
    )
    ra = np.linspace(0, 360, count)
    cells = rows(*((repr(float(a)), "1.5", f"o{n}") for n, a in enumerate(ra)))
    packed = b"".join(struct.pack(">ddi", a, 1.5, 6) + b"object" for a in ra)
    large = Limits(count, 100_000_000, 2**62)
    for data in (cells, binary(packed)):
        content = votable(fields, data)
        started = time.process_time()
        found, values = read(content, tmp_path, limits=large)
        assert time.process_time() - started < 3
        assert (found.rows, values["ra"][-1]) == (count, 360.0)
