"""The table of corrections as it is imported: read whole, or refused with line and column."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vo_service.errors import UsageError
from vo_service.ingest.correction_file import read_corrections

HSC = Path(__file__).parents[2] / "vo_service" / "demo" / "data" / "hsc_header_corrections.csv"
HEADER = "start_frame,end_frame,hdu,keyword,current,updated,datatype,comment,reference\n"


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_the_table_of_hyper_suprime_cam_is_read_with_all_its_columns() -> None:
    lines = read_corrections(HSC)
    assert len(lines) == 14
    assert [line.number for line in lines] == list(range(2, 16))
    tenth = lines[9].correction
    assert str(tenth.frames) == "HSCA15297400..HSCA15297557"
    assert (tenth.keyword, tenth.current, tenth.updated) == ("T_OSLVL", "0.0", "1266.9")
    assert (tenth.datatype, tenth.comment) == ("float", "update for QA keyword")
    assert (tenth.hdu, tenth.reference, tenth.checks) == ("", "", {"181220100": "OK"})


def test_every_column_may_be_there_in_any_order_and_case(tmp_path: Path) -> None:
    path = written(
        tmp_path / "c.csv",
        "\ufeffKEYWORD,Updated,current,datatype,start_frame,HDU,collection,reference\r\n"
        '"HIERARCH ESO DET ID","a ""b"", c",,STRING,./x.fits,SCI,mycam,Priv. comm.\r\n\r\n',
    )
    (line,) = read_corrections(path)
    correction = line.correction
    assert (correction.keyword, correction.hdu, line.collection) == ("ESO DET ID", "SCI", "mycam")
    assert (correction.current, correction.updated) == ("", 'a "b", c')
    assert str(correction.frames) == "x.fits"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("F1,F2,,KEY,0,x,float,,", "line 2, updated: expected a number such as"),
        ("F1,F2,,KEY,zero,1,float,,", "line 2, current: expected a number such as"),
        ("F1,F2,,KEY,0,1.5,int,,", "updated: expected a whole number of at most 18 digits"),
        ("F1,F2,,KEY,0,1,number,,", "datatype: expected int, float, string or logical, found"),
        ("F1,F2,,KEY,0,2,logical,,", "current: expected T or F, found '0'"),
        ("F1,F2,,key,0,1,int,,", "keyword: expected a FITS keyword in capital letters"),
        ("F1,F2,,NAXIS1,0,1,int,,", "keyword: expected a keyword that says nothing of the file's"),
        ("F1,F2,,CHECKSUM,a,b,string,,", "keyword: expected a keyword that says nothing"),
        ("F1,F2,,ZCMPTYPE,a,b,string,,", "keyword: expected a keyword that says nothing"),
        ("F1,F2,,COMMENT,a,b,string,,", "keyword: expected a keyword that says nothing"),
        ("F1,G2,,KEY,0,1,int,,", "end_frame: expected two frames that differ only in the number"),
        ("F2,F1,,KEY,0,1,int,,", "end_frame: expected a frame that does not come before"),
        (",F1,,KEY,0,1,int,,", "start_frame: expected a frame, path or identifier, found ''"),
        ("F1,F2,\u0661,KEY,0,1,int,,", "hdu: expected the number of an HDU"),
        ("F1,F2,,KEY,0,1,int,caf\u00e9,", "comment: expected at most 70 printable ASCII"),
        ("F1,F2,,KEY,0,1,int,", "line 2, expected 9 fields, found 8"),
        ('F1,F2,,KEY,0,"1"x,int,,', "line 2: "),
        ("F1,F2,,KEY,0,\0,string,,", "updated: expected no NUL"),
    ],
)
def test_a_mistake_is_named_by_line_column_expectation_and_finding(
    tmp_path: Path, row: str, said: str
) -> None:
    path = written(tmp_path / "c.csv", HEADER + row + "\n")
    with pytest.raises(UsageError) as caught:
        read_corrections(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (HEADER, "there is no correction in it"),
        ("start_frame,keyword,current,updated\n", "the column 'datatype' is missing"),
        (HEADER.replace("hdu", "extension"), "there is no column 'extension'"),
        (HEADER.replace("hdu", "keyword"), "'keyword' is there more than once"),
        (HEADER.encode() + b"F1,,,KEY,\xff,1,string,,\n", "line 2: not UTF-8"),
        (HEADER.replace("hdu", "check_me") + "F1,,NG,KEY,0,1,int,,\n", "expected OK or nothing"),
    ],
)
def test_a_file_that_is_no_such_table_says_why(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        read_corrections(written(tmp_path / "c.csv", content))


def test_all_mistakes_are_told_at_once_but_not_without_end(tmp_path: Path) -> None:
    path = written(tmp_path / "c.csv", HEADER + "F1,,,KEY,0,x,int,,\n" * 50)
    with pytest.raises(UsageError) as caught:
        read_corrections(path)
    told = str(caught.value).splitlines()
    assert len(told) == 21
    assert told[19].startswith(f"{path}, line 21, updated")
    assert told[20] == "... and 30 more"


def test_a_line_is_counted_where_it_begins(tmp_path: Path) -> None:
    rows = 'F1,,,KEY,0,1,int,,"two\nlines"\nF2,,,KEY,0,x,int,,\n'
    with pytest.raises(UsageError, match="line 2, reference: expected"):
        read_corrections(written(tmp_path / "c.csv", HEADER + rows))
    with pytest.raises(UsageError, match="line 4, updated: expected"):
        read_corrections(written(tmp_path / "c.csv", HEADER + rows))


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_no_file_whatever_does_more_than_be_refused(
    tmp_path_factory: pytest.TempPathFactory, content: str | bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    raw = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
    for prefix in (b"", HEADER.encode()):
        with contextlib.suppress(UsageError):
            read_corrections(written(path, prefix + raw))
