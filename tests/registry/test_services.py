"""Which services a collection's record names, and what records of services say."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from lxml import etree
from mocpy import MOC

from tests.registry.facts import collection, facts
from vo_service.registry.archive import Coverage
from vo_service.registry.description import PublisherText
from vo_service.registry.records import build_records
from vo_service.services.registry import registry_directory
from vo_service.services.registry_check import TERMS_FILE, registry_problems
from vo_service.settings import Settings

BASE = "ivo://archive.example.org"


def records(*collections: object, **said: object) -> dict[str, etree._Element]:
    given = facts(*collections, **said)  # type: ignore[arg-type]  # what facts takes
    return {one.identifier: etree.fromstring(one.document) for one in build_records(given)}


def standards(record: etree._Element) -> set[str]:
    return {str(one.get("standardID")) for one in record.iter("capability")}


@pytest.mark.parametrize(
    ("products", "ssa", "sia"),
    [({"image"}, False, True), ({"spectrum", "cube"}, True, True), (set(), False, False)],
)
def test_a_collection_is_served_by_what_finds_its_products(
    products: set[str], ssa: bool, sia: bool
) -> None:
    found = records(collection(products=frozenset(products)))[f"{BASE}/tomoe"]
    assert ("ivo://ivoa.net/std/SSA#aux" in standards(found)) == ssa
    assert ("ivo://ivoa.net/std/SIA#query-aux-2.0" in standards(found)) == sia
    assert "ivo://ivoa.net/std/TAP#aux" in standards(found)
    served = {one.get("ivo-id") for one in found.iter("relatedResource")}
    assert (f"{BASE}/system/ssa" in served) == ssa


def test_a_hips_is_a_capability_of_its_collection() -> None:
    address = "https://archive.example.org/hips/tomoe"
    found = records(collection(hips=(address,)))[f"{BASE}/tomoe"]
    hips = found.find("capability[@standardID='ivo://ivoa.net/std/hips#hips-1.0']")
    assert hips is not None
    assert hips.findtext("interface[@role='std']/accessURL") == address


def test_each_service_has_the_title_that_is_said_of_it() -> None:
    said = {"sia2": {"title": "Images of Kiso"}, "tap": {"title": "Everything of Kiso"}}
    found = records(collection(), text=PublisherText.model_validate(said))
    assert found[f"{BASE}/system/sia2"].findtext("title") == "Images of Kiso"
    assert found[f"{BASE}/system/tap"].findtext("title") == "Everything of Kiso"
    assert found[f"{BASE}/system/soda"].findtext("title") == "The observatory: cutouts (SODA)"
    names = {one.text for one in found[f"{BASE}/tomoe"].iter("relatedResource")}
    assert {"Images of Kiso", "Everything of Kiso"} <= names


def test_a_service_covers_what_its_collections_cover() -> None:
    first = collection(coverage=Coverage("6/0-3", ((57_000, 57_010),), ((4e-7, 5e-7),)))
    second = replace(
        first, name="other",
        coverage=Coverage("6/3-5", ((57_005, 57_020), (58_000, 58_001)), ((9e-7, 1e-6),)),
    )  # fmt: skip
    coverage = records(first, second)[f"{BASE}/system/tap"].find("coverage")
    assert coverage is not None
    assert MOC.from_string(coverage.findtext("spatial")) == MOC.from_string("6/0-5")
    times = [one.text for one in coverage.iter("temporal")]
    assert times == ["57000.000000 57020.000000", "58000.000000 58001.000000"]
    assert len(list(coverage.iter("spectral"))) == 2


def test_subjects_are_checked_where_the_thesaurus_is_at_hand(home: Settings) -> None:
    def subjects() -> list[str]:
        return [one for one in registry_problems(home) if "subject" in one]

    assert subjects() == []
    file = registry_directory(home) / TERMS_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"terms": {"galaxy-clusters": {}}}))
    told = subjects()
    assert told
    assert all(one.endswith(f"{TERMS_FILE} has no such term") for one in told)
    file.write_text(json.dumps({"terms": {"observational-astronomy": {}}}))
    assert subjects() == []
    file.write_text("[]")
    assert any("in its JSON form" in one for one in registry_problems(home))
