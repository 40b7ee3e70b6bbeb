"""Every format of RESPONSEFORMAT, read back by programs that did not write it."""

from __future__ import annotations

import csv
import io
import json
import math
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from astropy.io import ascii as ascii_tables
from astropy.io import fits
from astropy.io.votable import parse
from lxml import etree, html

from tests.formats.results import batch_of, field, written
from tests.formats.test_votable import ALL, NS, VALUES, all_types, obscore_batch, stilts
from tests.support import validate
from vo_service.errors import TransientError, UsageError, VOError
from vo_service.formats.encoder import Info
from vo_service.formats.output import FORMATS, output_format
from vo_service.model.obscore import OBSCORE
from vo_service.model.table import Field

INFOS = (Info("publisher", "The <Observatory>"), Info("query", 'SELECT "é"\n<b>'))
NAMES = ["votable/b2", "votable/td", "votable/b", "csv", "tsv", "fits", "parquet", "arrow"]
NAMES += ["json", "text", "html", "sqlite"]
#: Formats that can say how the result ended.
TELLING = [name for name in NAMES if name not in ("csv", "tsv")]


def database(content: bytes, directory: Path) -> sqlite3.Connection:
    path = directory / "result.sqlite"
    path.write_bytes(content)
    return sqlite3.connect(path)


def told(name: str, content: bytes, directory: Path) -> tuple[str, str]:
    """How a result says that it ended: (status, message)."""
    match name:
        case "json":
            status = json.loads(content)["status"]
            return status["value"], status.get("message", "")
        case "fits":
            header = fits.getheader(io.BytesIO(content), 1)
            return header["QSTATUS"], header.get("QMESSAGE", "")
        case "parquet":
            document = pq.read_metadata(io.BytesIO(content)).metadata
            content = document[b"IVOA.VOTable-Parquet.content"]
        case "arrow":
            reader = pa.ipc.open_stream(content)
            last: dict[bytes, bytes] = {}
            for _ in range(sum(1 for _ in pa.ipc.open_stream(content))):
                last = reader.read_next_batch_with_custom_metadata().custom_metadata or {}
            status = last.get(b"QUERY_STATUS", b"OK")
            return status.decode(), last.get(b"message", b"").decode()
        case "sqlite":
            asked = "SELECT value, message FROM info WHERE name = 'QUERY_STATUS'"
            [row] = database(content, directory).execute(asked)
            return row[0], row[1] or ""
        case "html":
            notice = html.fromstring(content).findtext(".//p[@class='notice']") or "OK:"
            return notice.split(":")[0], notice
        case "text":
            last_line = content.decode().splitlines()[-1]
            return last_line.split(":")[0].replace("(3 rows)", "OK"), last_line
    infos = etree.fromstring(content).findall(".//v:INFO[@name='QUERY_STATUS']", NS)
    return infos[-1].get("value", ""), infos[-1].text or ""


@pytest.mark.parametrize("name", TELLING)
def test_every_format_that_can_tells_how_it_ended(name: str, tmp_path: Path) -> None:
    whole = written(name, ALL, all_types())
    assert told(name, whole, tmp_path)[0] == "OK"
    cut = written(name, ALL, all_types(), truncated=True)
    assert told(name, cut, tmp_path)[0] == "OVERFLOW"
    failed = written(name, ALL, all_types(), failure=TransientError("PostgreSQL <went> away"))
    status, message = told(name, failed, tmp_path)
    assert status == "ERROR"
    assert "PostgreSQL <went> away" in message


@pytest.mark.parametrize("name", ["csv", "tsv"])
def test_a_format_that_cannot_tell_a_failure_is_broken_off(name: str) -> None:
    with pytest.raises(VOError, match="went away"):
        written(name, ALL, all_types(), failure=TransientError("PostgreSQL went away"))
    assert written(name, ALL, all_types(), truncated=True) == written(name, ALL, all_types())


@pytest.mark.parametrize("name", NAMES)
def test_a_defect_is_not_dressed_up(name: str) -> None:
    with pytest.raises(ZeroDivisionError):
        written(name, ALL, all_types(), failure=ZeroDivisionError())


def text_of(element: etree._Element) -> str:
    return "".join(map(str, element.itertext()))


Reader = Callable[[bytes, Path], Iterator[list[Any]]]


