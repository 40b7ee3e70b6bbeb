"""Records: valid whatever they hold, the same bytes for the same facts."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lxml import etree

from tests.registry.facts import collection, facts
from tests.support import validate
from vo_service.formats.vosi import tableset
from vo_service.model.published import PUBLISHED
from vo_service.model.table import Catalog, Column, Schema, Table
from vo_service.registry.archive import ArchiveFacts, Coverage
from vo_service.registry.description import CollectionText, PublisherText
from vo_service.registry.records import Record, build_records, dated
from vo_service.registry.validity import faults_of
from vo_service.services.capabilities import SERVICES
from vo_service.settings import Settings

NOW = datetime(2026, 11, 21, 13, 0, 0, tzinfo=UTC)
TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
AUTHORITY = "archive.example.org"

FULL = CollectionText.model_validate(
    {
        "title": "A survey",
        "short_name": "A survey",
        "description": "All of it.",
        "subjects": ["galaxy-clusters", "quasars"],
        "reference_url": "https://archive.example.org/survey",
        "types": ["Survey", "Catalog"],
        "levels": ["Research", "University"],
        "creators": [{"name": "Doe, J.", "orcid": "0000-0002-1825-0097"}],
        "contributors": ["Roe, R."],
        "contacts": [{"name": "Doe, J.", "address": "Kiso", "telephone": "+81"}],
        "dates": [{"date": "2020-02-29", "role": "Collected"}],
        "version": "DR2",
        "bibcode": "2018PASJ...70S...1A",
        "doi": "https://doi.org/10.5281/zenodo.123",
        "rights": {"text": "CC BY 4.0", "url": "https://creativecommons.org/licenses/by/4.0/"},
        "relations": [{"type": "IsDerivedFrom", "title": "Other", "ivoid": "ivo://other.org/x"}],
        "coverage": {
            "spatial": "3/1-4 6/9",
            "temporal": [[57000, 57001]],
            "spectral": [[5e-7, 6e-7]],
            "wavebands": ["Optical", "X-ray"],
            "region_of_regard": 0.5,
        },
    }
)
PUBLISHER = PublisherText.model_validate(
    {
        "authority": {"title": "Authority", "subjects": ["surveys"]},
        "organisation": {
            "title": "国立天文台 & <sons>",
            "short_name": "天文台",
            "ror": "https://ror.org/052rrw050",
            "facilities": ["Kiso"],
            "instruments": ["KWFC"],
        },
        "contacts": [{"name": "Müller, Ä.", "email": "a@b.example"}],
        "creators": [{"name": "Doe, J.", "logo": "https://x.example/logo.png"}],
        "rights": {"text": "Ask"},
        "tap": {"short_name": "TAP"},
    }
)


def odd_tables(count: int) -> Catalog:
    columns = (Column(name="x", datatype="double", unit="deg", ucd="pos.eq.ra", indexed=True),)
    tables = tuple(
        Table(name=f"s.t{n}", relation="r", columns=columns, description="ü & <x>")
        for n in range(count)
    )
    return Catalog(schemas=(Schema(name="s", tables=tables),))


def checked(records: list[Record]) -> dict[str, etree._Element]:
    roots = {}
    for record in records:
        document = dated(record.document, NOW, NOW)
        assert list(faults_of(document, AUTHORITY)) == []
        for catalog in ("catalog.xml", "catalog-voresource-1.1.xml"):
            validate(document, catalog=catalog)
        validate(record.simple)
        roots[record.identifier] = etree.fromstring(document)
    return roots


@pytest.mark.parametrize(
    "given",
    [
        facts(),
        facts(collection()),
        facts(collection(text=FULL), text=PUBLISHER),
        facts(collection(coverage=Coverage(), facilities=[], instruments=[], description="")),
        facts(collection(title="Größe \x07 <&> 観測 \ud800"), publisher='"Q" & <\x00>'),
    ],
    ids=["empty", "plain", "everything said", "no coverage", "odd characters"],
)
def test_records_are_valid(given: ArchiveFacts) -> None:
    checked(list(build_records(given)))


def test_a_record_of_5000_tables_is_valid_and_lists_them_all() -> None:
    (tap,) = (
        r for r in build_records(facts(catalog=odd_tables(5000))) if r.identifier.endswith("tap")
    )
    document = dated(tap.document, NOW, NOW)
    assert list(faults_of(document, AUTHORITY)) == []
    assert document.count(b"<table ") == 5000


def test_what_a_publishing_registry_must_have_is_there() -> None:
    roots = checked(list(build_records(facts(collection()))))
    base = f"ivo://{AUTHORITY}"
    kinds = {identifier: root.get(TYPE) for identifier, root in roots.items()}
    assert kinds[base] == "vg:Authority"
    assert kinds[f"{base}/system/organisation"] == "vr:Organisation"
    assert kinds[f"{base}/system/registry"] == "vg:Registry"
    assert kinds[f"{base}/system/tap"] == "vs:CatalogService"
    assert kinds[f"{base}/tomoe"] == "vs:CatalogResource"
    registry = roots[f"{base}/system/registry"]
    assert registry.findtext("managedAuthority") == AUTHORITY
    assert registry.findtext("full") == "false"
    assert registry.findtext("capability/interface/accessURL") == "https://archive.example.org/oai"
    managing = roots[base].find("managingOrg")
    assert managing is not None
    assert managing.get("ivo-id") == f"{base}/system/organisation"


def test_registered_capabilities_and_tables_are_those_of_vosi() -> None:
    settings = Settings(home=Path("/nowhere"), base_url="https://archive.example.org")
    roots = checked(list(build_records(facts())))
    for service in SERVICES:
        registered = roots[f"ivo://{AUTHORITY}/system/{service.key}"].findall("capability")
        vosi = etree.fromstring(service.capabilities(settings))
        assert [canonical(one) for one in registered] == [canonical(one) for one in vosi]
    tables = roots[f"ivo://{AUTHORITY}/system/tap"].find("tableset")
    assert tables is not None
    said = etree.fromstring(tableset(PUBLISHED))
    assert [canonical(one) for one in tables] == [canonical(one) for one in said]


def canonical(element: etree._Element) -> bytes:
    """An element without what white space and declarations around it make of it."""
    parser = etree.XMLParser(remove_blank_text=True)
    return etree.tostring(
        etree.fromstring(etree.tostring(element, with_tail=False), parser),
        method="c14n", exclusive=True,
    )  # fmt: skip


def test_a_collection_says_by_what_it_is_served() -> None:
    root = checked(list(build_records(facts(collection()))))[f"ivo://{AUTHORITY}/tomoe"]
    served = [
        one.find("relatedResource")
        for one in root.iterfind("content/relationship")
        if one.findtext("relationshipType") == "IsServedBy"
    ]
    assert f"ivo://{AUTHORITY}/system/tap" in [
        one.get("ivo-id") for one in served if one is not None
    ]
    standards = [one.get("standardID") for one in root.iterfind("capability")]
    assert "ivo://ivoa.net/std/TAP#aux" in standards
    assert "ivo://ivoa.net/std/SIA#query-aux-2.0" in standards
    assert "ivo://ivoa.net/std/TAP" not in standards


def test_spectral_coverage_is_energy_with_the_longest_wavelength_first() -> None:
    """h c = 1.98644586e-25 J m (CODATA 2018): 400 nm is 4.96611e-19 J, 800 nm half of it."""
    root = checked(list(build_records(facts(collection()))))[f"ivo://{AUTHORITY}/tomoe"]
    assert root.findtext("coverage/spectral") == "2.48306e-19 4.96611e-19"
    assert root.findtext("coverage/temporal") == "57000.000000 57010.000000"
    assert root.findtext("coverage/spatial") == "6/0-3"


def test_what_the_operator_says_of_coverage_stands_for_what_was_found() -> None:
    root = checked(list(build_records(facts(collection(text=FULL)))))[f"ivo://{AUTHORITY}/tomoe"]
    assert root.findtext("coverage/spatial") == "3/1-4 6/9"
    assert root.findtext("coverage/temporal") == "57000.000000 57001.000000"
    assert [w.text for w in root.iterfind("coverage/waveband")] == ["Optical", "X-ray"]
    assert root.findtext("altIdentifier") == "doi:10.5281/zenodo.123"


def test_a_collection_that_is_not_to_be_registered_is_named_nowhere() -> None:
    hidden = collection("secret", title="Hush", text=CollectionText(register=False))
    for record in build_records(facts(collection(), hidden)):
        assert b"secret" not in record.document
        assert b"Hush" not in record.document


def test_the_same_facts_give_the_same_bytes_and_another_word_another_digest() -> None:
    first, again = (list(build_records(facts(collection()))) for _ in range(2))
    assert first == again
    other = list(build_records(facts(collection(description="Other"))))
    changed = [a.identifier for a, b in zip(first, other, strict=True) if a.digest != b.digest]
    assert changed == [f"ivo://{AUTHORITY}/tomoe"]
    assert len({record.digest for record in first}) == len(first)
    assert len(first[0].digest) == hashlib.sha256().digest_size


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"<title>Tomo-e Gozen</title>", b"", "title"),
        (b"ivo://archive.example.org/tomoe", b"ivo://elsewhere.org/tomoe", "begins with"),
        (b"ivo://archive.example.org/tomoe", b"ivo://archive.example.org/to?moe", "without ?"),
        (b'status="active"', b'status="lively"', "status"),
        (b"<title>", b"<&title>", "well-formed"),
    ],
)
def test_a_record_that_is_not_valid_is_told_why(old: bytes, new: bytes, said: str) -> None:
    record = list(build_records(facts(collection())))[-1]
    document = dated(record.document, NOW, NOW).replace(old, new, 1)
    assert any(said in fault for fault in faults_of(document, AUTHORITY))
