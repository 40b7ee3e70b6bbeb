"""Provenance from headers and tables: kept, replaced, published; what is closed stays closed."""

from __future__ import annotations

import pytest

from tests.datalink.archive import Lab
from vo_service.db.connect import Role
from vo_service.errors import ConfigError, NotFoundError, UsageError
from vo_service.services.corrections import import_corrections
from vo_service.services.ingest import find_collection
from vo_service.services.provenance import Report, import_provenance, update_provenance

A1, A2 = "ivo://lab/reduced?A1.fits", "ivo://lab/reduced?A2.fits"
D1 = "ivo://lab/raw?D1.fits"
RUN = "reduced/night-7@3f9c2ab"


def derived(lab: Lab, of: str) -> list[tuple[str, str]]:
    """Role and identifier of what was used."""
    return sorted(
        (role, used)
        for used, role in lab.query(
            "SELECT used_entity_id, role FROM provenance.was_derived_from "
            f"WHERE generated_entity_id = '{of}'"
        )
    )


@pytest.mark.parametrize("role", [Role.READER, Role.MEMBER])
def test_headers_tell_run_code_time_and_files(lab: Lab, role: Role) -> None:
    assert lab.query("SELECT * FROM provenance.activity", role) == [
        (RUN, "night-7", None, None, None, "pipe", "3f9c2ab", "reduced")
    ]
    assert sorted(lab.query("SELECT * FROM provenance.was_generated_by", role)) == [
        (A1, RUN), (A2, RUN),
    ]  # fmt: skip
    assert lab.query(f"SELECT * FROM provenance.entity WHERE id = '{A1}'", role) == [
        (A1, "A1", "https://h/data/reduced/A1.fits", "2020-01-02T03:04:05.000", None, "reduced", 1)
    ]
    # R1 and R2 are there, and nobody is to know it: they are names, as LOST is.
    assert derived(lab, A1) == [("dark", D1), ("progenitor", "R1"), ("progenitor", "R2")]
    assert derived(lab, A2) == [
        ("calibration", "LOST"), ("calibration", A1), ("dark", D1), ("progenitor", "R2"),
    ]  # fmt: skip
    assert sorted(lab.query("SELECT * FROM provenance.used", role)) == sorted(
        (RUN, used, kind) for kind, used in {*derived(lab, A1), *derived(lab, A2)}
    )


def test_ancestors_are_those_of_ancestors(lab: Lab) -> None:
    rows = lab.query(
        f"SELECT ancestor_id, role, generation FROM provenance.ancestor WHERE entity_id = '{A2}'"
    )
    assert sorted(rows) == sorted(
        [
            *((used, role, 1) for role, used in derived(lab, A2)),
            *((used, role, 2) for role, used in derived(lab, A1)),
        ]
    )


def test_no_closed_frame_is_an_entity(lab: Lab) -> None:
    ids = {row[0] for row in lab.query("SELECT id FROM provenance.entity")}
    assert ids == {A1, A2, D1}


def test_what_is_derived_from_a_frame_is_found_in_indexes(lab: Lab) -> None:
    plan = lab.query(
        f"EXPLAIN SELECT * FROM provenance.was_derived_from WHERE used_entity_id = '{D1}'"
    )
    text = "\n".join(line for (line,) in plan)
    assert "product_open_did" in text
    assert "derivation_name" in text


def test_a_new_reduction_is_a_new_record_and_the_old_one_stays(own_lab: Lab) -> None:
    own_lab.write("reduced", "A1", EXPOSURE="E1", RUN="night-8", CODEVER="2.0", RAW="R9")
    assert own_lab.ingest("reduced") == []
    assert derived(own_lab, A1) == [("progenitor", "R9")]
    assert ("dark", D1) in derived(own_lab, f"{A1}#1")
    rows = own_lab.query(
        "SELECT e.version, g.activity_id, e.location IS NULL, e.invalidated_at_time IS NULL "
        "FROM provenance.entity e JOIN provenance.was_generated_by g ON g.entity_id = e.id "
        f"WHERE e.id LIKE '{A1}%' ORDER BY e.version"
    )
    assert rows == [(1, RUN, True, False), (2, "reduced/night-8@2.0", False, True)]


def test_a_time_that_is_none_refuses_the_file(own_lab: Lab) -> None:
    own_lab.write("reduced", "B1", EXPOSURE="E2", RUN="r", DATE="yesterday")
    [reason] = own_lab.ingest("reduced")
    assert "expected a date" in reason
    assert "yesterday" in reason