def rows_of_csv(content: bytes, _: Path) -> Iterator[list[Any]]:
    """Values by the types of `ALL`; pyarrow's reader knows null from an empty string."""
    names = [f.name for f in ALL]
    read = pyarrow.csv.read_csv(
        io.BytesIO(content),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        ),
    )
    for row in read.to_pylist():
        yield [None if row[f.name] is None else _value(f, row[f.name]) for f in ALL]


def rows_of_tsv(content: bytes, _: Path) -> Iterator[list[Any]]:
    for line in content.decode().split("\n")[1:-1]:
        cells = line.split("\t")
        yield [_value(f, cell) if cell else None for f, cell in zip(ALL, cells, strict=True)]


def _value(of: Field, cell: str) -> Any:
    if of.datatype in ("char", "unicodeChar"):
        return cell
    if of.datatype == "boolean":
        return {"true": True, "false": False}[cell]
    number = float if of.datatype in ("float", "double") else int
    return [number(word) for word in cell.split()] if of.arraysize else number(cell)


def rows_of_json(content: bytes, _: Path) -> Iterator[list[Any]]:
    yield from json.loads(content)["data"]


def rows_of_parquet(content: bytes, _: Path) -> Iterator[list[Any]]:
    for row in pq.read_table(io.BytesIO(content)).to_pylist():
        yield list(row.values())


def rows_of_arrow(content: bytes, _: Path) -> Iterator[list[Any]]:
    for row in pa.ipc.open_stream(content).read_all().to_pylist():
        yield list(row.values())


def rows_of_sqlite(content: bytes, directory: Path) -> Iterator[list[Any]]:
    for row in database(content, directory).execute("SELECT * FROM result"):
        pairs = zip(ALL, row, strict=True)
        yield [_value(f, v) if f.arraysize and v is not None else v for f, v in pairs]


def rows_of_html(content: bytes, _: Path) -> Iterator[list[Any]]:
    for row in html.fromstring(content).iterfind(".//tbody/tr"):
        cells = zip(ALL, map(text_of, row), strict=True)
        yield [_value(f, cell) if cell else None for f, cell in cells]


#: How each format reads, and what it has no way to tell: (value, read as).
READERS: dict[str, tuple[Reader, dict[Any, Any]]] = {
    "csv": (rows_of_csv, {}),
    "tsv": (rows_of_tsv, {"": None}),
    "json": (rows_of_json, {math.inf: None, -math.inf: None}),
    "parquet": (rows_of_parquet, {}),
    "arrow": (rows_of_arrow, {}),
    "sqlite": (rows_of_sqlite, {}),
    "html": (rows_of_html, {"": None}),
}


@pytest.mark.parametrize("name", READERS)
def test_every_type_and_its_null_reads_back(name: str, tmp_path: Path) -> None:
    read, lost = READERS[name]
    content = written(name, ALL, all_types().slice(0, 1), all_types().slice(1), infos=INFOS)
    rows = list(read(content, tmp_path))
    assert len(rows) == len(VALUES)
    for row, values in zip(rows, VALUES, strict=True):
        for f, got, value in zip(ALL, row, values, strict=True):
            expected = value if isinstance(value, list) else lost.get(value, value)
            if f.name == "f" and value == 0.1:  # a float is some decimals
                assert got == pytest.approx(0.1, rel=1e-7)
            elif isinstance(value, list) and name in ("csv", "tsv", "html"):
                assert got in (expected, None)  # no elements, no cell
            else:
                assert got == expected, f.name


def test_fits_columns_read_back_by_astropy() -> None:
    with fits.open(io.BytesIO(written("fits", ALL, all_types(), infos=INFOS))) as found:
        found.verify("exception")
        data = found[1].data
        assert data["s"].tolist() == [1, -(2**15), -(2**15) + 1]
        assert data["l"].tolist() == [2**62, -(2**63), -7]
        assert found[1].columns["l"].null == -(2**63)
        assert math.isnan(data["d"][1])
        assert data["d"][[0, 2]].tolist() == [0.1, -math.inf]
        assert data["text"].tolist() == ['a<b> & "c" ]]>', "", ""]
        assert data["letters"].tolist() == ["???<", "", ""]
        assert [list(a) for a in data["outline"]] == [[1, 2, 3, 4], [], []]
        assert data["place"][2].tolist() == [0, 90]
        assert data["code"].tolist() == ["abc", "", "x"]
    with fits.open(io.BytesIO(written("fits", ALL, all_types())), logical_as_bytes=True) as found:
        assert found[1].data["flag"].tolist() == [b"T", b"", b"F"]


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_result_is_a_table_without_rows(name: str, tmp_path: Path) -> None:
    for batches in ((), (all_types().slice(0, 0),)):
        content = written(name, ALL, *batches)
        if name in READERS:
            assert list(READERS[name][0](content, tmp_path)) == []
        elif name == "fits":
            assert len(fits.getdata(io.BytesIO(content), 1)) == 0
        assert content


