"""TAP parameters: what is taken, what is refused, and in which words."""

from __future__ import annotations

import pytest

from vo_service.errors import MultiValuedError, UsageError
from vo_service.params.tap import Pairs, TapQuery, parse_tap_query

GOOD = [("LANG", "ADQL"), ("QUERY", "SELECT 1")]


def parse(pairs: Pairs) -> TapQuery:
    return parse_tap_query(pairs, maxrec_default=100, maxrec_limit=1000, query_length=50)


def test_defaults_are_filled_in() -> None:
    assert parse(GOOD) == TapQuery(query="SELECT 1", maxrec=100)


def test_names_have_no_case_and_unknown_ones_are_ignored() -> None:
    pairs = [("lang", "adql-2.1"), ("Query", "x"), ("REQUEST", "doQuery"), ("request", "again")]
    assert parse(pairs).query == "x"


def test_maxrec_is_cut_to_the_limit_silently() -> None:
    assert parse([*GOOD, ("MAXREC", "99999999999999999999999")]).maxrec == 1000
    assert parse([*GOOD, ("MAXREC", "0")]).maxrec == 0


def test_responseformat_counts_before_format() -> None:
    pairs = [*GOOD, ("FORMAT", "csv"), ("RESPONSEFORMAT", "votable")]
    assert parse(pairs).response_format == "votable"
    assert parse([*GOOD, ("FORMAT", "votable/td")]).response_format == "votable/td"


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([("QUERY", "x")], "LANG is missing"),
        ([("LANG", "PQL"), ("QUERY", "x")], "unknown query language LANG='PQL'"),
        ([("LANG", "ADQL-3.0"), ("QUERY", "x")], "unknown query language"),
        ([("LANG", "ADQL")], "QUERY is missing"),
        ([("LANG", "ADQL"), ("QUERY", " \n")], "QUERY is missing"),
        ([("LANG", "ADQL"), ("QUERY", "x" * 51)], "at most 50"),
        ([*GOOD, ("MAXREC", "-1")], "MAXREC='-1': expected a whole number"),
        ([*GOOD, ("MAXREC", "1.5")], "expected a whole number"),
        ([*GOOD, ("MAXREC", "\u0661")], "expected a whole number"),
        ([*GOOD, ("RUNID", "x" * 65)], "RUNID has 65 characters"),
    ],
)
def test_what_is_wrong_is_named(pairs: Pairs, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(pairs)
    assert said in str(caught.value)


def test_a_single_valued_parameter_given_twice_is_an_error() -> None:
    with pytest.raises(MultiValuedError, match="MAXREC is given more than once"):
        parse([*GOOD, ("MAXREC", "1"), ("maxrec", "1")])
