"""FITS: nulls, widths, the heap, headers; read back by astropy and STILTS."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import Table

from tests.formats.results import batch_of, field, written
from tests.formats.test_votable import stilts
from vo_service.errors import UsageError, VOError
from vo_service.formats.encoder import Ending, Heading, Info
from vo_service.formats.fits import FitsEncoder
from vo_service.formats.spool import Spool
from vo_service.model.table import Field


def opened(content: bytes) -> Any:
    found = fits.open(io.BytesIO(content))
    found.verify("exception")
    return found[1]


@pytest.mark.parametrize(
    ("values", "null"),
    [
        ([1, 2, 3], None),
        ([1, None, 3], -(2**15)),
        ([-(2**15), None, 3], 2**15 - 1),
        ([None, None], -(2**15)),
    ],
)
def test_null_is_a_number_that_does_not_occur(values: list[int | None], null: int | None) -> None:
    table = opened(written("fits", (field("n", "short"),), pa.record_batch({"n": values})))
    assert table.columns["n"].null == null
    expected = [null if value is None else value for value in values]
    assert table.data["n"].tolist() == expected


def test_text_is_as_wide_as_its_longest_value_over_all_batches() -> None:
    fields = (field("t", "char", "*"), field("u", "unicodeChar", "8*"))
    batches = [pa.record_batch({"t": [t], "u": [u]}) for t, u in (("ab", "é"), ("abcde", "观測x"))]
    table = opened(written("fits", fields, *batches))
    assert [c.format for c in table.columns] == ["5A", "3A"]
    assert table.data["t"].tolist() == ["ab", "abcde"]
    assert table.data["u"].tolist() == ["?", "??x"]
    assert "'?' stands for what FITS text cannot hold: u" in str(table.header["COMMENT"])


def test_one_long_text_does_not_pad_all_others(tmp_path: Path) -> None:
    texts = ["short"] * 2000 + ["x" * 5000] + [None]
    fields = (field("n", "int"), field("t", "char", "*"), field("a", "float", "*"))
    arrays = [[1.0]] * 2001 + [[2.0, 3.0]]
    batch = batch_of(fields, [pa.array(range(2002)), pa.array(texts), pa.array(arrays)])
    content = written("fits", fields, batch.slice(0, 1000), batch.slice(1000))
    assert len(content) < 100_000
    path = tmp_path / "long.fits"
    path.write_bytes(content)
    asked = ("tpipe", f"in={path}", "cmd=addcol l length(t)", "cmd=addcol s sum(a)",
             "cmd=keepcols 'n l s'", "cmd=every 500", "ofmt=csv")  # fmt: skip
    assert stilts(*asked).splitlines()[1:] == [f"{n},5,1.0" for n in (0, 500, 1000, 1500)] + [
        "2000,5000,1.0"
    ]
    data = opened(content).data
    assert [list(a) for a in data["a"][-2:]] == [[1.0], [2.0, 3.0]]
    assert ["".join(data["t"][n]) for n in (0, 2000, 2001)] == ["short", "x" * 5000, ""]


def test_a_heap_of_more_than_two_gibibytes_has_wide_descriptors() -> None:
    encoder = FitsEncoder(Heading((field("a", "double", "*"),)))
    [column] = encoder._columns
    column.see(pa.array([[1.0, 2.0]]))
    column._total = 2**28  # of 8 bytes
    assert column.heap_bytes(1) == 2**31
    assert column.settle("Q").itemsize == 16
    assert column.form == "1QD(2)"


@pytest.mark.filterwarnings("ignore:Column .* contains NULL")
def test_arrays_of_every_kind_read_back() -> None:
    fields = (
        field("i", "int", "2"),
        field("b", "boolean", "3"),
        field("m", "double", "3x2"),
        field("v", "short", "*"),
        field("w", "boolean", "*"),
    )
    batch = batch_of(
        fields,
        [
            pa.array([[1, -2], None]),
            pa.array([[True, False, True], None]),
            pa.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], None]),
            pa.array([[1, 2, 3], None], pa.list_(pa.int64())),
            pa.array([[True], [False, True]]),
        ],
    )
    data = opened(written("fits", fields, batch)).data
    assert data["i"].tolist() == [[1, -2], [-(2**31)] * 2]
    assert data["b"].tolist() == [[True, False, True], [False] * 3]
    assert data["m"][0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert np.isnan(data["m"][1]).all()
    assert [list(a) for a in data["v"]] == [[1, 2, 3], []]
    assert [list(a) for a in data["w"]] == [[True], [False, True]]


def test_astropys_table_masks_nulls_and_knows_units() -> None:
    fields = (field("n", "int"), field("d", "double", None, unit="deg", description="how far"))
    content = written("fits", fields, pa.record_batch({"n": [1, None], "d": [1.5, None]}))
    table = Table.read(io.BytesIO(content), hdu=1)
    assert table["n"].mask.tolist() == [False, True]
    assert str(table["d"].unit) == "deg"


def test_headers_hold_any_text_of_a_client() -> None:
    evil = "é\x00\n'END" + " x" * 100
    fields = (field(evil, "int", None, unit=evil, description=evil),)
    infos = [Info("query", evil * 1000)]
    table = opened(written("fits", fields, failure=VOError(evil), infos=infos))
    assert table.header["TTYPE1"].startswith("?? 'END x x")
    assert table.header["QMESSAGE"].startswith("the result is not complete: ??")
    assert "END x x" in str(table.header["COMMENT"])


def test_a_thousand_columns_are_refused_at_once() -> None:
    fields = tuple(field(f"c{n}", "int") for n in range(1000))
    with pytest.raises(UsageError, match="at most 999 columns, this result has 1000"):
        FitsEncoder(Heading(fields)).begin()
    assert len(opened(written("fits", fields[:999])).columns) == 999


def test_the_file_is_whole_blocks() -> None:
    for count in (0, 1, 360, 361):
        batch = pa.record_batch({"d": np.zeros(count)})
        assert len(written("fits", (field("d", "double"),), batch)) % 2880 == 0


def test_a_full_disk_quota_is_told_and_keeps_what_there_is() -> None:
    heading = Heading((Field(name="t", datatype="char", arraysize="*"),))
    encoder = FitsEncoder(heading)
    encoder._spool = Spool(pa.schema([("t", pa.string())]), limit=10_000)
    batch = pa.record_batch({"t": [str(n) for n in np.random.default_rng(1).random(1000)]})
    encoder.encode(batch)
    with pytest.raises(VOError, match="10000 bytes of it are full"):
        encoder.encode(batch)
    table = opened(b"".join(encoder.end(Ending("ERROR", "full"))))
    encoder.close()
    assert len(table.data) == 1000
    assert table.header["QSTATUS"] == "ERROR"