def test_what_a_field_says_goes_with_its_column(tmp_path: Path) -> None:
    spoken = field("v", "double", None, unit="km/s", ucd="phys.veloc", utype="a:b",
                   description="how <fast>; naïve")  # fmt: skip
    batch = pa.record_batch({"v": [1.5]})
    said = {"datatype": "double", "unit": "km/s", "ucd": "phys.veloc", "utype": "a:b",
            "description": "how <fast>; naïve"}  # fmt: skip

    assert json.loads(written("json", (spoken,), batch))["metadata"] == [{"name": "v", **said}]

    arrow = pa.ipc.open_stream(written("arrow", (spoken,), batch)).schema.field("v").metadata
    assert {key.decode(): value.decode() for key, value in arrow.items()} == said

    header = fits.getheader(io.BytesIO(written("fits", (spoken,), batch)), 1)
    keywords = ("TTYPE1", "TFORM1", "TUNIT1", "TUCD1", "TUTYP1", "TCOMM1")
    assert [header[k] for k in keywords] == [
        "v", "1D", "km/s", "phys.veloc", "a:b", "how <fast>; na?ve",
    ]  # fmt: skip

    asked = "SELECT name, datatype, unit, ucd, utype, description FROM columns"
    content = written("sqlite", (spoken,), batch)
    assert database(content, tmp_path).execute(asked).fetchall() == [("v", *said.values())]

    [th] = html.fromstring(written("html", (spoken,), batch)).findall(".//th")
    assert (th.get("title"), text_of(th)) == ("how <fast>; naïve\nphys.veloc\na:b", "vkm/s")


def test_parquet_carries_a_votable_without_data() -> None:
    content = written("parquet", OBSCORE, obscore_batch(3), infos=INFOS)
    metadata = pq.read_metadata(io.BytesIO(content)).metadata
    assert metadata[b"IVOA.VOTable-Parquet.version"] == b"1.0"
    document = metadata[b"IVOA.VOTable-Parquet.content"]
    validate(document, "VOTable-v1.4.xsd")
    root = etree.fromstring(document)
    assert root.find(".//v:DATA", NS) is None
    names = [f.get("name") for f in root.iterfind(".//v:FIELD", NS)]
    assert names == [f.name for f in OBSCORE]
    assert names == pq.read_schema(io.BytesIO(content)).names


def test_the_votable_of_parquet_bounds_text_by_what_there_is() -> None:
    """astropy 8 (with pandas, so not here) reads such a file; with ``*`` it does not."""
    fields = (field("t", "char", "*"), field("c", "char", "3"), field("n", "unicodeChar", "*"))
    batches = [pa.record_batch({"t": t, "c": ["abc"], "n": [None]}) for t in (["ab"], ["é観😀x"])]
    content = written("parquet", fields, *[b.cast(_text_schema(b)) for b in batches])
    document = pq.read_metadata(io.BytesIO(content)).metadata[b"IVOA.VOTable-Parquet.content"]
    found = etree.fromstring(document).iterfind(".//v:FIELD", NS)
    assert [f.get("arraysize") for f in found] == ["10*", "3", "1*"]


def _text_schema(batch: pa.RecordBatch) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in batch.schema.names])


def test_astropy_reads_the_votable_of_parquet() -> None:
    content = written("parquet", OBSCORE, obscore_batch(3), truncated=True)
    document = pq.read_metadata(io.BytesIO(content)).metadata[b"IVOA.VOTable-Parquet.content"]
    fields = parse(io.BytesIO(document)).get_first_table().fields
    assert {f.name: str(f.unit) for f in fields if f.unit}["s_ra"] == "deg"


