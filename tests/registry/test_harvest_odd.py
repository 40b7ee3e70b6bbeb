"""Harvesting from repositories that misbehave."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
import pytest

from tests.registry.repository import (
    Answer,
    Asked,
    ask,
    error,
    found,
    page,
    record,
    repository,
    resource,
)
from vo_service.db.connect import Role, conninfo
from vo_service.errors import TransientError, UsageError
from vo_service.services.harvest import forget_source, harvest, harvest_faults, harvest_sources
from vo_service.settings import Settings

X = "ivo://x.example"


def test_the_second_harvest_asks_from_a_step_before_the_first_began(here: Settings) -> None:
    def answer(asked: Asked) -> Answer:
        if "resumptionToken" in asked:
            return page(record(f"{X}/b"), moment="2024-05-01T09:00:00Z")
        return page(record(f"{X}/a"), token="t", moment="2024-05-01T08:00:00Z")

    with repository(answer) as there:
        harvest(here, there.url, pause_s=0)
        harvest(here, there.url, pause_s=0)
        assert there.asked[1] == {
            "verb": "ListRecords", "metadataPrefix": "ivo_vor", "set": "ivo_managed",
        }  # fmt: skip
        assert there.asked[2] == {"verb": "ListRecords", "resumptionToken": "t"}
        assert there.asked[4]["from"] == "2024-05-01T07:59:59Z"
        assert all("vo-service/" in agent for agent in there.agents)
        harvest(here, there.url, set_name="", pause_s=0)
        assert there.asked[7] == {"verb": "ListRecords", "metadataPrefix": "ivo_vor"}


def test_a_record_that_cannot_be_used_is_refused_with_the_reason_and_the_rest_comes(
    here: Settings,
) -> None:
    far = resource(f"{X}/far", inside="<coverage><spatial>5/99999999</spatial></coverage>")
    records = [
        record(f"{X}/good"),
        record(f"{X}/other", resource(f"{X}/else")),
        record(f"{X}/untitled", resource(f"{X}/untitled", title=" ")),
        record(f"{X}/odd", resource(f"{X}/odd", status="odd")),
        record("oai:x:1", "<dc/>"),
        record(f"{X}/empty", " "),
        record(f"{X}/broken", f"<x>&nothing;<y></x>{chr(1)}"),
        record(f"{X}/entity", resource(f"{X}/entity", title="&#0;")),
        record(f"{X}/far", far),
        record(f"{X}/inactive", resource(f"{X}/inactive", status="inactive")),
        record(f"{X}/last"),
    ]
    with repository(lambda asked: page(*records)) as there:
        done = harvest(here, there.url, pause_s=0)
        assert found(here) == {f"{X}/good", f"{X}/far", f"{X}/last"}
        assert (done.new, done.refused, done.deleted) == (3, 7, 1)
        reasons = {reason.partition(": ")[0]: reason for reason in done.reasons}
        assert "is ivo://x.example/else within" in reasons[f"{X}/other"]
        assert "title" in reasons[f"{X}/untitled"]
        assert "expected active, inactive or deleted" in reasons[f"{X}/odd"]
        assert "expected one element" in reasons[f"{X}/empty"]
        assert "not well-formed" in reasons[f"{X}/broken"]
        assert "not well-formed" in reasons[f"{X}/entity"]
        assert "coverage/spatial" in reasons[f"{X}/far"]
        kept = {ivoid: state for ivoid, state, _ in harvest_faults(here, there.url)}
        assert kept[f"{X}/untitled"] == kept[f"{X}/broken"] == "refused"
        assert kept[f"{X}/far"] == "active"


def test_what_was_known_of_a_record_stays_when_its_newer_version_cannot_be_used(
    here: Settings,
) -> None:
    answers = [page(record(f"{X}/a")), page(record(f"{X}/a", resource(f"{X}/a", title="")))]
    with repository(lambda asked: answers.pop(0)) as there:
        harvest(here, there.url, pause_s=0)
        done = harvest(here, there.url, pause_s=0)
        assert (done.refused, found(here)) == (1, {f"{X}/a"})
        [(_, state, reason)] = harvest_faults(here, there.url)
        assert state == "active"
        assert "newer version" in reason


def test_values_that_the_database_cannot_hold_keep_one_record_out_and_no_other(
    here: Settings,
) -> None:
    late = resource(f"{X}/late", inside="<curation><date>9999-12-31T23:59:59Z</date></curation>")
    long = resource(f"{X}/long", inside=f"<content><subject>{'é' * 5000}</subject></content>")
    text = resource(
        f"{X}/text", inside=f"<content><description>{'word ' * 300000}</description></content>"
    )
    records = [record(f"{X}/late", late), record(f"{X}/long", long), record(f"{X}/text", text)]
    with repository(lambda asked: page(record(f"{X}/a"), *records, record(f"{X}/b"))) as there:
        done = harvest(here, there.url, pause_s=0)
    assert {f"{X}/a", f"{X}/b", f"{X}/long", f"{X}/text"} <= found(here)
    assert done.refused + done.new == 5
    assert any("5000 characters" in reason for reason in done.reasons)


def test_nobody_can_take_over_records_of_others_or_ours(here: Settings) -> None:
    own = record("ivo://HERE.example/tap", resource("ivo://here.example/tap", "Not ours"))
    with (
        repository(lambda asked: page(record(f"{X}/a"))) as first,
        repository(
            lambda asked: page(
                own,
                record("ivo://here.example.org/b"),
                record(f"{X}/a", resource(f"{X}/a", "Taken over")),
                record(f"{X}/gone", None),
            )
        ) as second,
    ):
        harvest(here, first.url, pause_s=0)
        done = harvest(here, second.url, pause_s=0)
        assert (done.elsewhere, done.new) == (2, 1)
        assert found(here) == {f"{X}/a", "ivo://here.example.org/b"}
        title = ask(here, "SELECT res_title FROM rr.resource WHERE ivoid = %s", f"{X}/a")
        assert title == ["A title"]
        with repository(lambda asked: page(record(f"{X}/a", None))) as third:
            assert harvest(here, third.url, pause_s=0).elsewhere == 1
        assert f"{X}/a" in found(here)
        forget_source(here, first.url)
        assert harvest(here, second.url, full=True, pause_s=0).new == 1


def test_a_full_harvest_lets_go_of_what_is_no_longer_listed(here: Settings) -> None:
    listed = [record(f"{X}/a"), record(f"{X}/b")]
    with repository(lambda asked: page(*listed)) as there:
        harvest(here, there.url, pause_s=0)
        listed.pop()
        assert harvest(here, there.url, pause_s=0).deleted == 0
        assert harvest(here, there.url, full=True, pause_s=0).deleted == 1
        assert found(here) == {f"{X}/a"}
        listed.pop()
        with pytest.raises(UsageError, match="has no records"):
            harvest(here, there.url, full=True, pause_s=0)
        assert found(here) == {f"{X}/a"}


def test_a_lost_place_means_to_begin_again(here: Settings) -> None:
    lost = [True]

    def answer(asked: Asked) -> Answer:
        if "resumptionToken" not in asked:
            return page(record(f"{X}/a"), token="t")
        return error("badResumptionToken") if lost and lost.pop() else page(record(f"{X}/b"))

    said: list[str] = []
    with repository(answer) as there:
        done = harvest(here, there.url, pause_s=0, say=said.append)
        assert (done.new, done.unchanged, done.taken) == (2, 1, 2)
        assert "beginning again" in said[0]
    with (
        repository(
            lambda asked: (
                error("badResumptionToken")
                if "resumptionToken" in asked
                else page(record(f"{X}/a"), token="t")
            )
        ) as there,
        pytest.raises(TransientError, match="again and again"),
    ):
        harvest(here, there.url, pause_s=0)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (error("cannotDisseminateFormat"), "no registry of the VO"),
        (error("noSetHierarchy"), "--all-sets"),
        (error("badArgument", "no such set"), "no such set"),
        (error("noRecordsMatch"), "no records in the set ivo_managed"),
        (Answer("<html><p>Hello</p></html>"), "expected the root OAI-PMH"),
        (Answer("<html><p>Hello</html>"), "not well-formed"),
        (Answer(""), "not well-formed"),
        (Answer(page().body[:-12]), "not well-formed"),
        (page(record(f"{X}/a"), moment="yesterday"), "responseDate"),
        (Answer(status=404), "status 404"),
        (Answer(status=302, headers={"Location": "file:///etc/passwd"}), "file"),
        (Answer(status=302, headers={"Location": "/oai"}), "redirects more than"),
    ],
)
def test_what_is_no_answer_is_told_and_nothing_is_kept(
    here: Settings, given: Answer, expected: str
) -> None:
    with repository(lambda asked: given) as there, pytest.raises(UsageError) as caught:
        harvest(here, there.url, pause_s=0)
    assert expected in str(caught.value)
    assert there.url in str(caught.value)
    assert found(here) == set()
    assert harvest_sources(here) == []


def test_an_overloaded_repository_is_asked_again_when_it_says(here: Settings) -> None:
    answers = [
        Answer(status=503, headers={"Retry-After": "1"}),
        Answer(status=429, headers={"Retry-After": "Wed, 01 May 2024 00:00:00 GMT"}),
        page(record(f"{X}/a")),
    ]
    said: list[str] = []
    with repository(lambda asked: answers.pop(0)) as there:
        began = time.monotonic()
        harvest(here, there.url, pause_s=0, say=said.append)
        assert time.monotonic() - began >= 1
        assert [text.partition(";")[2] for text in said] == [" waiting 1 s", " waiting 0 s"]
    busy = Answer(status=503, headers={"Retry-After": "86400"})
    with repository(lambda asked: busy) as there, pytest.raises(TransientError, match="86400 s"):
        harvest(here, there.url, pause_s=0)


def test_entities_and_files_that_a_document_names_are_not_read(
    here: Settings, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("top-secret")
    body = page(record(f"{X}/a", resource(f"{X}/a", "Title &stolen; &big;"))).body
    head, _, rest = body.partition("<OAI-PMH")
    bomb = '<!ENTITY a "x"><!ENTITY big "&a;&a;&a;">'
    body = (
        f'{head}<!DOCTYPE OAI-PMH [<!ENTITY stolen SYSTEM "file://{secret}">{bomb}]><OAI-PMH{rest}'
    )
    with repository(lambda asked: Answer(body)) as there:
        harvest(here, there.url, pause_s=0)
    [title] = ask(here, "SELECT res_title FROM rr.resource")
    assert "secret" not in title
    assert "xxx" not in title


def test_answers_may_be_compressed_and_addresses_may_have_a_query(here: Settings) -> None:
    packed = page(record(f"{X}/a"))
    packed.headers["Content-Encoding"] = "gzip"
    with repository(lambda asked: packed) as there:
        harvest(here, f"{there.url}?site=1", pause_s=0)
        assert there.asked[1]["site"] == "1"
    assert found(here) == {f"{X}/a"}


@pytest.mark.parametrize(
    "url",
    ["ftp://x/oai", "http:///oai", "x", "http://a:b@x/oai", "http://x/oai?verb=Identify",
     "http://x:99999/", "http://[::1/", "http://ü.example/"],
)  # fmt: skip
def test_what_is_no_address_is_told(here: Settings, url: str) -> None:
    with pytest.raises(UsageError):
        harvest(here, url, pause_s=0)


def test_two_harvests_of_a_registry_do_not_run_at_once(here: Settings) -> None:
    with repository(lambda asked: page(record(f"{X}/a"))) as there:
        harvest(here, there.url, pause_s=0)
        with psycopg.connect(conninfo(here, Role.WRITER)) as other:
            other.execute(
                "SELECT pg_advisory_lock(hashtext('vo-service harvest'), source_id::integer) "
                "FROM archive.harvest_source"
            )
            with pytest.raises(TransientError, match="another"):
                harvest(here, there.url, pause_s=0)


def test_a_list_that_never_ends_is_left(here: Settings) -> None:
    with (
        repository(lambda asked: page(record(f"{X}/a"), token="t")) as there,
        pytest.raises(UsageError, match="same place"),
    ):
        harvest(here, there.url, pause_s=0)
