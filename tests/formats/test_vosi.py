"""VOSI documents: valid under the schemas, and saying what the standards word."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from lxml import etree
from pyvo.io.vosi import parse_capabilities, parse_tables

from tests.support import validate
from vo_service.formats.output import FORMATS
from vo_service.formats.vosi import (
    CapabilitiesInfo,
    Limit,
    availability,
    capabilities,
    table_document,
    tableset,
)
from vo_service.model.obscore import OBSCORE
from vo_service.model.table import Catalog, Column, ForeignKey, Schema, Table

XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
FEATURES = (
    ("ivo://ivoa.net/std/tapregext#features-adqlgeo", "POINT", None),
    ("ivo://ivoa.net/std/tapregext#features-adqlgeo", "CIRCLE", "A circle, <in degrees>"),
    ("ivo://ivoa.net/std/TAPRegExt#features-adql-string", "LOWER", None),
    ("ivo://ivoa.net/std/tapregext#features-udf", "f(a INTEGER) -> INTEGER", "Ω"),
)
FULL = CapabilitiesInfo(
    base_url="http://localhost:8080/tap",
    features=FEATURES,
    formats=FORMATS,
    output=Limit(10_000, 10_000_000),
    execution=Limit(60, 3600),
    retention=Limit(86400),
    upload_methods=("inline", "https"),
    upload=Limit(hard=1_000_000),
)
PLAIN = CapabilitiesInfo(
    base_url="http://h/tap", features=(), formats=FORMATS, output=Limit(hard=5), examples=False
)

OBSCORE_TABLE = Table(
    name="ivoa.obscore", relation="a", columns=OBSCORE, kind="view", description="Observations",
    utype="ivo://ivoa.net/std/ObsCore#table-1.1",
)  # fmt: skip
ODD_TABLE = Table(
    name='odd."Größe & <\'x\'> ""q"""',
    relation="b",
    columns=(
        Column(name='"a""b <&>"', datatype="int"),
        Column(name="観測", datatype="double", arraysize="2", xtype="point", indexed=True),
        Column(name="c", datatype="char", arraysize="8*", description="bell \x07, half \ud800"),
    ),
)
KEY = ForeignKey(
    key_id="k", from_table=ODD_TABLE.name, target_table="ivoa.obscore",
    columns=(("c", "obs_id"), ("d", "obs_collection")), description="<why>", utype="u:v",
)  # fmt: skip
CATALOG = Catalog(
    schemas=(
        Schema(name="ivoa", tables=(OBSCORE_TABLE,), description="IVOA's", utype="ivoa"),
        Schema(name="odd", tables=(ODD_TABLE,)),
        Schema(name="empty", tables=()),
    ),
    keys=(KEY,),
)

both_catalogs = pytest.mark.parametrize("catalog", ["catalog.xml", "catalog-voresource-1.1.xml"])


@both_catalogs
@pytest.mark.parametrize("info", [FULL, PLAIN])
def test_capabilities_are_valid(info: CapabilitiesInfo, catalog: str) -> None:
    validate(capabilities(info), "driver-all.xsd", catalog)


def test_each_capability_has_its_standard_and_interface() -> None:
    found = []
    for capability in etree.fromstring(capabilities(FULL)):
        interface = capability.find("interface")
        assert interface is not None
        url = interface.find("accessURL")
        assert url is not None
        assert interface.find("securityMethod") is None
        found.append(
            (capability.get("standardID"), interface.get(XSI_TYPE), url.get("use"), url.text)
        )
    base, std = "http://localhost:8080/tap", "ivo://ivoa.net/std"
    assert found == [
        (f"{std}/TAP", "vs:ParamHTTP", "base", base),
        (f"{std}/VOSI#capabilities", "vs:ParamHTTP", "full", f"{base}/capabilities"),
        (f"{std}/VOSI#availability", "vs:ParamHTTP", "full", f"{base}/availability"),
        (f"{std}/VOSI#tables-1.1", "vs:ParamHTTP", "full", f"{base}/tables"),
        (f"{std}/DALI#examples", "vr:WebBrowser", "full", f"{base}/examples"),
    ]


def test_feature_types_are_lower_case_and_features_grouped() -> None:
    root = etree.fromstring(capabilities(FULL))
    groups = [
        (str(group.get("type")).rpartition("#")[2], [f.text for f in group.iter("form")])
        for group in root.iter("languageFeatures")
    ]
    assert groups == [
        ("features-adqlgeo", ["POINT", "CIRCLE"]),
        ("features-adql-string", ["LOWER"]),
        ("features-udf", ["f(a INTEGER) -> INTEGER"]),
    ]
    assert all("TAPRegExt" not in str(g.get("type")) for g in root.iter("languageFeatures"))


