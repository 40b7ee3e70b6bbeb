"""The registry of the demonstration archive: what it says is what the archive holds and serves."""

from __future__ import annotations

import httpx
import psycopg
import pytest
from astropy.constants import c, h
from lxml import etree
from mocpy import MOC
from sickle import Sickle

from tests.registry.test_records import canonical
from tests.support import validate
from tests.web.conftest import Archive
from vo_service.db.connect import Role, conninfo
from vo_service.services.capabilities import SERVICES
from vo_service.services.registry import publish_records
from vo_service.services.registry_check import registry_problems

BASE = "ivo://vo-service.example"


@pytest.fixture(scope="module")
def records(archive: Archive) -> dict[str, etree._Element]:
    """All records, as sickle gets them; the archive's own worker published them."""
    publish_records(archive.settings)
    client = Sickle(f"{archive.url}/oai")
    return {
        one.header.identifier: one.xml.find(".//{*}Resource")
        for one in client.ListRecords(metadataPrefix="ivo_vor")
    }


def test_all_answers_are_valid(archive: Archive, records: dict[str, etree._Element]) -> None:
    for prefix in ("ivo_vor", "oai_dc"):
        for arguments in (
            {"verb": "ListRecords", "metadataPrefix": prefix},
            {"verb": "ListIdentifiers", "metadataPrefix": prefix},
        ):
            validate(httpx.get(f"{archive.url}/oai", params=arguments).content)
    for verb in ("Identify", "ListSets", "ListMetadataFormats"):
        validate(httpx.get(f"{archive.url}/oai", params={"verb": verb}).content)
    assert len(records) == 6 + len(SERVICES)


@pytest.mark.parametrize("key", [service.key for service in SERVICES])
def test_vosi_capabilities_are_the_registered_ones(
    archive: Archive, records: dict[str, etree._Element], key: str
) -> None:
    registered = records[f"{BASE}/system/{key}"].findall("capability")
    (place,) = (
        one.findtext("interface/accessURL")
        for one in registered
        if one.get("standardID") == "ivo://ivoa.net/std/VOSI#capabilities"
    )
    assert str(place).startswith(archive.url)
    vosi = etree.fromstring(httpx.get(str(place)).content)
    assert [canonical(one) for one in registered] == [canonical(one) for one in vosi]


def test_the_registry_says_so_of_itself(
    archive: Archive, records: dict[str, etree._Element]
) -> None:
    answer = httpx.get(f"{archive.url}/oai/capabilities")
    validate(answer.content)
    vosi = etree.fromstring(answer.content)
    registered = records[f"{BASE}/system/registry"].findall("capability")
    assert [canonical(one) for one in registered] == [canonical(one) for one in vosi]
    available = httpx.get(f"{archive.url}/oai/availability")
    validate(available.content)
    assert b">true<" in available.content


def test_the_registered_tables_are_those_of_vosi(
    archive: Archive, records: dict[str, etree._Element]
) -> None:
    vosi = etree.fromstring(httpx.get(f"{archive.url}/tap/tables").content)
    tables = records[f"{BASE}/system/tap"].find("tableset")
    assert tables is not None
    assert [canonical(one) for one in tables] == [canonical(one) for one in vosi]


@pytest.mark.parametrize("name", ["tomoe", "triccs", "subaru"])
def test_coverage_holds_what_the_rows_say(
    archive: Archive, records: dict[str, etree._Element], name: str
) -> None:
    with psycopg.connect(conninfo(archive.settings, Role.OWNER)) as connection:
        rows = connection.execute(
            "SELECT s_ra, s_dec, t_min, t_max, em_min, em_max FROM archive.observation "
            "JOIN archive.product p USING (product_id) WHERE p.collection = %s",
            (name,),
        ).fetchall()
    coverage = records[f"{BASE}/{name}"].find("coverage")
    assert coverage is not None
    moc = MOC.from_string(str(coverage.findtext("spatial")))
    times = [tuple(map(float, str(t.text).split())) for t in coverage.iterfind("temporal")]
    energies = [tuple(map(float, str(e.text).split())) for e in coverage.iterfind("spectral")]
    hc = (h * c).to_value("J m")
    for ra, dec, t_min, t_max, em_min, em_max in rows:
        if ra is not None:
            assert moc.contains_lonlat(*_degrees(ra, dec)).all()
        if t_min is not None:
            assert any(first <= t_min and t_max <= last for first, last in times)
        if em_min:
            low, high = hc / em_max * (1 + 1e-4), hc / em_min * (1 - 1e-4)
            assert any(least <= low and high <= most for least, most in energies)
    assert moc.sky_fraction < 0.01


def _degrees(ra: float, dec: float) -> tuple[object, object]:
    from astropy.coordinates import Latitude, Longitude  # noqa: PLC0415 - slow, and needed once

    return Longitude([ra], "deg"), Latitude([dec], "deg")


def test_the_tap_record_names_what_it_holds(records: dict[str, etree._Element]) -> None:
    tap = records[f"{BASE}/system/tap"]
    assert "Tomo-e Gozen" in str(tap.findtext("content/description"))
    assert "Tomo-e Gozen" in [one.text for one in tap.iterfind("instrument")]


def test_check_finds_nothing_but_the_example_authority(archive: Archive) -> None:
    assert [problem.partition(":")[0] for problem in registry_problems(archive.settings)] == [
        "settings"
    ]
