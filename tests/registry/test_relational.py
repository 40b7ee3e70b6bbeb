"""Records as rows of the relational registry, by hand and by RegTAP's rules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.registry.conftest import AUTHORITY, add_collection, make_home, remove_collection
from tests.registry.facts import collection, facts
from tests.registry.repository import resource
from tests.support import settings_at
from vo_service.db.connect import Role, conninfo
from vo_service.db.relational import RelationalStore, tap_access_url
from vo_service.db.schema import upgrade
from vo_service.errors import UsageError
from vo_service.model.relational_tables import RELATIONAL
from vo_service.registry.records import build_records
from vo_service.registry.relational import MappedRecord, map_record
from vo_service.services.registry import publish_records
from vo_service.settings import Settings

BASE = f"ivo://{AUTHORITY}"

RECORD = """
<ri:Resource xmlns:ri="http://www.ivoa.net/xml/RegistryInterface/v1.0"
    xmlns:q="http://www.ivoa.net/xml/VODataService/v1.1"
    xmlns:tr="http://www.ivoa.net/xml/TAPRegExt/v1.0"
    xmlns:w="http://www.ivoa.net/xml/VOResource/v1.0"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="q:CatalogService"
    created="2019-12-31T23:30:00-01:00" updated="2020-02-03" status="active">
  <validationLevel validatedBy="ivo://X.Example/Reg">2</validationLevel>
  <title> A   title
     of two lines </title>
  <shortName>T</shortName>
  <identifier> ivo://X.Example/TAP </identifier>
  <altIdentifier>doi:10.1/X</altIdentifier>
  <curation>
    <publisher ivo-id="ivo://X.Example/Org">The Publisher</publisher>
    <creator><name>Doe, J.</name><logo>http://x/l.png</logo>
      <altIdentifier>https://orcid.org/0000</altIdentifier></creator>
    <creator><name>岡, 一</name></creator>
    <contributor>Helper</contributor>
    <date role="creation">2001-02</date>
    <version>3</version>
    <contact><name ivo-id="ivo://X.Example/Me">Me</name><address>Here</address>
      <email>me@x</email><telephone>1</telephone></contact>
  </curation>
  <content>
    <subject>galaxies</subject><subject>Stars</subject><subject> </subject>
    <description>What it is.</description>
    <source format="Bibcode">2001A&amp;A...1..1X</source>
    <referenceURL>http://x/</referenceURL>
    <type>Catalog</type><type>Archive</type><contentLevel>Research</contentLevel>
    <relationship><relationshipType>served-by</relationshipType>
      <relatedResource ivo-id="ivo://X.Example/A">A</relatedResource>
      <relatedResource ivo-id="ivo://X.Example/B">B</relatedResource></relationship>
  </content>
  <rights rightsURI="http://cc/by">Free</rights><rights>Second</rights>
  <capability standardID="ivo://ivoa.net/std/TAP" xsi:type="tr:TableAccess">
    <validationLevel validatedBy="ivo://X.Example/Reg">4</validationLevel>
    <description>Queries</description>
    <interface xsi:type="q:ParamHTTP" role="std" version="1.1">
      <accessURL use="base">http://x/TAP</accessURL>
      <mirrorURL>http://y/TAP</mirrorURL><mirrorURL>http://z/TAP</mirrorURL>
      <queryType>GET</queryType><queryType>POST</queryType>
      <resultType>Application/XML</resultType>
      <param use="Required" std="true"><name>LANG</name><description>Language</description>
        <ucd>Meta.Code</ucd><dataType arraysize="*">char</dataType></param>
    </interface>
    <interface xsi:type="q:ParamHTTP" role="std"><accessURL>http://x/closed</accessURL>
      <securityMethod standardID="ivo://ivoa.net/sso#BasicAA"/></interface>
    <dataModel ivo-id="ivo://ivoa.net/std/ObsCore#core-1.1">ObsCore-1.1</dataModel>
    <language><name>ADQL</name><version ivo-id="ivo://ivoa.net/std/ADQL#v2.0">2.0</version>
    </language>
  </capability>
  <capability><interface xsi:type="w:WebBrowser"><accessURL use="full">http://x/web</accessURL>
    <securityMethod/><securityMethod standardID="ivo://ivoa.net/sso#OAuth"/></interface>
  </capability>
  <facility>Kiso</facility>
  <coverage>
    <spatial>3/0-2 5/70 8/700000-700001</spatial><spatial frame="mars">0/1</spatial>
    <temporal>55000 55010.5</temporal><temporal>2 1</temporal>
    <spectral>1e-19 3e-19</spectral>
    <waveband>Optical</waveband><waveband>Infrared</waveband>
    <regionOfRegard>0.25</regionOfRegard>
  </coverage>
  <tableset><schema><name>S</name><utype>U</utype><table type="base_table"><name>S."Tab"</name>
    <title>Title</title><description>Rows</description><utype>Ab:C</utype>
    <column std="false"><name>RA</name><unit>deg</unit><ucd>pos.eq.ra;Meta.Main</ucd>
      <dataType xsi:type="q:VOTableType" extendedType="x">Double</dataType>
      <flag>indexed</flag><flag>primary</flag></column></table></schema></tableset>