def test_limits_carry_their_units() -> None:
    root = etree.fromstring(capabilities(FULL))
    limits = {
        f"{name} {limit.tag}": (limit.text, limit.get("unit"))
        for name in ("retentionPeriod", "executionDuration", "outputLimit", "uploadLimit")
        for limit in root.iterfind(f".//{name}/*")
    }
    assert limits == {
        "retentionPeriod default": ("86400", None),
        "executionDuration default": ("60", None),
        "executionDuration hard": ("3600", None),
        "outputLimit default": ("10000", "row"),
        "outputLimit hard": ("10000000", "row"),
        "uploadLimit hard": ("1000000", "row"),
    }


def test_pyvo_reads_the_capabilities(tmp_path: Path) -> None:
    path = tmp_path / "capabilities.xml"
    path.write_bytes(capabilities(FULL))
    tap = parse_capabilities(str(path))[0]
    adql = tap.get_adql()
    assert [version.content for version in adql.versions] == ["2.0", "2.1"]
    assert tap.outputlimit.default.content == 10_000
    assert {method.ivo_id.rpartition("#")[2] for method in tap.uploadmethods} == {
        "upload-inline", "upload-https",
    }  # fmt: skip
    assert adql.get_feature("ivo://ivoa.net/std/tapregext#features-adqlgeo", "CIRCLE")


def test_availability_is_valid_and_tells_utc() -> None:
    japan = timezone(timedelta(hours=9))
    document = availability(
        False,
        up_since=datetime(2026, 11, 21, 9, 0, tzinfo=japan),
        down_at=datetime(2026, 11, 22, tzinfo=UTC),
        back_at=datetime(2026, 11, 23, 1, 2, 3, 999, tzinfo=UTC),
        notes=["moving <house>", "à bientôt \x00"],
    )
    validate(document)
    assert [child.text for child in etree.fromstring(document)] == [
        "false", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z", "2026-11-23T01:02:03Z",
        "moving <house>", "à bientôt \ufffd",
    ]  # fmt: skip
    validate(availability(True))


@both_catalogs
@pytest.mark.parametrize("detail", ["min", "max"])
def test_tables_are_valid_with_odd_names_and_without_descriptions(
    detail: str, catalog: str
) -> None:
    document = tableset(CATALOG, "min" if detail == "min" else "max")
    validate(document, "driver-all.xsd", catalog)
    names = [name.text for name in etree.fromstring(document).iterfind("schema/table/name")]
    assert names == [table.name for table in CATALOG.tables]


def test_least_detail_has_no_columns_and_no_keys() -> None:
    root = etree.fromstring(tableset(CATALOG, "min"))
    assert root.find(".//column") is None
    assert root.find(".//foreignKey") is None


def test_a_table_document_is_valid_and_complete() -> None:
    document = table_document(ODD_TABLE, [KEY])
    validate(document)
    root = etree.fromstring(document)
    assert root.tag == "{http://www.ivoa.net/xml/VOSITables/v1.0}table"
    types = [
        (t.text, t.get("arraysize"), t.get("extendedType"))
        for t in root.iterfind("column/dataType")
    ]
    assert types == [("int", None, None), ("double", "2", "point"), ("char", "8*", None)]
    pairs = [[c.text for c in pair] for pair in root.iterfind("foreignKey/fkColumn")]
    assert pairs == [["c", "obs_id"], ["d", "obs_collection"]]


def test_pyvo_reads_the_columns_of_obscore(tmp_path: Path) -> None:
    path = tmp_path / "tables.xml"
    path.write_bytes(tableset(CATALOG))
    table = parse_tables(str(path)).get_table_by_name("ivoa.obscore")
    assert [(c.name, c.ucd, c.unit, c.datatype.content) for c in table.columns] == [
        (c.name, c.ucd, c.unit, c.datatype) for c in OBSCORE
    ]
    indexed = {c.name for c in table.columns if "indexed" in c.flags}
    assert indexed == {c.name for c in OBSCORE if c.indexed}


def test_five_thousand_tables_are_written_within_seconds() -> None:
    tables = tuple(
        Table(name=f"s.t{i}", relation="r", columns=OBSCORE[:20], description="d")
        for i in range(5000)
    )
    start = time.process_time()
    document = tableset(Catalog(schemas=(Schema(name="s", tables=tables),)))
    assert time.process_time() - start < 10
    assert document.count(b"<column ") == 100_000
