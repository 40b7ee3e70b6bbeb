"""Corrections in the archive: whole or not at all, and rows that follow them."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.corrections.conftest import Corrigible, frame
from tests.corrections.support import primary, write
from vo_service.errors import NotFoundError, TransientError, UsageError
from vo_service.services.corrections import (
    Report,
    check_corrections,
    import_corrections,
    list_corrections,
    remove_corrections,
)

TARGET = "SELECT target_name FROM ivoa.obscore WHERE obs_id = 'CAMA{:08}'"


@pytest.fixture
def archive(corrigible: Corrigible) -> Iterator[Corrigible]:
    """The archive, again without corrections afterwards."""
    yield corrigible
    numbers = [i.correction.number for i in list_corrections(corrigible.settings)]
    remove_corrections(corrigible.settings, numbers)


def target(archive: Corrigible, number: int) -> object:
    [(name,)] = archive.owner(TARGET.format(number))
    return name


def add(archive: Corrigible, *rows: str, dry_run: bool = False) -> Report:
    return import_corrections(
        archive.settings, archive.table("c.csv", *rows), collection="mycam", dry_run=dry_run
    )


def test_rows_follow_corrected_headers_and_their_removal(archive: Corrigible) -> None:
    before = archive.owner("SELECT * FROM ivoa.obscore WHERE obs_id = 'CAMA00000002'")
    report = add(
        archive,
        "CAMA00000001,CAMA00000002,,OBJECT,M31,M33,string,",
        "CAMA00000001,CAMA00000002,,EXPTIME,30,45.5,float,",
        "CAMA00000002,,,RA,10.5,359.5,float,",  # another partition
        "a2.fits,,,PROPOSAL,P1,P2,string,",
    )
    assert (report.added, report.products, report.applied) == (4, 2, 6)
    assert (report.findings, report.nowhere) == ([], [])
    assert archive.owner(
        "SELECT target_name, t_exptime, s_ra FROM ivoa.obscore WHERE obs_id < 'CAMA00000004' "
        "ORDER BY obs_id"
    ) == [("M33", 45.5, 10.5), ("M33", 45.5, 359.5), ("M31", 30.0, 10.5)]
    assert archive.owner(
        "SELECT proposal_id FROM archive.product WHERE collection = 'mycam' AND path < 'b' "
        "ORDER BY path"
    ) == [("P1",), ("P2",), ("P1",)]
    # What is kept of the headers is what the files say.
    assert archive.owner(
        "SELECT count(*) FROM archive.product WHERE headers::text LIKE '%M33%'"
    ) == [(0,)]
    numbers = [i.correction.number for i in list_corrections(archive.settings, "mycam")]
    remove_corrections(archive.settings, numbers)
    assert archive.owner("SELECT * FROM ivoa.obscore WHERE obs_id = 'CAMA00000002'") == before
    [(removed,)] = archive.owner(
        "SELECT count(*) FROM archive.correction WHERE removed IS NOT NULL AND removed_by <> ''"
    )
    assert removed == 4


def test_a_dry_run_leaves_nothing_behind(archive: Corrigible) -> None:
    report = add(archive, "CAMA00000001,,,OBJECT,M31,M33,string,", dry_run=True)
    assert (report.added, report.applied) == (1, 1)
    assert list_corrections(archive.settings) == []
    assert target(archive, 1) == "M31"


def test_the_same_file_again_adds_nothing(archive: Corrigible) -> None:
    row = "CAMA00000001,,,OBJECT,M31,M33,string,"
    add(archive, row)
    report = add(archive, row)
    assert (report.added, report.known) == (0, 1)
    assert len(list_corrections(archive.settings)) == 1


def test_corrections_are_applied_in_the_order_of_import(archive: Corrigible) -> None:
    add(archive, "CAMA00000001,,,OBJECT,M31,M32,string,")
    add(archive, "CAMA00000001,,,OBJECT,M32,M33,string,")
    assert target(archive, 1) == "M33"
    report = add(archive, "CAMA00000001,,,OBJECT,M31,M110,string,")
    assert target(archive, 1) == "M33"
    assert [str(finding) for finding in report.findings] == [
        "mycam/a1.fits, HDU 0, OBJECT: found 'M33', expected 'M31'"
    ]


def test_a_wrong_current_is_told_and_not_applied(archive: Corrigible) -> None:
    report = add(
        archive,
        "CAMA00000001,CAMA00000003,,OBJECT,M32,M33,string,",
        "CAMA00000001,,,NOTHING,0,1,int,",
        "CAMA00000001,,2,GAIN,0,1,int,",
        "CAMA00000099,,,OBJECT,M31,M33,string,",
    )
    assert (report.added, report.applied) == (4, 0)
    assert [str(finding) for finding in report.findings] == [
        "mycam/a1.fits, HDU 0, OBJECT: found 'M31', expected 'M32'",
        "mycam/a1.fits, HDU any, NOTHING: there is no such keyword, expected '0'",
        "mycam/a1.fits, HDU 2, GAIN: there is no such keyword, expected '0'",
        "mycam/a2.fits, HDU 0, OBJECT: found 'M31', expected 'M32'",
        "mycam/a3.fits, HDU 0, OBJECT: found 'M31', expected 'M32'",
    ]
    assert [str(correction.frames) for correction in report.nowhere] == ["CAMA00000099"]
    (checked,) = check_corrections(archive.settings)
    assert [str(finding) for finding in checked.findings] == [str(f) for f in report.findings]
    assert [target(archive, number) for number in (1, 2, 3)] == ["M31"] * 3


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("CAMA00000002,,,RA,10.5,400,float,", "mycam/a2.fits, RA: "),
        ("CAMA00000002,,,FRAMEID,CAMA00000002,,string,", "FRAMEID is missing"),
    ],
)
def test_what_makes_a_frame_unmappable_is_refused_as_a_whole(
    archive: Corrigible, row: str, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        add(archive, "CAMA00000001,CAMA00000003,,OBJECT,M31,M33,string,", row)
    assert str(caught.value).startswith("nothing was changed, because these frames")
    assert said in str(caught.value)
    assert list_corrections(archive.settings) == []
    assert [target(archive, number) for number in (1, 2, 3)] == ["M31"] * 3


def test_a_removal_that_makes_a_frame_unmappable_is_refused(archive: Corrigible) -> None:
    add(archive, "CAMA00000003,,,RA,10.5,11,float,")
    (first,) = list_corrections(archive.settings)
    with pytest.raises(NotFoundError, match="there is no correction 99999"):
        remove_corrections(archive.settings, [first.correction.number, 99999])
    assert len(list_corrections(archive.settings)) == 1


def test_ingest_applies_corrections_before_it_maps(archive: Corrigible) -> None:
    # The frame has no position that could be mapped, and is right once it is corrected.
    hdu = primary([])
    hdu.header.extend(frame(50, RA=999.0))
    path = write(archive.files / "mycam" / "late.fits", hdu)
    report = add(archive, "CAMA00000050,,,RA,999,99,float,")
    assert len(report.nowhere) == 1
    try:
        archive.ingest("mycam")
        assert archive.owner("SELECT s_ra FROM ivoa.obscore WHERE obs_id = 'CAMA00000050'") == [
            (99.0,)
        ]
        (correction,) = list_corrections(archive.settings)
        with pytest.raises(UsageError, match=r"mycam/late\.fits, RA: "):
            remove_corrections(archive.settings, [correction.correction.number])
        assert list_corrections(archive.settings) == [correction]
    finally:
        path.unlink()
        with psycopg.connect(archive.settings.database_url or "") as connection:
            connection.execute("DELETE FROM archive.observation WHERE obs_id = 'CAMA00000050'")
            connection.execute(
                "UPDATE archive.product SET current = false, state = 'replaced' "
                "WHERE path = 'late.fits'"
            )


def test_rows_that_are_closed_stay_closed(archive: Corrigible) -> None:
    path = archive.table("c.csv", "CAMA00000001,,,OBJECT,secret,hidden,string,")
    report = import_corrections(archive.settings, path, collection="closed")
    assert (report.collection, report.applied) == ("closed", 1)
    assert archive.owner("SELECT count(*) FROM ivoa.obscore WHERE obs_collection = 'closed'") == [
        (0,)
    ]
    assert archive.owner("SELECT target_name, proposal_id FROM archive.observation_closed") == [
        ("hidden", "P1")
    ]


def test_whose_headers_they_are_must_be_clear(archive: Corrigible) -> None:
    path = archive.table("c.csv", "CAMA00000002,,,OBJECT,M31,M33,string,")
    assert import_corrections(archive.settings, path, dry_run=True).collection == "mycam"
    both = archive.table("c.csv", "CAMA00000001,,,OBJECT,M31,M33,string,")
    with pytest.raises(UsageError, match=r"say with --collection .* those of closed, mycam do"):
        import_corrections(archive.settings, both)
    none = archive.table("c.csv", "X,,,OBJECT,M31,M33,string,")
    with pytest.raises(UsageError, match="those of none do"):
        import_corrections(archive.settings, none)
    with pytest.raises(NotFoundError, match="no collection 'other'"):
        import_corrections(archive.settings, none, collection="other")
    with pytest.raises(NotFoundError, match="no collection 'other'"):
        check_corrections(archive.settings, "other")


def test_an_import_waits_for_no_ingest_but_says_so(archive: Corrigible) -> None:
    with psycopg.connect(archive.settings.database_url or "") as other:
        other.execute("SELECT pg_advisory_lock(hashtext('ingest'), hashtext('mycam'))")
        with pytest.raises(TransientError, match="another ingest of mycam is running"):
            add(archive, "CAMA00000001,,,OBJECT,M31,M33,string,")
    assert list_corrections(archive.settings) == []


def test_the_database_says_the_same_of_frames_as_the_model(archive: Corrigible) -> None:
    add(
        archive,
        "CAMA00000002,CAMA00000011,,T_SEEING,0,1,float,",
        "mef.fits,,,T_SEEING,0,1,float,",
    )
    assert archive.owner(
        "SELECT p.path, count(*) FROM archive.correction_of o JOIN archive.product p "
        "USING (product_id) WHERE p.collection = 'mycam' GROUP BY 1 ORDER BY 1"
    ) == [("a2.fits", 1), ("a3.fits", 1), ("mef.fits", 2), ("tiled.fits", 1)]
