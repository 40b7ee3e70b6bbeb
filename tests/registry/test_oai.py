"""OAI-PMH as harvesters meet it: the served archive, sickle, restarts, changes on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from lxml import etree
from sickle import Sickle
from sickle.oaiexceptions import BadResumptionToken, NoRecordsMatch

from tests.conftest import fresh_database
from tests.registry.conftest import AUTHORITY, add_collection, make_home, remove_collection
from tests.support import validate
from tests.web.conftest import serving
from vo_service.db.connect import Role, conninfo
from vo_service.db.records import RecordStore
from vo_service.services.registry import list_records, publish_records
from vo_service.settings import Settings

OAI = {"o": "http://www.openarchives.org/OAI/2.0/"}
BASE = f"ivo://{AUTHORITY}"


@pytest.fixture(scope="module")
def served(server: str, place: Path) -> Iterator[Settings]:
    """An archive that is served and never changes, for the tests that only read."""
    with fresh_database(server) as url:
        settings = make_home(url, place, registry_page=4)
        publish_records(settings)
        with serving(settings):
            yield settings


def ask(settings: Settings, **arguments: str) -> etree._Element:
    answer = httpx.get(f"{settings.root_url}/oai", params=arguments)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    validate(answer.content)
    validate(answer.content, catalog="catalog-voresource-1.1.xml")
    return etree.fromstring(answer.content)


def harvester(settings: Settings) -> Any:
    return Sickle(f"{settings.root_url}/oai")


def code(root: etree._Element) -> str | None:
    error = root.find("o:error", OAI)
    return None if error is None else error.get("code")


def test_every_answer_is_valid_and_says_what_it_must(served: Settings) -> None:
    identify = ask(served, verb="Identify")
    said = {str(one.tag).partition("}")[2]: one.text for one in identify[2]}
    assert said["baseURL"] == f"{served.root_url}/oai"
    assert said["protocolVersion"] == "2.0"
    assert said["granularity"] == "YYYY-MM-DDThh:mm:ssZ"
    assert said["deletedRecord"] == "persistent"
    assert said["repositoryName"] == "観測所 <&>"
    own = identify.find("o:Identify/o:description/*", OAI)
    assert own is not None
    assert own.get("{http://www.w3.org/2001/XMLSchema-instance}type") == "vg:Registry"

    formats = ask(served, verb="ListMetadataFormats")
    assert [f.text for f in formats.iterfind(".//o:metadataPrefix", OAI)] == ["ivo_vor", "oai_dc"]
    one = ask(served, verb="ListMetadataFormats", identifier=f"{BASE}/alpha")
    assert len(one.findall(".//o:metadataFormat", OAI)) == 2

    sets = ask(served, verb="ListSets")
    assert [s.text for s in sets.iterfind(".//o:setSpec", OAI)] == [
        "collection", "collection:alpha", "collection:beta", "collection:gamma", "ivo_managed",
    ]  # fmt: skip
    for prefix in ("ivo_vor", "oai_dc"):
        ask(served, verb="GetRecord", identifier=f"{BASE}/alpha", metadataPrefix=prefix)
        ask(served, verb="ListRecords", metadataPrefix=prefix)
        ask(served, verb="ListIdentifiers", metadataPrefix=prefix)
    upper = ask(
        served, verb="GetRecord", identifier=f"{BASE}/ALPHA".upper().replace("IVO", "ivo"),
        metadataPrefix="oai_dc",
    )  # fmt: skip
    assert upper.findtext(".//o:identifier", namespaces=OAI) == f"{BASE}/alpha"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, "badVerb"),
        ({"verb": "Identify", "x": "<&\x01"}, "badArgument"),
        ({"verb": "GetRecord", "identifier": "ivo://a.b/c", "metadataPrefix": "ivo_vor"},
         "idDoesNotExist"),
        ({"verb": "ListMetadataFormats", "identifier": "a:&%41#b"}, "idDoesNotExist"),
        ({"verb": "ListRecords", "metadataPrefix": "x"}, "cannotDisseminateFormat"),
        ({"verb": "ListRecords", "metadataPrefix": "ivo_vor", "set": "none"}, "noRecordsMatch"),
        ({"verb": "ListRecords", "metadataPrefix": "ivo_vor", "until": "2001-01-01"},
         "noRecordsMatch"),
        ({"verb": "ListRecords", "resumptionToken": "x"}, "badResumptionToken"),
        ({"verb": "ListRecords", "resumptionToken": "a.b.c.ü"}, "badResumptionToken"),
        ({"verb": "ListSets", "resumptionToken": "x"}, "badResumptionToken"),
    ],
)  # fmt: skip
def test_errors_are_valid_answers(
    served: Settings, arguments: dict[str, str], expected: str
) -> None:
    root = ask(served, **arguments)
    assert code(root) == expected
    request = root.find("o:request", OAI)
    assert request is not None
    assert bool(request.attrib) == (expected not in ("badVerb", "badArgument"))


def test_post_is_answered_as_get_is(served: Settings) -> None:
    got = ask(served, verb="ListIdentifiers", metadataPrefix="ivo_vor")
    answer = httpx.post(
        f"{served.root_url}/oai", data={"metadataPrefix": "ivo_vor", "verb": "ListIdentifiers"}
    )
    validate(answer.content)
    posted = etree.fromstring(answer.content)
    assert [i.text for i in posted.iterfind(".//o:identifier", OAI)] == [
        i.text for i in got.iterfind(".//o:identifier", OAI)
    ]
    wrong = httpx.post(f"{served.root_url}/oai", content=b"{}", headers={"content-type": "a/b"})
    assert code(etree.fromstring(wrong.content)) == "badArgument"


def test_answers_are_compressed_on_request(served: Settings) -> None:
    url = f"{served.root_url}/oai?verb=ListRecords&metadataPrefix=ivo_vor"
    packed = httpx.get(url, headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    plain = httpx.get(url, headers={"accept-encoding": "identity"})
    assert int(plain.headers["content-length"]) > 5 * int(packed.num_bytes_downloaded)


def test_sickle_gets_every_record_once_in_pages(served: Settings) -> None:
    client = harvester(served)
    found = [one.header.identifier for one in client.ListRecords(metadataPrefix="ivo_vor")]
    known = [one.identifier for one in list_records(served)]
    assert sorted(found) == sorted(known)
    assert len(found) > served.registry_page
    headers = client.ListIdentifiers(metadataPrefix="oai_dc", set="collection")
    assert [one.identifier for one in headers] == [
        f"{BASE}/{n}" for n in ("alpha", "beta", "gamma")
    ]


def test_a_harvest_goes_on_across_a_restart_and_loses_no_change(home: Settings) -> None:
    publish_records(home)
    began = datetime.now(UTC)
    with serving(home):
        records = harvester(home).ListRecords(metadataPrefix="ivo_vor")
        first = [next(records).header.identifier for _ in range(home.registry_page)]
    time.sleep(1.1)
    add_collection(home, "gamma", "Changed on the way")  # not sent yet: it moves to the end
    changed = set(publish_records(home).changed)
    remove_collection(home, "alpha")
    changed |= set(publish_records(home).deleted)
    with serving(home):
        rest = [one.header for one in records]
        sent = [*first, *(header.identifier for header in rest)]
        assert set(sent) == {one.identifier for one in list_records(home)}
        assert {header.identifier for header in rest} >= changed
        assert [h.identifier for h in rest if h.deleted] == [f"{BASE}/alpha"]
        since = f"{began:%Y-%m-%dT%H:%M:%SZ}"
        again = harvester(home).ListIdentifiers(
            **{"metadataPrefix": "ivo_vor", "from": since}, ignore_deleted=False
        )
        assert {header.identifier for header in again} >= changed
        got = ask(home, verb="GetRecord", identifier=f"{BASE}/alpha", metadataPrefix="oai_dc")
        header = got.find(".//o:header", OAI)
        assert header is not None
        assert header.get("status") == "deleted"
        assert got.find(".//o:metadata", OAI) is None
        with pytest.raises(NoRecordsMatch):
            harvester(home).ListRecords(**{"metadataPrefix": "ivo_vor", "from": "2999-01-01"})


def test_an_answer_waits_for_a_publication_and_is_dated_before_it(served: Settings) -> None:
    """Else a record whose datestamp is past, but which was not seen yet, would be lost."""
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(conninfo(served, Role.WRITER)) as connection,
    ):
        given = RecordStore(connection).lock()
        asked = pool.submit(ask, served, verb="ListIdentifiers", metadataPrefix="ivo_vor")
        time.sleep(1.5)
        assert not asked.done()
        connection.rollback()
        answer = asked.result(30)
    said = str(answer.findtext("o:responseDate", namespaces=OAI))
    assert datetime.fromisoformat(said) <= given + timedelta(seconds=1)


def test_tokens_cannot_be_changed_or_used_for_another_verb(served: Settings) -> None:
    page = ask(served, verb="ListRecords", metadataPrefix="ivo_vor")
    token = page.find(".//o:resumptionToken", OAI)
    assert token is not None
    assert token.text
    assert token.get("cursor") == "0"
    assert token.get("completeListSize") == str(len(list_records(served)))
    changed = f"B{token.text[1:]}" if token.text[0] == "A" else f"A{token.text[1:]}"
    for verb, text in (("ListRecords", changed), ("ListIdentifiers", token.text)):
        assert code(ask(served, verb=verb, resumptionToken=text)) == "badResumptionToken"
    twice = [
        [h.text for h in ask(served, verb="ListRecords", resumptionToken=token.text).iterfind(
            ".//o:header/o:identifier", OAI)]
        for _ in range(2)
    ]  # fmt: skip
    assert twice[0] == twice[1] != []


def test_a_token_expires_when_it_says(own_database_url: str, place: Path) -> None:
    home = make_home(own_database_url, place, registry_page=2, registry_token_s=1)
    publish_records(home)
    with serving(home):
        records = harvester(home).ListRecords(metadataPrefix="ivo_vor")
        assert [next(records).header.identifier for _ in range(2)]
        time.sleep(2.1)
        with pytest.raises(BadResumptionToken, match="expired"):
            next(records)
