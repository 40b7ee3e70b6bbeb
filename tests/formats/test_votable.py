"""VOTable documents, read back by eye, by schema, by astropy and by STILTS."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import math
import shutil
import subprocess
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pytest
from astropy.io.votable import parse
from lxml import etree
from pyvo.dal.tap import TAPResults

from tests.formats.results import batch_of, field
from tests.support import validate
from vo_service.errors import TransientError
from vo_service.formats.encoder import Ending, Heading, ServiceDescriptor
from vo_service.formats.votable import (
    Info,
    Serialization,
    VOTableEncoder,
    error_votable,
    votable,
)
from vo_service.model.obscore import OBSCORE
from vo_service.model.table import Field, Rows

NS = {"v": "http://www.ivoa.net/xml/VOTable/v1.3"}
SERIALIZATIONS: tuple[Serialization, ...] = get_args(Serialization)


ALL = (
    field("flag", "boolean"),
    field("s", "short"),
    field("i", "int"),
    field("l", "long"),
    field("f", "float"),
    field("d", "double"),
    field("text", "char", "*"),
    field("letters", "unicodeChar", "*"),
    field("place", "double", "2", xtype="point"),
    field("outline", "double", "*", xtype="polygon"),
    field("code", "char", "3"),
)
VALUES: tuple[tuple[Any, ...], ...] = (
    (True, 1, -2, 2**62, 0.1, 0.1, 'a<b> & "c" ]]>', "é観😀<", [1.5, -2.5], [1.0, 2, 3, 4], "abc"),
    (None,) * 11,
    (False, -(2**15) + 1, 2**31 - 1, -7, math.inf, -math.inf, "", "", [0.0, 90.0], [], "x"),
)
ARROW = (
    *(pa.bool_(), pa.int64(), pa.int64(), pa.int64(), pa.float32(), pa.float64()),
    *(pa.large_string(), pa.string(), pa.list_(pa.float64()), pa.list_(pa.float64())),
    pa.string(),
)


def all_types() -> pa.RecordBatch:
    columns = zip(*VALUES, strict=True)
    return batch_of(ALL, [pa.array(c, t) for c, t in zip(columns, ARROW, strict=True)])


def written(
    fields: tuple[Field, ...],
    *batches: pa.RecordBatch,
    serialization: Serialization = "BINARY2",
    infos: Sequence[Info] = (),
    truncated: bool = False,
    failure: Exception | None = None,
) -> bytes:
    async def source() -> AsyncIterator[pa.RecordBatch]:
        for batch in batches:
            yield batch
        if failure:
            raise failure

    async def collect() -> bytes:
        rows = Rows(fields, source(), truncated=truncated)
        return b"".join([x async for x in votable(rows, serialization=serialization, infos=infos)])

    return asyncio.run(collect())


def statuses(document: bytes) -> list[tuple[str, str | None]]:
    infos = etree.fromstring(document).iterfind(".//v:INFO[@name='QUERY_STATUS']", NS)
    return [(str(info.get("value")), info.text) for info in infos]


def stream(document: bytes) -> bytes:
    text = etree.fromstring(document).findtext(".//v:STREAM", None, NS)
    assert text is not None
    return base64.b64decode(text)


def table_of(document: bytes) -> Any:
    return parse(io.BytesIO(document), verify="exception").get_first_table()


def stilts(*arguments: str | Path) -> str:
    if shutil.which("stilts") is None:
        pytest.skip("stilts is not installed")
    ran = subprocess.run(
        ["stilts", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    return ran.stdout + ran.stderr


def test_binary2_is_flags_then_big_endian_columns() -> None:
    fields = (field("i", "int"), field("t", "char", "*"), field("d", "double"))
    batch = batch_of(fields, [pa.array([258, None]), pa.array(["ab", None]), pa.array([1.0, None])])
    rows = stream(written(fields, batch))
    assert rows[:19] == bytes.fromhex("00 00000102 00000002 6162 3ff0000000000000")
    # The second row: all three null, so the highest three bits; their values say nothing.
    assert rows[19:28] == bytes.fromhex("e0 00000000 00000000")
    assert len(rows) == 19 + 17


def test_the_ninth_column_is_flagged_in_a_second_byte() -> None:
    fields = tuple(field(f"c{i}", "short") for i in range(9))
    nulls = batch_of(fields, [pa.array([None if i in (0, 8) else i], pa.int16()) for i in range(9)])
    assert stream(written(fields, nulls))[:2] == bytes.fromhex("80 80")


def test_binary_has_no_flags_and_declares_what_null_is() -> None:
    fields = (field("s", "short"), field("l", "long"), field("f", "float"), field("b", "boolean"))
    nulls = batch_of(fields, [pa.nulls(1, pa.int16()), pa.nulls(1), pa.nulls(1), pa.nulls(1)])
    document = written(fields, nulls, serialization="BINARY")
    assert stream(document) == bytes.fromhex("8000 8000000000000000 7fc00000") + b"?"
    declared = etree.fromstring(document).xpath("//v:VALUES/@null", namespaces=NS)
    assert declared == ["-32768", "-9223372036854775808"]


@pytest.mark.parametrize("serialization", SERIALIZATIONS)
def test_every_type_and_its_null_reads_back(serialization: Serialization) -> None:
    table = table_of(written(ALL, all_types(), serialization=serialization)).array
    for number, expected in enumerate(VALUES):
        for f, value in zip(ALL, expected, strict=True):
            read = table[f.name][number]
            masked = table.mask[f.name][number]
            if isinstance(value, list):
                assert list(read) == value
            elif value is None and f.datatype in ("char", "unicodeChar"):
                assert read == ""
            elif value is None:
                assert masked if not f.arraysize else len(read) == 0 or masked.all()
            else:
                assert read == (pa.scalar(0.1, pa.float32()).as_py() if value == 0.1
                                and f.name == "f" else value)  # fmt: skip


@pytest.mark.parametrize("serialization", SERIALIZATIONS)
def test_documents_are_valid(serialization: Serialization) -> None:
    infos = [
        Info("query", 'SELECT "x\x00"\n<&', "te\ud800xt"),
        Info("citation", "b", ucd="meta.bib"),
    ]
    document = written(
        (*ALL, *OBSCORE[9:19]),
        serialization=serialization,
        infos=infos,
        failure=TransientError("lost <it> \x07"),
    )
    validate(document, "VOTable-v1.4.xsd")
    assert statuses(document) == [("OK", None), ("ERROR", "lost <it> \ufffd")]


def test_stilts_reads_all_types_alike_in_all_serializations(tmp_path: Path) -> None:
    answers = set()
    for serialization in SERIALIZATIONS:
        path = tmp_path / f"{serialization}.vot"
        path.write_bytes(
            written(ALL[:-3], all_types().select(range(8)), serialization=serialization)
        )
        answers.add(stilts("tpipe", f"in={path}", "ofmt=csv"))
    assert len(answers) == 1
    rows = list(csv.reader(io.StringIO(answers.pop())))
    assert rows[1:] == [
        ["true", "1", "-2", str(2**62), "0.1", "0.1", 'a<b> & "c" ]]>', "é観😀<"],
        [""] * 8,
        ["false", "-32767", str(2**31 - 1), "-7", "Infinity", "-Infinity", "", ""],
    ]


def test_votlint_finds_nothing_in_a_result(tmp_path: Path) -> None:
    path = tmp_path / "obscore.vot"
    path.write_bytes(written(OBSCORE, obscore_batch(3), infos=[Info("query", "SELECT 1")]))
    assert stilts("votlint", path) == ""


def obscore_batch(rows: int) -> pa.RecordBatch:
    kinds = {"char": pa.string(), "int": pa.int64(), "long": pa.int64(), "double": pa.float64()}
    samples = {"char": "text", "int": 2, "long": 1200, "double": 59017.5}
    columns = []
    for column in OBSCORE:
        values = [None if (i + len(column.name)) % 5 == 0 else samples[column.datatype]
                  for i in range(rows)]  # fmt: skip
        columns.append(pa.array(values, kinds[column.datatype]))
    return batch_of(OBSCORE, columns)


def test_positions_and_times_refer_to_their_frames() -> None:
    root = etree.fromstring(written(OBSCORE, obscore_batch(1)))
    referring = {str(f.get("name")): f.get("ref") for f in root.iterfind(".//v:FIELD[@ref]", NS)}
    assert referring == {
        "s_ra": "ICRS", "s_dec": "ICRS", "s_region": "ICRS",
        "t_min": "MJD_UTC", "t_max": "MJD_UTC",
    }  # fmt: skip
    time = root.find(".//v:TIMESYS", NS)
    assert time is not None
    assert (time.get("timeorigin"), time.get("timescale")) == ("MJD-origin", "UTC")


def test_no_frame_is_declared_that_nothing_refers_to() -> None:
    fields = (field("n", "int"),)
    root = etree.fromstring(written(fields))
    assert root.find(".//v:COOSYS", NS) is None
    assert root.find(".//v:TIMESYS", NS) is None


def test_field_metadata_is_carried() -> None:
    given = field("v", "float", None, unit="km/s", ucd="phys.veloc", utype="a:b", description="<v>")
    found = etree.fromstring(written((given,))).find(".//v:FIELD", NS)
    assert found is not None
    assert dict(found.items()) == {
        "ID": "v", "name": "v", "datatype": "float", "unit": "km/s", "ucd": "phys.veloc",
        "utype": "a:b",
    }  # fmt: skip
    assert found.findtext("v:DESCRIPTION", None, NS) == "<v>"


def test_ids_are_names_where_xml_allows_and_never_twice() -> None:
    names = ["s_ra", "s_ra", "2MASS", "a b", 'q"<', "ICRS", "é"]
    root = etree.fromstring(written(tuple(field(name, "int") for name in names)))
    found = [(f.get("name"), f.get("ID")) for f in root.iterfind(".//v:FIELD", NS)]
    assert found == [("s_ra", "s_ra"), *((name, None) for name in names[1:])]


@pytest.mark.parametrize("serialization", SERIALIZATIONS)
def test_an_empty_result_is_a_table_without_rows(serialization: Serialization) -> None:
    for batches in ((), (all_types().slice(0, 0),)):
        document = written(ALL, *batches, serialization=serialization)
        assert len(table_of(document).array) == 0
        assert statuses(document) == [("OK", None)]


@pytest.mark.parametrize("serialization", SERIALIZATIONS)
def test_overflow_is_told_after_the_table(serialization: Serialization) -> None:
    document = written(ALL, all_types(), serialization=serialization, truncated=True)
    resource = etree.fromstring(document).find("v:RESOURCE", NS)
    assert resource is not None
    assert [etree.QName(child).localname for child in resource][-2:] == ["TABLE", "INFO"]
    assert statuses(document) == [("OK", None), ("OVERFLOW", None)]


def test_a_failure_after_rows_keeps_the_rows_and_tells_the_error() -> None:
    document = written(ALL, all_types(), failure=TransientError("the database went away"))
    assert statuses(document)[-1] == ("ERROR", "the database went away")
    assert len(table_of(document).array) == 3


def test_a_defect_is_not_dressed_up_as_a_document() -> None:
    with pytest.raises(ZeroDivisionError):
        written(ALL, failure=ZeroDivisionError())


def test_a_value_that_does_not_fit_is_told_with_its_column() -> None:
    document = written((field("n", "int"),), pa.record_batch({"n": [2**31]}))
    value, text = statuses(document)[-1]
    assert value == "ERROR"
    assert text is not None
    assert text.startswith("column n: a value of type int64 is no int")


def test_tabledata_numbers_read_back_exactly() -> None:
    doubles = [
        0.1,
        1 / 3,
        5e-324,
        1.7976931348623157e308,
        -0.0,
        2**53 + 2.0,
        149.38,
        1e22,
        123456789.125,
    ]
    fields = (field("d", "double"), field("f", "float"))
    batch = batch_of(
        fields, [pa.array(doubles), pa.array(doubles, pa.float64()).cast(pa.float32(), safe=False)]
    )
    cells = etree.fromstring(written(fields, batch, serialization="TABLEDATA")).iterfind(
        ".//v:TD", NS
    )
    texts = [str(cell.text) for cell in cells]
    assert [float(t).hex() for t in texts[::2]] == [d.hex() for d in doubles]
    singles = pa.array([float(t.replace("Inf", "inf")) for t in texts[1::2]])
    assert singles.cast(pa.float32(), safe=False).equals(batch.column(1))


def test_what_is_not_finite_has_votables_names() -> None:
    batch = pa.record_batch({"d": [math.nan, math.inf, -math.inf, None, 1.5]})
    root = etree.fromstring(written((field("d", "double"),), batch, serialization="TABLEDATA"))
    assert [td.text for td in root.iterfind(".//v:TD", NS)] == ["NaN", "+Inf", "-Inf", None, "1.5"]


def test_tabledata_replaces_what_xml_forbids_and_keeps_the_rest() -> None:
    text = "a\x00\x01\x08\x0b\x1f\ufffe\uffffb\t\r\nc é観😀 ]]>&amp;"
    document = written((field("t", "char", "*"),), pa.record_batch({"t": [text]}),
                       serialization="TABLEDATA")  # fmt: skip
    assert etree.fromstring(document).findtext(".//v:TD", None, NS) == (
        "a" + "\ufffd" * 7 + "b\t\r\nc é観😀 ]]>&amp;"
    )


def test_char_is_ascii_in_binary_so_that_astropy_reads_the_table() -> None:
    fields = (field("t", "char", "*"), field("n", "int"))
    document = written(fields, pa.record_batch({"t": ["観測 NGC1", "é"], "n": [1, 2]}))
    table = table_of(document).array
    assert list(table["t"]) == ["?? NGC1", "?"]
    assert list(table["n"]) == [1, 2]


def test_a_large_integer_may_become_a_double() -> None:
    document = written((field("d", "double"),), pa.record_batch({"d": [2**53 + 1]}))
    assert table_of(document).array["d"][0] == 2.0**53


def test_timestamps_are_iso_without_zone() -> None:
    when = pa.array([datetime(2020, 6, 17, 13, 41, 5, 250000), None])
    fields = (field("t", "char", "*", xtype="timestamp"),)
    table = table_of(written(fields, batch_of(fields, [when]))).array
    assert list(table["t"]) == ["2020-06-17T13:41:05.250000", ""]


def test_fixed_text_is_cut_and_padded() -> None:
    fields = (field("c", "char", "3"), field("u", "unicodeChar", "2"), field("one", "char"))
    batch = batch_of(fields, [pa.array(["abcd", "é", None]), pa.array(["観é!", "😀", None]),
                              pa.array(["xy", "", None])])  # fmt: skip
    rows = stream(written(fields, batch))
    assert rows[:9] == b"\0abc" + "観é".encode("utf-16-be") + b"x"
    assert rows[9:18] == b"\0?\0\0" + bytes.fromhex("fffd 0000") + b"\0"
    assert rows[18:] == b"\xe0" + bytes(8)


def test_a_fixed_array_of_another_length_is_an_error_in_the_result() -> None:
    fields = (field("p", "double", "2"),)
    document = written(fields, pa.record_batch({"p": [[1.0, 2.0], [1.0]]}))
    assert statuses(document)[-1] == ("ERROR", "column p: an array does not have 2 elements")


def test_integer_arrays_cannot_hide_a_null() -> None:
    fields = (field("p", "int", "*"),)
    for serialization in SERIALIZATIONS:
        document = written(fields, pa.record_batch({"p": [[1, None]]}), serialization=serialization)
        assert statuses(document)[-1][1] == "column p: an array of int cannot hold nulls"


def test_integer_and_boolean_arrays_read_back() -> None:
    fields = (field("i", "int", "2"), field("b", "boolean", "*"), field("n", "short", "2x*"))
    batch = pa.record_batch({"i": [[1, -2]], "b": [[True, False, True]], "n": [[1, 2, 3, 4]]})
    assert stream(written(fields, batch)) == bytes.fromhex(
        "00 00000001 fffffffe 00000003 544654 00000004 0001 0002 0003 0004"
    )


def test_slices_and_offsets_do_not_show() -> None:
    whole = pa.concat_batches([all_types()] * 5)
    expected = written(ALL, whole)
    parts = [whole.slice(0, 1), whole.slice(1, 7), whole.slice(8, 0), whole.slice(8)]
    assert stream(written(ALL, *parts)) == stream(expected)
    together = written(ALL, whole, serialization="TABLEDATA")
    assert written(ALL, *parts, serialization="TABLEDATA") == together


def test_a_very_long_text_passes_in_memory_of_its_own_size() -> None:
    fields = (field("t", "char", "*"),)
    batch = pa.record_batch({"t": ["x" * 20_000_000, "y"] * 2})
    tracemalloc.start()
    document = written(fields, batch)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [len(t) for t in table_of(document).array["t"]] == [20_000_000, 1] * 2
    assert peak < 4 * len(document)


def test_an_error_document_is_valid_and_holds_the_message() -> None:
    message = "line 1, column 8: expected <name> & 'x' \x00 \ud83d é"
    document = error_votable(message, [Info("query", "SELEC\x1bT")])
    validate(document, "VOTable-v1.4.xsd")
    assert statuses(document) == [
        ("ERROR", message.replace("\x00", "\ufffd").replace("\ud83d", "\ufffd"))
    ]


def test_a_document_tells_which_columns_lost_letters() -> None:
    fields = (field("t", "char", "*"), field("u", "unicodeChar", "*"), field("a", "char", "*"))
    batch = pa.record_batch({"t": ["é"], "u": ["é"], "a": ["e"]})
    [warning] = etree.fromstring(written(fields, batch)).findall(".//v:INFO[@name='warning']", NS)
    assert warning.text is not None
    assert warning.text.startswith("'?' stands for characters outside ASCII in t; ")
    plain = etree.fromstring(written(fields, batch, serialization="TABLEDATA"))
    assert plain.find(".//v:INFO[@name='warning']", NS) is None
    assert plain.findtext(".//v:TD", None, NS) == "é"


def test_a_service_descriptor_refers_to_the_column_whose_values_it_takes() -> None:
    links = ServiceDescriptor(
        identifier="links",
        access_url="https://h/datalink/links?a=1&b",
        standard_id="ivo://ivoa.net/std/DataLink#links-1.1",
        column="obs_publisher_did",
        description="Files of an <observation>",
    )
    heading = Heading(OBSCORE, services=[links])
    encoder = VOTableEncoder(heading)
    document = b"".join([encoder.begin(), *encoder.end(Ending("OVERFLOW"))])
    validate(document, "VOTable-v1.4.xsd")
    root = etree.fromstring(document)
    results, service = root.findall("v:RESOURCE", NS)
    assert statuses(etree.tostring(results)) == [("OK", None), ("OVERFLOW", None)]
    assert (service.get("type"), service.get("utype")) == ("meta", "adhoc:service")
    found = {
        p.get("name"): (p.get("value"), p.get("ref")) for p in service.iter(f"{{{NS['v']}}}PARAM")
    }
    assert found == {
        "standardID": ("ivo://ivoa.net/std/DataLink#links-1.1", None),
        "accessURL": ("https://h/datalink/links?a=1&b", None),
        "ID": ("", "obs_publisher_did"),
    }
    known = TAPResults(parse(io.BytesIO(document)))
    assert known.get_adhocservice_by_ivoid(links.standard_id).ID == "links"


def test_a_service_without_its_column_is_left_out() -> None:
    links = ServiceDescriptor(
        identifier="links", access_url="https://h/", standard_id="ivo://x/y", column="id"
    )
    encoder = VOTableEncoder(Heading((field("n", "int"),), services=[links]))
    root = etree.fromstring(b"".join([encoder.begin(), *encoder.end(Ending("OK"))]))
    assert len(root.findall("v:RESOURCE", NS)) == 1