def test_a_table_adds_to_headers_and_stands_before_them(own_lab: Lab) -> None:
    table = own_lab.table(
        "product,role,used,used_collection,run,version,start,end,comment,time",
        "A1,flat,FLAT-7.fits,raw,night-7b,v2,2020-01-03,2020-01-04T12:00:00,by hand,",
        f"{A1},bias,ivo://lab/raw?D1.fits,,,,,,,",
        "A2.fits,flat,FLAT-8,,,,,,,",
        "D1,,,,,,,,,",
    )
    with pytest.raises(UsageError, match="line 5"):
        import_provenance(own_lab.settings, table, "reduced")
    table.write_text(table.read_text().replace("D1,,,,,,,,,\n", ""))
    before = derived(own_lab, A1)
    dry = import_provenance(own_lab.settings, table, "reduced", dry_run=True)
    assert derived(own_lab, A1) == before
    for _ in range(2):  # the same again changes nothing
        assert import_provenance(own_lab.settings, table, "reduced") == dry
        assert derived(own_lab, A1) == sorted([*before, ("flat", "FLAT-7"), ("bias", D1)])
        rows = own_lab.query("SELECT * FROM provenance.activity ORDER BY id")
        assert rows[1] == (
            "reduced/night-7b@v2", "night-7b", "2020-01-03T00:00:00.000",
            "2020-01-04T12:00:00.000", "by hand", None, "v2", "reduced",
        )  # fmt: skip
    assert dry == Report(products=2, runs=1, used=3, absent=2)
    update_provenance(own_lab.settings, find_collection(own_lab.settings, "reduced"))
    [(run,)] = own_lab.query(
        f"SELECT activity_id FROM provenance.was_generated_by WHERE entity_id = '{A1}'"
    )
    assert run == "reduced/night-7b@v2"
    # A later table says all that tables say of a product.
    table = own_lab.table("product,role,used", "A1,flat,FLAT-9")
    import_provenance(own_lab.settings, table, "reduced")
    assert derived(own_lab, A1) == sorted([*before, ("flat", "FLAT-9")])


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["product,role,used", "A1,sky,X"], "line 2, role: expected one of progenitor"),
        (["product,role,used", "A1,dark,"], "line 2, used: expected"),
        (["product,role,used", ",dark,X"], "line 2, product: expected"),
        (["product,role,used", "A1,dark"], "line 2, expected 3 fields, found 2"),
        (["product,role,used", "NONE,dark,X"], "line 2, product: 'NONE' is not the name"),
        (["product,run,start", "A1,r,soon"], "line 2, start: expected a date"),
        (["product,run,start,end", "A1,r,2020-01-02,2020-01-01"], "line 2, end: expected a time"),
        (["product,run,comment", "A1,,x"], "line 2, run: expected the run"),
        (["product,run", "A1,r", "A1,s"], "line 3, run: another line says something else"),
        (["product,kind", "A1,r"], "line 1: expected each column once"),
        (["role,used", "dark,r"], "line 1: the column 'product' is missing"),
        (["product,role,used"], "there is nothing in it"),
        (["product,role,used", 'A1,dark,"X'], "line 2: unexpected end of data"),
        (["product,role,used", "A1,dark,X\x07"], "line 2, used: expected at most 500 printable"),
        (["product,role,used", f"A1,dark,{'X' * 501}"], "line 2, used: expected at most 500"),
    ],
)
def test_a_table_that_is_wrong_is_refused_whole_with_line_and_column(
    lab: Lab, lines: list[str], said: str
) -> None:
    before = lab.query("SELECT * FROM provenance.was_derived_from ORDER BY 1, 2, 3")
    with pytest.raises(UsageError, match=said):
        import_provenance(lab.settings, lab.table(*lines), "reduced")
    assert lab.query("SELECT * FROM provenance.was_derived_from ORDER BY 1, 2, 3") == before


def test_a_table_needs_a_collection_and_an_update_needs_rules(lab: Lab) -> None:
    with pytest.raises(NotFoundError, match="'none'"):
        import_provenance(lab.settings, lab.table("product,run", "A1,r"), "none")
    with pytest.raises(ConfigError, match="no field 'provenance'"):
        update_provenance(lab.settings, find_collection(lab.settings, "raw"))


def test_headers_are_read_again_by_new_rules_corrected(own_lab: Lab) -> None:
    file = own_lab.settings.collections / "reduced.yaml"
    file.write_text(file.read_text().replace("dark: {keyword: DARK,", "bias: {keyword: DARK,"))
    table = own_lab.table(
        "start_frame,keyword,current,updated,datatype", "A1,RUN,night-7,night-9,string"
    )
    import_corrections(own_lab.settings, table, collection="reduced")
    # Only A1 was mapped again, by the rules with which it was ingested.
    assert ("dark", D1) in derived(own_lab, A1)
    assert sorted(own_lab.query("SELECT * FROM provenance.was_generated_by")) == [
        (A1, "reduced/night-9@3f9c2ab"), (A2, RUN),
    ]  # fmt: skip
    counts: list[int] = []
    report = update_provenance(
        own_lab.settings, find_collection(own_lab.settings, "reduced"), done=counts.append
    )
    assert report == Report(products=2, runs=2, used=7, absent=1)
    assert counts == [2]
    for did in (A1, A2):
        assert ("bias", D1) in derived(own_lab, did)
        assert ("dark", D1) not in derived(own_lab, did)


def test_a_header_that_does_not_fit_new_rules_changes_nothing(own_lab: Lab) -> None:
    file = own_lab.settings.collections / "reduced.yaml"
    file.write_text(file.read_text().replace("time: {keyword: DATE}", "time: {keyword: RUN}"))
    before = own_lab.query("SELECT * FROM provenance.was_derived_from ORDER BY 1, 2, 3")
    with pytest.raises(UsageError, match=r"reduced/A1.fits, RUN: expected a date"):
        update_provenance(own_lab.settings, find_collection(own_lab.settings, "reduced"))
    assert own_lab.query("SELECT * FROM provenance.was_derived_from ORDER BY 1, 2, 3") == before


def test_rules_name_keywords_and_roles_or_the_file_is_wrong(own_lab: Lab) -> None:
    file = own_lab.settings.collections / "reduced.yaml"
    right = file.read_text()
    for old, new, said in (
        ("{keyword: RUN}", "{keyword: run}", "provenance.run.keyword: expected keywords"),
        ("{keyword: RUN}", "{}", "provenance.run: expected keyword or constant"),
        ("calibration: {keyword", "sky: {keyword", "provenance.used"),
        ("{keyword: CALIB}", "{}", "provenance.used.calibration"),
    ):
        file.write_text(right.replace(old, new))
        with pytest.raises(ConfigError, match=said):
            find_collection(own_lab.settings, "reduced")
