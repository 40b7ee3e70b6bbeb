"""What DataLink tells of the files that a file was made of, and is used for."""

from __future__ import annotations

import psycopg
import pytest

from tests.datalink.archive import ROOT, Lab
from tests.people import known_person
from vo_service.db.connect import Role, conninfo
from vo_service.db.datalink import RELATED
from vo_service.model.visitor import Visitor
from vo_service.services.corrections import import_corrections

pytestmark = pytest.mark.anyio

A1, A2 = "ivo://lab/reduced?A1.fits", "ivo://lab/reduced?A2.fits"
R1, D1 = "ivo://lab/raw?R1.fits", "ivo://lab/raw?D1.fits"
HERE = f"{ROOT}/data"


def short(rows: list[dict[str, object]]) -> list[tuple[object, object]]:
    """Semantics, and address, descriptor or fault."""
    given = ("access_url", "service_def", "error_message")
    for row in rows:
        assert sum(row[name] is not None for name in given) == 1
    return [(row["semantics"], next(row[n] for n in given if row[n])) for row in rows]


async def test_all_that_a_reduced_frame_leads_to_and_what_nobody_may_know_is_as_if_unknown(
    lab: Lab,
) -> None:
    rows = await lab.links(A1)
    assert short(rows) == [
        ("#this", f"{HERE}/reduced/A1.fits"),
        ("#cutout", "cutout-1"),
        ("#detached-header", f"{ROOT}/datalink/header?ID={A1}"),
        ("#progenitor", "NotFoundFault: R1 is not in this archive"),
        ("#progenitor", "NotFoundFault: R2 is not in this archive"),
        ("#dark", f"{HERE}/raw/D1.fits"),
        ("#derivation", f"{HERE}/reduced/A2.fits"),
        ("#coderived", f"{HERE}/reduced/A2.fits"),
        ("#package", f"{ROOT}/bundles/sync?OBS_ID=E1"),
    ]
    local = [row["local_semantics"] for row in rows]
    assert local[0] == "file"
    assert local[-3:] == ["calibration-of", "exposure", "exposure-tar"]
    dark = rows[5]
    assert (dark["content_type"], dark["content_length"], dark["content_qualifier"]) == (
        "image/fits", 5760, "#image",
    )  # fmt: skip
    assert (dark["link_auth"], dark["link_authorized"]) == ("false", True)
    unknown = await lab.links("ivo://lab/raw?NONE.fits")
    closed = await lab.links(R1)
    assert [{**row, "ID": ""} for row in closed] == [{**row, "ID": ""} for row in unknown]


async def test_people_of_the_proposal_see_the_raw_frames(own_lab: Lab) -> None:
    known_person(own_lab.settings, "ann", "P1")
    rows = await own_lab.links(A1, visitor=Visitor(name="ann"))
    raw = [row for row in rows if row["semantics"] == "#progenitor"]
    assert [row["access_url"] for row in raw] == [f"{HERE}/raw/R1.fits", f"{HERE}/raw/R2.fits"]
    assert [(row["link_auth"], row["link_authorized"]) for row in raw] == [("true", True)] * 2
    made_of = await own_lab.links(R1, visitor=Visitor(name="ann"))
    assert ("#derivation", f"{HERE}/reduced/A1.fits") in short(made_of)


async def test_a_dark_leads_to_what_it_was_used_for(lab: Lab) -> None:
    rows = [row for row in await lab.links(D1) if row["semantics"] == "#derivation"]
    assert [row["access_url"] for row in rows] == [
        f"{HERE}/reduced/A1.fits", f"{HERE}/reduced/A2.fits",
    ]  # fmt: skip
    assert {row["local_semantics"] for row in rows} == {"dark-of"}


async def test_a_file_that_is_used_and_not_here_is_a_row_with_its_fault(lab: Lab) -> None:
    found = [row for row in short(await lab.links(A2)) if row[0] == "#calibration"]
    assert found == [
        ("#calibration", f"{HERE}/reduced/A1.fits"),
        ("#calibration", "NotFoundFault: LOST is not in this archive"),
    ]


async def test_rows_of_an_identifier_stand_together_and_maxrec_cuts_between_them(lab: Lab) -> None:
    whole = await lab.links(A1, A2, "ivo://no", D1)
    ids = [row["ID"] for row in whole]
    assert ids == sorted(ids, key=[A1, A2, "ivo://no", D1].index)
    counts = [ids.count(one) for one in (A1, A2, "ivo://no", D1)]
    ends = [sum(counts[:n]) for n in range(5)]
    for maxrec in range(len(whole) + 2):
        fit = max(end for end in ends if end <= maxrec)
        assert await lab.links(A1, A2, "ivo://no", D1, maxrec=maxrec) == whole[:fit]


async def test_siblings_and_derivatives_are_not_listed_for_many_identifiers(lab: Lab) -> None:
    few = [A1, *(f"ivo://no/{n}" for n in range(49))]
    many = [*few, "ivo://no/50"]
    kinds = [row["semantics"] for row in await lab.links(*few)][:9]
    assert [k for k in kinds if k not in ("#coderived", "#derivation")] == [
        row["semantics"] for row in (await lab.links(*many))[:7]
    ]


async def test_corrections_add_the_corrected_file_and_the_list(own_lab: Lab) -> None:
    table = own_lab.table(
        "start_frame,keyword,current,updated,datatype", "A1,EXPOSURE,E1,E2,string"
    )
    import_corrections(own_lab.settings, table, collection="reduced")
    found = short(await own_lab.links(A1))
    assert found[1] == ("#this", f"{HERE}/reduced/A1.fits?header=corrected")
    assert (
        "#auxiliary", f"{ROOT}/corrections/reduced?RESPONSEFORMAT=csv&ID={A1}",
    ) in found  # fmt: skip
    # A1 is of another exposure now: neither of the two has a sibling.
    for did in (A1, A2):
        kinds = {kind for kind, _ in short(await own_lab.links(did))}
        assert not kinds & {"#coderived", "#package"}


async def test_pictures_are_linked_once_they_are_made(own_lab: Lab) -> None:
    assert "#preview" not in {row["semantics"] for row in await own_lab.links(A1)}
    with psycopg.connect(conninfo(own_lab.settings, Role.WRITER)) as writer:
        writer.execute("UPDATE archive.preview SET made = now()")
    found = dict(short(await own_lab.links(A1)))
    assert found["#preview"] == f"{ROOT}/previews/reduced/A1.fits.png"
    assert found["#thumbnail"] == f"{ROOT}/previews/reduced/A1.fits.thumb.png"


async def test_of_a_dark_that_thousands_were_made_with_a_hundred_are_listed(own_lab: Lab) -> None:
    with psycopg.connect(conninfo(own_lab.settings, Role.WRITER)) as writer:
        writer.execute(
            "INSERT INTO archive.product (collection, path, did, source, size, modified, "
            "media_type, state, headers) SELECT 'reduced', n || '.fits', 'ivo://many/' || n, '/f', "
            "0, now(), 'image/fits', 'public', '[]' FROM generate_series(1, 3000) AS n"
        )
        writer.execute(
            "INSERT INTO archive.derivation SELECT product_id, 'dark', 'frame', 'raw', 'D1', false "
            "FROM archive.product WHERE did LIKE 'ivo://many/%'"
        )
    rows = [row for row in await own_lab.links(D1) if row["semantics"] == "#derivation"]
    assert len(rows) == RELATED