def test_stilts_reads_csv_fits_and_votable_alike(tmp_path: Path) -> None:
    answers = set()
    for name in ("csv", "fits", "votable/td"):
        path = tmp_path / name.replace("/", "-")
        path.write_bytes(written(name, OBSCORE, obscore_batch(20)))
        kind = name.split("/")[0]
        answers.add(stilts("tpipe", f"in={path}", f"ifmt={kind}", "ofmt=csv"))
    assert len(answers) == 1
    assert len(answers.pop().splitlines()) == 21


def test_astropy_reads_csv_and_tsv() -> None:
    fields = (field("n", "int"), field("t", "char", "*"), field("d", "double"))
    batch = pa.record_batch({"n": [1, None], "t": ['a,"b"', "c d"], "d": [0.1, math.nan]})
    for name, format_ in (("csv", "csv"), ("tsv", "tab")):
        text = written(name, fields, batch).decode()
        table = ascii_tables.read(text, format=format_)
        assert table["t"].tolist() == ['a,"b"', "c d"]
        assert table["n"].tolist() == [1, None]
        assert table["d"][0] == 0.1
        assert math.isnan(table["d"][1])


def test_csv_quotes_by_rfc_4180_and_changes_no_text() -> None:
    texts = ["a,b", 'say "x"', "two\nlines", "=1+1", "+A", "@B", "\t", "", "\x00\x07"]
    fields = (field("t,\n", "char", "*"), field("n", "int"))
    content = written("csv", fields, pa.record_batch({"t": texts, "n": range(len(texts))}))
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    assert rows[0] == ["t,\n", "n"]
    assert [row[0] for row in rows[1:]] == texts


def test_a_lone_null_is_no_empty_line_of_csv() -> None:
    for datatype, values in (("int", [1, None, 3]), ("char", ["a", None, "b"])):
        fields = (field("x", datatype, "*" if datatype == "char" else None),)
        content = written("csv", fields, pa.record_batch({"x": values})).decode()
        assert content.splitlines()[2] == '""'


def test_tsv_has_no_tab_or_line_break_within_a_value() -> None:
    fields = (field("a\tb", "char", "*"), field("n", "int"))
    content = written("tsv", fields, pa.record_batch({"a": ["x\ty\r\nz"], "n": [1]}))
    assert content == b"a b\tn\nx y  z\t1\n"


def test_json_escapes_every_control_and_keeps_the_rest() -> None:
    text = "".join(map(chr, range(0x20))) + '"\\/\x7f\u2028é観😀'
    fields = (field('n"\n', "char", "*"),)
    content = written("json", fields, pa.record_batch({"t": [text, None]}))
    read = json.loads(content, parse_constant=pytest.fail)
    assert read["data"] == [[text], [None]]
    assert read["metadata"][0]["name"] == 'n"\n'


def test_json_has_no_word_for_what_is_not_finite() -> None:
    fields = (field("d", "double"), field("a", "double", "*"))
    batch = pa.record_batch({"d": [math.nan, math.inf], "a": [[1.0, math.nan], [-math.inf]]})
    read = json.loads(written("json", fields, batch), parse_constant=pytest.fail)
    assert read["data"] == [[None, [1, None]], [None, [None]]]


def test_text_is_aligned_and_harmless_in_a_terminal() -> None:
    fields = (field("name", "char", "*"), field("d", "double", None, unit="deg"))
    batch = pa.record_batch({"name": ["M\x1b[31m1", "two\nlines", None], "d": [1.5, -10.25, None]})
    assert written("text", fields, batch).decode().splitlines() == [
        "name            d",
        "              deg",
        "---------  ------",
        "M\ufffd[31m1       1.5",
        "two lines  -10.25",
        "                 ",
        "(3 rows)",
    ]


def test_html_links_addresses_and_nothing_else() -> None:
    fields = (field("u", "char", "*", ucd="meta.ref.url"), field("t", "char", "*"))
    good = "https://h/data/a?b=1&c=2"
    bad = ["javascript:alert(1)", 'http://h/" onclick="x', "http://h/'x", "http://h/<b>", "x"]
    urls = [good, *bad, None]
    batch = pa.record_batch({"u": urls, "t": [good] * len(urls)})
    page = html.fromstring(written("html", fields, batch))
    assert [a.get("href") for a in page.iterfind(".//a")] == [good, "http://h/<b>"]
    cells = [text_of(td) for td in page.iterfind(".//tbody/tr/td[1]")]
    assert cells == [url or "" for url in urls]


