"""Lists of positions: which columns are read, what is refused, what is made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.uploads.support import LIMITS
from vo_service.db.uploads import LoadedTable
from vo_service.errors import UsageError
from vo_service.formats.tables_in import read_table
from vo_service.model.region import Circle
from vo_service.params.soda import (
    MEF,
    CutoutQuery,
    Position,
    parse_cutout_query,
    with_positions,
)
from vo_service.params.upload import UploadSpec
from vo_service.services.positions import positions_of

UPLOAD = ("UPLOAD", "stars,param:p")


def listed(place: Path, text: str, limit: int = 10) -> list[Position]:
    source, target = place / "t.csv", place / "t.arrow"
    source.write_text(text)
    found = read_table("stars", source, "text/csv", target, LIMITS)
    return positions_of(LoadedTable("stars", found.fields, found.shapes, target), limit)


def asked(*pairs: tuple[str, str], job: bool = True, limit: int = 10) -> CutoutQuery:
    return parse_cutout_query([("ID", "x"), *pairs], limit=limit, job=job)


def test_positions_radii_and_names_are_found_by_the_names_of_columns(tmp_path: Path) -> None:
    text = "mag,RA,Dec,radius,name\n9.5,10.25,-20,0.01,Vega\n8,360,90,,\n"
    assert listed(tmp_path, text) == [
        Position(10.25, -20.0, 0.01, "row 1 (Vega)"),
        Position(360.0, 90.0, None, "row 2"),
    ]
    assert listed(tmp_path, "raj2000,dej2000\n1,2\n") == [Position(1.0, 2.0, None, "row 1")]
    assert listed(tmp_path, "id,ra,dec\n7,1,2\n")[0].said == "row 1 (7)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "upload stars: no columns of positions: expected one each called ra and"),
        ("ra,dec\n1,2\n3,91\n", "upload stars: row 2, dec: 91.*: expected degrees, -90 to 90"),
        ("ra,dec\n-1.5,2\n", "row 1, ra: -1.5: expected degrees, 0 to 360"),
        ("ra,dec\n1,2\nnan,2\n", "row 2, ra: no value: expected degrees"),
        ("ra,dec\n1,\n3,4\n", "row 1, dec: no value"),
        ("ra,dec,radius\n1,2,-3\n", "row 1, radius: -3"),
        ("ra,dec\n" + "1,2\n" * 11, "upload stars: has more than 10 rows"),
        ("ra,dec\n", "upload stars: has no rows"),
    ],
)
def test_what_is_no_position_is_refused_with_its_row_and_column(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        listed(tmp_path, text)


def test_each_position_is_cut_with_each_interval_and_its_own_radius() -> None:
    query = asked(UPLOAD, ("RADIUS", "0.5"), ("TIME", "1 2"), ("TIME", "3 4"))
    assert query.uploads == (UploadSpec("stars", "param:p", "p"),)
    positions = [Position(360.0, 1.0, None, "row 1 (a)"), Position(2.0, 3.0, 0.25, "row 2")]
    made = with_positions(query, positions, limit=4)
    assert [stencil.shape for stencil in made.stencils] == [
        Circle(0.0, 1.0, 0.5), Circle(0.0, 1.0, 0.5), Circle(2.0, 3.0, 0.25), Circle(2.0, 3.0, 0.25)
    ]  # fmt: skip
    assert made.stencils[1].text == "row 1 (a): CIRCLE=360.0 1.0 0.5 TIME=3 4"
    with pytest.raises(UsageError, match="4 cutouts: expected at most 3"):
        with_positions(query, positions, limit=3)


@pytest.mark.parametrize(
    ("pairs", "job", "said"),
    [
        ([UPLOAD], False, "UPLOAD: a list of positions is cut by a job"),
        ([UPLOAD, ("CIRCLE", "1 2 3")], True, "UPLOAD: the list has the positions"),
        ([UPLOAD, ("UPLOAD", "b,param:q")], True, "UPLOAD: expected at most 1"),
        ([("UPLOAD", "x")], True, "UPLOAD='x': expected name,uri"),
        ([("RADIUS", "1")], True, "RADIUS is that of uploaded positions"),
        ([UPLOAD, ("RADIUS", "181")], True, "RADIUS '181': expected a number of 0 to 180"),
        ([("HEADER", "mended")], False, "HEADER='mended': expected original or corrected"),
    ],
)
def test_a_list_goes_with_a_job_and_no_other_place(
    pairs: list[tuple[str, str]], job: bool, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        asked(*pairs, job=job)


def test_all_in_one_file_is_a_choice_of_jobs_and_what_sync_does_anyway() -> None:
    assert asked(("RESPONSEFORMAT", "mef")).media_type == MEF
    assert asked(("RESPONSEFORMAT", "MEF"), job=False).media_type == "application/fits"
    assert asked(("header", "Corrected")).corrected
    assert not asked().corrected