</ri:Resource>
"""


def mapped(text: str) -> MappedRecord:
    return map_record(etree.fromstring(text.encode()))


def rows(record: MappedRecord, table: str, *columns: str) -> list[Any]:
    found = [tuple(row.get(column) for column in columns) for row in record.rows[table]]
    return [row[0] if len(columns) == 1 else row for row in found]


def test_a_record_of_somebody_else_becomes_the_rows_that_the_standard_asks_for() -> None:
    record = mapped(RECORD)
    assert (record.ivoid, record.status) == ("ivo://x.example/tap", "active")
    [whole] = record.rows["resource"]
    assert whole == {
        "ivoid": "ivo://x.example/tap",
        "res_type": "vs:catalogservice",
        "created": datetime(2020, 1, 1, 0, 30),
        "updated": datetime(2020, 2, 3),
        "short_name": "T",
        "res_title": "A   title\n     of two lines",
        "content_level": "research",
        "content_type": "catalog#archive",
        "res_description": "What it is.",
        "reference_url": "http://x/",
        "creator_seq": "Doe, J.; 岡, 一",
        "source_format": "bibcode",
        "source_value": "2001A&A...1..1X",
        "res_version": "3",
        "region_of_regard": 0.25,
        "waveband": "optical#infrared",
        "rights": "Free",
        "rights_uri": "http://cc/by",
    }
    assert rows(record, "res_role", "base_role", "role_name", "role_ivoid", "logo", "email") == [
        ("publisher", "The Publisher", "ivo://x.example/org", None, None),
        ("creator", "Doe, J.", None, "http://x/l.png", None),
        ("creator", "岡, 一", None, None, None),
        ("contributor", "Helper", None, None, None),
        ("contact", "Me", "ivo://x.example/me", None, "me@x"),
    ]
    assert rows(record, "res_subject", "res_subject") == ["galaxies", "Stars"]
    assert set(rows(record, "alt_identifier", "alt_identifier")) == {
        "doi:10.1/X", "https://orcid.org/0000",
    }  # fmt: skip
    assert rows(record, "res_date", "date_value", "value_role") == [
        (datetime(2001, 2, 1), "created")
    ]
    assert rows(record, "relationship", "relationship_type", "related_id", "related_name") == [
        ("isservedby", "ivo://x.example/a", "A"), ("isservedby", "ivo://x.example/b", "B"),
    ]  # fmt: skip
    assert rows(record, "validation", "val_level", "cap_index", "validated_by") == [
        (2, None, "ivo://x.example/reg"), (4, 1, "ivo://x.example/reg"),
    ]  # fmt: skip


def test_capabilities_tables_and_coverage_become_rows() -> None:
    record = mapped(RECORD)
    assert rows(record, "capability", "cap_index", "cap_type", "standard_id") == [
        (1, "tr:tableaccess", "ivo://ivoa.net/std/tap"), (2, None, None),
    ]  # fmt: skip
    assert rows(
        record, "interface", "cap_index", "intf_index", "intf_type", "intf_role", "access_url",
        "mirror_url", "query_type", "result_type", "url_use", "authenticated_only",
    ) == [
        (1, 1, "vs:paramhttp", "std", "http://x/TAP", "http://y/TAP#http://z/TAP", "get#post",
         "application/xml", "base", 0),
        (1, 2, "vs:paramhttp", "std", "http://x/closed", None, None, None, None, 1),
        (2, 3, "vr:webbrowser", None, "http://x/web", None, None, None, "full", 0),
    ]  # fmt: skip
    assert rows(record, "intf_param", "intf_index", "name", "ucd", "param_use", "std") == [
        (1, "lang", "meta.code", "required", 1)
    ]
    assert rows(record, "res_schema", "schema_name", "schema_utype") == [("s", "u")]
    assert rows(record, "res_table", "table_name", "table_type", "table_utype") == [
        ('S."Tab"', "base_table", "ab:c")
    ]
    assert rows(
        record, "table_column", "name", "ucd", "datatype", "type_system", "flag", "std"
    ) == [("ra", "pos.eq.ra;meta.main", "double", "vs:votabletype", "indexed#primary", 0)]
    assert rows(record, "stc_spatial", "coverage") == ["3/0-2 5/70 6/43750 6/"]
    assert rows(record, "stc_temporal", "time_start", "time_end") == [(55000.0, 55010.5)]
    assert rows(record, "stc_spectral", "spectral_start", "spectral_end") == [(1e-19, 3e-19)]
    assert set(rows(record, "res_detail", "cap_index", "detail_xpath", "detail_value")) == {
        (None, "/rights", "Free"), (None, "/rights/@rightsURI", "http://cc/by"),
        (None, "/rights", "Second"), (None, "/facility", "Kiso"),
        (1, "/capability/dataModel", "ObsCore-1.1"),
        (1, "/capability/dataModel/@ivo-id", "ivo://ivoa.net/std/ObsCore#core-1.1"),
        (1, "/capability/language/name", "ADQL"),
        (1, "/capability/language/version/@ivo-id", "ivo://ivoa.net/std/ADQL#v2.0"),
        (1, "/capability/interface/securityMethod/@standardID", "ivo://ivoa.net/sso#BasicAA"),
        (2, "/capability/interface/securityMethod/@standardID", "ivo://ivoa.net/sso#OAuth"),
    }  # fmt: skip
    assert record.notes == ("coverage/temporal: '2 1' is no interval, as in '1.5 2'",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (resource("ivo://x/a?b"), "identifier"),
        (resource(""), "identifier"),
        (resource("ivo://x.example/" + "a" * 600), "identifier"),
        (resource("ivo://x.example/a", title=" "), "title"),
        (resource("ivo://x.example/a", status="gone"), "@status"),
        (resource("ivo://x.example/a").replace("xsi:type", "type"), "@xsi:type"),
        ("<a/>", "identifier"),
    ],
)
def test_a_record_that_cannot_be_used_is_refused_with_the_element(text: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        mapped(text)


@pytest.mark.parametrize("status", ["inactive", "deleted"])
def test_a_record_that_is_not_active_has_no_rows(status: str) -> None:
    record = mapped(resource("ivo://x.example/a", status=status))
    assert (record.status, dict(record.rows)) == (status, {})


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="￾￿")))
def test_any_text_as_any_value_is_read_or_noted(text: str) -> None:
    root = etree.fromstring(RECORD.encode())
    for element in root.iter():
        if element.tag not in ("identifier", "title") and not len(element):
            element.text = text
        for name in element.attrib:
            if "type" not in str(name) and name != "status":
                element.set(name, text)
    record = map_record(root)
    assert record.status == "active"
    for found in record.rows.values():
        for row in found:
            for value in row.values():
                assert value is None or not isinstance(value, str) or value.strip() == value != ""


@pytest.fixture(scope="module")
def settings(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = settings_at(database_url, tmp_path_factory.mktemp("home"))
    upgrade(made)
    return made


@pytest.fixture
def writer(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        yield connection
        connection.rollback()


def test_the_tables_of_the_database_are_those_that_are_published(settings: Settings) -> None:
    types = {
        ("char", None): {"text"}, ("unicodeChar", None): {"text"},
        ("char", "timestamp"): {"timestamp without time zone"},
        ("char", "moc"): {"smoc"}, ("int", None): {"integer"},
        ("double", None): {"double precision"},
    }  # fmt: skip
    with psycopg.connect(conninfo(settings, Role.OWNER)) as owner:
        found = owner.execute(
            "SELECT 'rr.' || c.relname, a.attname, format_type(a.atttypid, NULL) "
            "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'rr' "
            "AND c.relkind IN ('r', 'v') AND a.attnum > 0 ORDER BY c.relname, a.attnum"
        ).fetchall()
    published = {
        (table.name, column.name): types[column.datatype, column.xtype]
        for table in RELATIONAL.tables
        for column in table.columns
    }
    assert {(table, column) for table, column, _ in found} == set(published)
    for table, column, kind in found:
        assert kind in published[table, column], (table, column)


def test_rows_go_in_are_replaced_and_go_out(writer: psycopg.Connection[Any]) -> None:
    store = RelationalStore(writer)
    record = mapped(RECORD)
    for _ in range(2):
        store.put([(record.ivoid, record.rows)])
        for table in RELATIONAL.tables:
            [(count,)] = writer.execute(f"SELECT count(*) FROM {table.name}".encode()).fetchall()
            name = table.name.removeprefix("rr.")
            assert count == (1 if name == "tap_table" else len(record.rows[name])), name
    [(moc,)] = writer.execute("SELECT coverage::text FROM rr.stc_spatial").fetchall()
    assert moc == "3/0-2 5/70 6/43750"
    store.remove([record.ivoid])
    for table in RELATIONAL.tables:
        assert writer.execute(f"SELECT FROM {table.name}".encode()).rowcount == 0


def test_a_tap_table_is_listed_once_as_its_own_record_describes_it(
    writer: psycopg.Connection[Any],
) -> None:
    table = "<tableset><schema><name>s</name><table><name>s.t</name><title>{}</title></table>"
    table += "<table><name>s.{}</name></table></schema></tableset>"
    tap = '<capability standardID="ivo://ivoa.net/std/TAP{}"><interface xsi:type="vs:ParamHTTP" '
    tap += 'role="std"><accessURL>http://x/tap</accessURL></interface></capability>'
    service = resource("ivo://x.e/tap", inside=tap.format("") + table.format("Of the service", "u"))
    served = "<content><relationship><relationshipType>IsServedBy</relationshipType>"
    served += '<relatedResource ivo-id="ivo://x.e/TAP"/></relationship></content>'
    data = resource(
        "ivo://x.e/data", inside=served + tap.format("#aux") + table.format("Its own", "v")
    )
    records = [mapped(service), mapped(data)]
    RelationalStore(writer).put([(record.ivoid, record.rows) for record in records])
    assert writer.execute(
        "SELECT svcid, resid, table_name, table_title FROM rr.tap_table ORDER BY table_name"
    ).fetchall() == [
        ("ivo://x.e/tap", "ivo://x.e/data", "s.t", "Its own"),
        ("ivo://x.e/tap", "ivo://x.e/tap", "s.u", None),
        ("ivo://x.e/tap", "ivo://x.e/data", "s.v", None),
    ]
    assert tap_access_url(writer, "ivo://x.e/TAP") == "http://x/tap"
    assert tap_access_url(writer, "ivo://x.e/data") == "http://x/tap"
    assert tap_access_url(writer, "ivo://x.e/nothing") is None


def test_own_records_can_all_be_mapped() -> None:
    for record in build_records(facts(collection())):
        found = mapped(record.document.decode())
        assert (found.ivoid, found.notes) == (record.identifier.lower(), ())


def test_own_records_are_searchable_as_soon_as_they_are_published_and_as_long(
    own_database_url: str, place: Path
) -> None:
    home = make_home(own_database_url, place)

    def titles() -> dict[str, tuple[str, str]]:
        with psycopg.connect(conninfo(home, Role.READER)) as reader:
            rows = reader.execute("SELECT ivoid, res_title, xmin::text FROM rr.resource").fetchall()
        return {ivoid: (title, written) for ivoid, title, written in rows}

    added = publish_records(home).added
    first = titles()
    assert set(first) == {one.lower() for one in added}
    publish_records(home)
    assert titles() == first  # and not a row was written
    add_collection(home, "beta", "Another title")
    remove_collection(home, "alpha")
    publish_records(home)
    assert titles()[f"{BASE}/beta"][0] == "Another title"
    assert f"{BASE}/alpha" not in titles()


def test_a_database_that_has_records_already_gets_them_at_the_next_publication(
    own_database_url: str, place: Path
) -> None:
    home = make_home(own_database_url, place)
    added = publish_records(home).added
    with psycopg.connect(conninfo(home, Role.OWNER)) as owner:
        owner.execute("DELETE FROM rr.resource")
    assert publish_records(home).unchanged == len(added)
    with psycopg.connect(conninfo(home, Role.READER)) as reader:
        assert reader.execute("SELECT FROM rr.resource").rowcount == len(added)


@pytest.mark.parametrize("role", [Role.DOOR, Role.JOBS, Role.UPLOAD])
def test_other_roles_do_not_reach_the_relational_registry(settings: Settings, role: Role) -> None:
    with (
        psycopg.connect(conninfo(settings, role)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT FROM rr.resource")


@pytest.mark.parametrize("role", [Role.READER, Role.MEMBER])
@pytest.mark.parametrize("statement", ["DELETE FROM rr.resource", "SELECT FROM archive.harvested"])
def test_who_asks_from_outside_may_only_read_it(
    settings: Settings, role: Role, statement: str
) -> None:
    with psycopg.connect(conninfo(settings, role)) as connection:
        connection.execute("SET TRANSACTION READ WRITE")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())