def test_nothing_of_a_result_becomes_markup() -> None:
    evil = "</td></table><script>alert(1)</script>\"'><img src=x onerror=y>\x00"
    fields = (field(evil, "char", "*", unit=evil, description=evil, ucd="meta.ref.url"),)
    infos = [Info("publisher", evil), Info("query", evil), Info(evil, evil)]
    content = written("html", fields, pa.record_batch({"x": [evil]}), infos=infos,
                      failure=VOError(evil))  # fmt: skip
    page = html.fromstring(content)
    assert page.findall(".//script") == []
    assert page.findall(".//img") == []
    assert page.findtext(".//td") == evil.replace("\x00", "\ufffd")


def test_columns_of_one_name_are_told_apart_where_they_must_be(tmp_path: Path) -> None:
    fields = (field("a", "int"), field("A", "int"), field("a_2", "int"))
    batch = batch_of(fields, [pa.array([n]) for n in (1, 2, 3)])
    content = written("sqlite", fields, batch)
    cursor = database(content, tmp_path).execute("SELECT * FROM result")
    assert [d[0] for d in cursor.description] == ["a", "A_2", "a_2_2"]
    assert cursor.fetchall() == [(1, 2, 3)]
    assert fits.getdata(io.BytesIO(written("fits", fields, batch)), 1).names == [
        "a", "A_2", "a_2_2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "suffix", "answered"),
    [
        (None, "vot", "application/x-votable+xml"),
        (" ", "vot", "application/x-votable+xml"),
        ("VOTable", "vot", "application/x-votable+xml"),
        ("text/xml", "vot", "text/xml"),
        ("text/xml; charset=utf-8", "vot", "text/xml; charset=utf-8"),
        ("csv", "csv", "text/csv;header=present"),
        ("text/csv", "csv", "text/csv;header=present"),
        ("text/csv; header=present", "csv", "text/csv; header=present"),
        ("TSV", "tsv", "text/tab-separated-values"),
        ("text", "txt", "text/plain;charset=utf-8"),
        ("text/plain", "txt", "text/plain;charset=utf-8"),
        ("text/html", "html", "text/html;charset=utf-8"),
        ("json", "json", "application/json"),
        ("application/json;charset=utf-8", "json", "application/json;charset=utf-8"),
        ("fits", "fits", "application/fits"),
        ("parquet", "parquet", "application/vnd.apache.parquet"),
        ("application/vnd.apache.arrow.stream", "arrows", "application/vnd.apache.arrow.stream"),
        ("sqlite", "sqlite", "application/vnd.sqlite3"),
    ],
)
def test_a_short_name_gets_its_type_and_a_type_gets_itself(
    asked: str | None, suffix: str, answered: str
) -> None:
    known, media_type = output_format(asked)
    assert (known.suffix, media_type) == (suffix, answered)


@pytest.mark.parametrize("asked", ["image/png", "text/csv;header=absent", "csv\r\nX: y", "ｃsv"])
def test_an_unknown_format_is_refused_with_those_that_are_known(asked: str) -> None:
    with pytest.raises(UsageError, match=r"expected one of .*text/csv"):
        output_format(asked)


def test_no_name_means_two_formats_and_all_are_in_lower_case() -> None:
    names = [n for f in FORMATS for n in {f.media_type.lower(), *f.aliases}]
    assert len(names) == len(set(names))
    assert all(alias == alias.lower() for f in FORMATS for alias in f.aliases)
    assert FORMATS[3].disposition == 'attachment; filename="result.csv"'
    assert FORMATS[0].disposition == 'inline; filename="result.vot"'


def test_lists_of_any_make_are_taken() -> None:
    """PostgreSQL's drivers name the elements of lists in their own ways."""
    fields = (field("a", "double", "*"), field("p", "double", "2"))
    kinds = (
        pa.list_(pa.field("element", pa.float64(), nullable=False)),
        pa.large_list(pa.float32()),
        pa.list_(pa.float64(), 2),
    )
    for kind in kinds:
        values = pa.array([[1.5, -2.5], None], kind)
        batch = batch_of(fields, [values, values])
        for name in NAMES:
            assert written(name, fields, batch)
        assert json.loads(written("json", fields, batch))["data"] == [
            [[1.5, -2.5], [1.5, -2.5]],
            [None, None],
        ]
