"""UPLOAD parameters: what is read, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vo_service.errors import UsageError
from vo_service.params.upload import UploadSpec, parse_uploads


def names(*values: str) -> list[tuple[str, str]]:
    return [(s.name, s.uri) for s in parse_uploads([("UPLOAD", v) for v in values], 10)]


def test_a_part_and_a_url_are_told_apart() -> None:
    pairs = [("upload", "a,param:x"), ("QUERY", "b,param:y"), ("Upload", "c, http://h/p?q=1,2")]
    assert parse_uploads(pairs, 10) == (
        UploadSpec("a", "param:x", "x"),
        UploadSpec("c", "http://h/p?q=1,2"),
    )


def test_the_list_of_tap_1_0_is_still_read() -> None:
    assert names("a,param:x;b,http://h/1") == [("a", "param:x"), ("b", "http://h/1")]
    assert names("a,param:x;", " ") == [("a", "param:x")]


def test_a_semicolon_inside_a_uri_is_no_separator() -> None:
    assert names("a,http://h/p;v=1;w=2") == [("a", "http://h/p;v=1;w=2")]
    assert names("a,http://h/p;v=1;b,https://h/q") == [
        ("a", "http://h/p;v=1"),
        ("b", "https://h/q"),
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("a", "expected name,uri"),
        ("a,", "expected name,uri"),
        ("1a,param:x", "no table name"),
        ("a b,param:x", "no table name"),
        ("a.b,param:x", "no table name"),
        ('"a",param:x', "no table name"),
        ("_a,param:x", "no table name"),
        ("é,param:x", "no table name"),
        ("a" * 61 + ",param:x", "at most 60"),
        ("a,param:", "name of a part"),
        ("a,x", "expected http:, https: or param:"),
        ("a,file:///etc/passwd", "expected http:, https: or param:"),
        ("a,ftp://h/x", "expected http:"),
        ("a,vos://h/x", "expected http:"),
        ("a,http://", "names no host"),
        ("a,http://u:p@h/", "user name"),
        ("a,http://h:99999/", "cannot be read"),
        ("a,http://[::1/", "cannot be read"),
        ("a,http://h/\r\nHost: x", "control characters"),
        ("a,param:x;A,param:y", "two tables are called A"),
    ],
)
def test_what_is_wrong_is_named(value: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        names(value)


def test_too_many_tables_are_refused() -> None:
    with pytest.raises(UsageError, match="at most 10"):
        names(*(f"t{n},param:x" for n in range(11)))


@given(st.lists(st.text(max_size=30), max_size=4))
def test_any_text_is_read_or_refused(values: list[str]) -> None:
    try:
        found = names(*values)
    except UsageError:
        return
    assert all(name.isascii() and uri for name, uri in found)
