"""`pyvo.registry` asks the served archive, which is a registry of its own records and others'."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import pyvo
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time
from pyvo.registry import rtcons

from tests.conftest import fresh_database
from tests.registry.conftest import make_home
from tests.registry.repository import page, record, repository, resource
from tests.web.conftest import Archive, serving
from vo_service.services.harvest import harvest
from vo_service.services.registry import publish_records
from vo_service.settings import Settings

BASE = "ivo://vo-service.example"

#: A position of the demonstration archive's frames of M 81, and what else is known of them.
M81 = (149.38, 69.65)


# Vocabularies that PyVO would fetch.
rtcons.Waveband._legal_terms = {"optical", "radio"}


@pytest.fixture(autouse=True)
def registry(archive: Archive) -> Iterator[None]:
    publish_records(archive.settings)
    before = pyvo.registry.get_RegTAP_service_url()
    pyvo.registry.choose_RegTAP_service(f"{archive.url}/tap")
    yield
    pyvo.registry.choose_RegTAP_service(before)


def found(constraint: rtcons.Constraint) -> set[str]:
    results = pyvo.registry.search(constraint)
    return {str(one.ivoid).removeprefix(f"{BASE}/") for one in results}


def test_the_second_script_of_the_talk_finds_the_tap_service(archive: Archive) -> None:
    """MISSION D2: only the keyword is another."""
    services = pyvo.regsearch(keywords=["Tomo-e"], servicetype="tap")
    assert [(s.ivoid, s.access_url) for s in list(services)] == [
        (f"{BASE}/system/tap", f"{archive.url}/tap")
    ]
    assert "TAP" in services[0].res_title
    [row] = services[0].get_service("tap").search("SELECT COUNT(*) AS n FROM ivoa.obscore")
    assert row["n"] > 0


def test_it_is_chosen_by_an_environment_variable_as_well(archive: Archive) -> None:
    script = (
        "import pyvo as vo\n"
        "for s in vo.regsearch(keywords=['Tomo-e'], servicetype='tap'):\n"
        "    print(f'{s.ivoid} -- {s.res_title} -- {s.access_url}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env=os.environ | {"IVOA_REGISTRY": f"{archive.url}/tap"},
    )  # fmt: skip
    assert done.stdout.startswith(f"{BASE}/system/tap -- ")
    assert done.stdout.endswith(f" -- {archive.url}/tap\n")


#: Services say and cover what their collections do, so with these they are found too.
OF_COLLECTIONS = (
    rtcons.Freetext,
    rtcons.Waveband,
    rtcons.Spatial,
    rtcons.Spectral,
    rtcons.Temporal,
)


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        (rtcons.Freetext("gozen"), {"tomoe"}),
        (rtcons.Freetext("TOMO-E", "gozen"), {"tomoe"}),
        (rtcons.Freetext("nowhere-at-all"), set()),
        (rtcons.Servicetype("tap"), {"system/tap"}),
        (rtcons.Servicetype("sia2"), {"system/sia2"}),
        (rtcons.Servicetype("scs", "ssa"), {"system/scs", "system/ssa"}),
        (rtcons.Servicetype("tap").include_auxiliary_services(),
         {"system/tap", "tomoe", "triccs", "subaru"}),
        (rtcons.Ivoid(f"{BASE}/TOMOE"), {"tomoe"}),
        (rtcons.Author("%'; DROP TABLE rr.resource --%"), set()),
        (rtcons.Waveband("optical"), {"tomoe", "triccs", "subaru"}),
        (rtcons.Waveband("radio"), set()),
        (rtcons.Datamodel("obscore"), {"system/tap"}),
        (rtcons.Datamodel("epntap"), set()),
        (rtcons.UCD("pos.eq.ra%"), {"system/tap"}),
        (rtcons.UCD("src.redshift"), set()),
        (rtcons.Spatial(M81), {"tomoe"}),
        (rtcons.Spatial((*M81, 0.05)), {"tomoe"}),
        (rtcons.Spatial(SkyCoord(*M81, unit="deg")), {"tomoe"}),
        (rtcons.Spatial((10.0, -80.0)), set()),
        (rtcons.Spatial("0/0-11", intersect="enclosed"), {"tomoe", "triccs", "subaru"}),
        (rtcons.Spatial("0/0-11", intersect="overlaps"), {"tomoe", "triccs", "subaru"}),
        (rtcons.Spectral(1 * u.m), set()),
        (rtcons.Spectral((0.5 * u.eV, 3.1 * u.eV)), {"tomoe", "triccs", "subaru"}),
        (rtcons.Temporal(Time("1950-01-01")), set()),
        (rtcons.Temporal((30000.0, 70000.0)), {"tomoe", "triccs", "subaru"}),
    ],
    ids=lambda value: f"{type(value).__name__}" if isinstance(value, rtcons.Constraint) else "",
)  # fmt: skip
def test_each_constraint_of_pyvo_finds_what_fits(
    constraint: rtcons.Constraint, expected: set[str]
) -> None:
    results = found(constraint)
    if isinstance(constraint, OF_COLLECTIONS):
        results = {one for one in results if not one.startswith("system/")}
    assert results == expected


def test_a_result_tells_its_contact_its_tables_and_what_it_is(archive: Archive) -> None:
    [one] = pyvo.registry.search(ivoid=f"{BASE}/system/tap")
    assert archive.settings.contact in one.get_contact()
    tables = one.get_tables()
    assert {"ivoa.obscore", "rr.resource", "tap_schema.columns"} <= set(tables)
    columns = {column.name: column for column in tables["ivoa.obscore"].columns}
    assert columns["s_ra"].ucd == "pos.eq.ra"
    one.describe(verbose=True)
    assert one.created <= one.updated
    collections = pyvo.registry.search(servicetype="tap", keywords="subaru", includeaux=True)
    assert len(collections) == 2
    assert "content" not in collections.get_summary().colnames


QUERIES = {
    "TAP access URLs": (
        "SELECT ivoid, access_url FROM rr.capability NATURAL JOIN rr.interface "
        "WHERE standard_id LIKE 'ivo://ivoa.net/std/tap%' AND intf_role='std' "
        "AND authenticated_only=0"
    ),
    "subjects": (
        "SELECT ivoid, access_url FROM rr.capability NATURAL JOIN rr.resource "
        "NATURAL JOIN rr.interface NATURAL JOIN rr.res_subject "
        "WHERE standard_id LIKE 'ivo://ivoa.net/std/sia%' AND intf_role='std' AND ("
        "1=ivo_nocasematch(res_subject, '%survey%') OR 1=ivo_hasword(res_description, 'images') "
        "OR 1=ivo_hasword(res_title, 'image'))"
    ),
    "authority": f"SELECT ivoid FROM rr.resource WHERE ivoid LIKE '{BASE}%'",
    "from a registry": (
        "SELECT ivoid FROM rr.resource RIGHT OUTER JOIN ("
        "SELECT 'ivo://' || detail_value || '%' AS pat FROM rr.res_detail "
        f"WHERE detail_xpath='/managedAuthority' AND ivoid='{BASE}/system/registry') "
        "AS authpatterns ON 1=ivo_nocasematch(resource.ivoid, authpatterns.pat)"
    ),
    "with physics": (
        "SELECT ivoid, name, ucd, column_description, access_url FROM rr.capability "
        "NATURAL JOIN rr.interface NATURAL JOIN rr.table_column NATURAL JOIN rr.res_table "
        "WHERE standard_id LIKE 'ivo://ivoa.net/std/tap%' AND intf_role='std' "
        "AND 1=ivo_hasword(table_description, 'observations') AND ucd='pos.eq.ra'"
    ),
    "related capabilities": (
        "SELECT * FROM rr.relationship AS a JOIN rr.capability AS b ON (a.related_id=b.ivoid) "
        f"WHERE relationship_type='isservedby' AND a.ivoid='{BASE}/tomoe'"
    ),
    "space, time and spectrum": (
        "SELECT ivoid FROM rr.stc_spatial NATURAL JOIN rr.stc_spectral NATURAL JOIN "
        f"rr.stc_temporal WHERE 1=CONTAINS(MOC(8, CIRCLE({M81[0]}, {M81[1]}, 0.01)), coverage) "
        "AND 1=ivo_interval_overlaps(time_start, time_end, 40000, 70000) "
        "AND 3.97e-19 BETWEEN spectral_start AND spectral_end"
    ),
    "as TOPCAT asks": (
        "SELECT ivoid, short_name, res_title, res_description, access_url, ntable FROM ("
        "SELECT svcid AS ivoid, COUNT(*) AS ntable FROM rr.tap_table GROUP BY svcid) AS tt "
        "NATURAL JOIN rr.resource NATURAL JOIN rr.capability NATURAL JOIN rr.interface "
        "WHERE standard_id = 'ivo://ivoa.net/std/tap' AND intf_type = 'vs:paramhttp' "
        "ORDER BY ntable DESC"
    ),
    "contains polygons": (
        "SELECT ivoid FROM rr.stc_spatial WHERE "
        f"1=INTERSECTS(coverage, POLYGON({M81[0]}, {M81[1]}, 150, 69.65, 150, 70))"
    ),
    "a point": (
        "SELECT ivoid, coverage FROM rr.stc_spatial "
        f"WHERE 1=CONTAINS(POINT({M81[0]}, {M81[1]}), coverage)"
    ),
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=list(QUERIES))
def test_the_queries_of_the_standard_answer(archive: Archive, query: str) -> None:
    assert len(pyvo.dal.TAPService(f"{archive.url}/tap").search(query)) > 0


@pytest.fixture(scope="module")
def mirror(server: str, place: Path) -> Iterator[Settings]:
    """A registry that means to hold all of the VO, and has harvested some of it."""
    with fresh_database(server) as url:
        home = make_home(url, place, registry_mirror=True)
        publish_records(home)
        far = "<content><subject>x-ray-sources</subject></content>"
        far += '<capability standardID="ivo://ivoa.net/std/ConeSearch"><interface role="std" '
        far += 'xsi:type="vs:ParamHTTP"><accessURL>http://far.example/scs?</accessURL>'
        far += "</interface></capability><coverage><waveband>X-ray</waveband></coverage>"
        listed = page(record("ivo://far.example/x", resource("ivo://far.example/x", "遠い", far)))
        with repository(lambda asked: listed) as there:
            harvest(home, there.url, pause_s=0)
        with serving(home):
            yield home


def test_a_mirror_of_the_registry_says_so_and_finds_what_it_harvested(mirror: Settings) -> None:
    pyvo.registry.choose_RegTAP_service(f"{mirror.root_url}/tap")
    assert {str(one.ivoid) for one in pyvo.registry.search(datamodel="regtap")} == {
        "ivo://archive.example.org/system/tap"
    }
    [one] = pyvo.registry.search(rtcons.Freetext("x-ray"), servicetype="scs")
    assert (one.ivoid, one.res_title) == ("ivo://far.example/x", "遠い")
    assert one.get_service("scs").baseurl == "http://far.example/scs?"


def test_who_is_no_mirror_does_not_say_so(archive: Archive) -> None:
    assert found(rtcons.Datamodel("regtap")) == set()
