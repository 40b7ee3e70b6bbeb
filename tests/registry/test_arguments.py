"""OAI-PMH's bad requests: the right code each, and dates as they were meant."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import validate
from vo_service.params.oai import Fault, OaiError, parse_harvest
from vo_service.services.oai import error_answer
from vo_service.settings import Settings

SETTINGS = Settings(home=Path("/nowhere"))
LIST = [("verb", "ListRecords"), ("metadataPrefix", "ivo_vor")]
GET = [("verb", "GetRecord"), ("metadataPrefix", "ivo_vor"), ("identifier", "ivo://a.b/c")]


@pytest.mark.parametrize(
    ("pairs", "code"),
    [
        ([], "badVerb"),
        ([("verb", "")], "badVerb"),
        ([("verb", "listrecords")], "badVerb"),
        ([("verb", "Identify"), ("verb", "Identify")], "badVerb"),
        ([("VERB", "Identify")], "badVerb"),
        ([("verb", "Identify"), ("x", "1")], "badArgument"),
        ([("verb", "Identify"), ("metadataPrefix", "oai_dc")], "badArgument"),
        ([("verb", "ListRecords")], "badArgument"),
        ([("verb", "ListRecords"), ("metadataPrefix", "")], "badArgument"),
        ([*LIST, ("metadataPrefix", "ivo_vor")], "badArgument"),
        ([*LIST, ("resumptionToken", "x")], "badArgument"),
        ([*LIST, ("from", "2020")], "badArgument"),
        ([*LIST, ("from", "2020-02-30")], "badArgument"),
        ([*LIST, ("from", "2020-02-03T00:00:00")], "badArgument"),
        ([*LIST, ("from", "2020-02-03T00:00Z")], "badArgument"),
        ([*LIST, ("from", "2020-02-03T00:00:00+00:00")], "badArgument"),
        ([*LIST, ("until", "٢٠٢٠-02-03")], "badArgument"),
        ([*LIST, ("from", "2020-02-03"), ("until", "2020-02-04T00:00:00Z")], "badArgument"),
        ([*LIST, ("from", "2020-02-03"), ("until", "2020-02-02")], "badArgument"),
        ([*LIST, ("set", "a b")], "badArgument"),
        ([*LIST, ("set", "a::b")], "badArgument"),
        ([*LIST, ("set", "a\0")], "badArgument"),
        ([*LIST, ("identifier", "ivo://a.b/c")], "badArgument"),
        ([("verb", "ListRecords"), ("metadataPrefix", "marc21")], "cannotDisseminateFormat"),
        ([("verb", "GetRecord"), ("identifier", "ivo://a.b/c")], "badArgument"),
        ([("verb", "ListRecords"), ("metadataPrefix", "a b")], "badArgument"),
        ([("verb", "ListMetadataFormats"), ("identifier", "&\x02")], "badArgument"),
        ([("verb", "ListMetadataFormats"), ("identifier", "a:%%%")], "badArgument"),
        ([*GET, ("from", "2020-01-01")], "badArgument"),
        ([*GET, ("resumptionToken", "x")], "badArgument"),
        (
            [("verb", "GetRecord"), ("metadataPrefix", "oai_dc"), ("identifier", "\0")],
            "badArgument",
        ),
    ],
)
def test_a_bad_request_has_its_code(pairs: list[tuple[str, str]], code: str) -> None:
    with pytest.raises(OaiError) as caught:
        parse_harvest(pairs)
    assert {fault.code for fault in caught.value.faults} == {code}
    if code in ("badVerb", "badArgument"):
        assert caught.value.arguments == {}


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(OaiError) as caught:
        parse_harvest([("verb", "ListRecords"), ("from", "x"), ("until", "y"), ("z", "1")])
    assert len(caught.value.faults) == 4


def test_a_day_is_all_of_it() -> None:
    harvest = parse_harvest([*LIST, ("from", "2020-02-28"), ("until", "2020-02-29")])
    assert harvest.since == datetime(2020, 2, 28, tzinfo=UTC)
    assert harvest.until == datetime(2020, 2, 29, 23, 59, 59, tzinfo=UTC)


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5), st.sampled_from(["verb", "from"]))
def test_whatever_comes_is_taken_or_refused_by_a_code(
    pairs: list[tuple[str, str]], name: str
) -> None:
    for tried in (pairs, [("verb", "ListRecords"), *pairs], [*LIST, (name, "x"), *pairs]):
        try:
            parse_harvest(tried)
        except OaiError as error:  # nothing else may come
            validate(error_answer(SETTINGS, error))


@given(st.text(), st.text(), st.sampled_from(["identifier", "set", "from", "metadataPrefix"]))
def test_what_is_echoed_keeps_an_answer_valid(text: str, more: str, name: str) -> None:
    """Of a request that passes, the answer repeats the arguments."""
    for value in (text, f"a:{text}", f"ivo://a.b/{text}#{more}", f"{text}:{more}"):
        pairs = {"verb": "GetRecord", "identifier": "a:b", "metadataPrefix": "oai_dc"}
        if name in ("set", "from"):
            pairs = {"verb": "ListRecords", "metadataPrefix": "oai_dc"}
        with suppress(OaiError):
            harvest = parse_harvest(list((pairs | {name: value}).items()))
            fault = OaiError([Fault("idDoesNotExist", "x")], harvest.arguments)
            validate(error_answer(SETTINGS, fault))
