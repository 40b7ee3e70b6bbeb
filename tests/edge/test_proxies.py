"""Whom a request is from and under which address, and that only our proxies may say so."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.types import Message, Scope

from vo_service.settings import Settings
from vo_service.web.edge import ROOT, Edge
from vo_service.web.proxies import Hop, Proxies

OURS = ("10.0.0.0/8", "::1")


def settings(**chosen: object) -> Settings:
    return Settings(home=Path("/nowhere"), **chosen)  # type: ignore[arg-type]  # checked by pydantic


async def seen(peer: str | None, headers: dict[str, str], **chosen: object) -> Scope:
    """The scope that the application gets."""
    found: list[Scope] = []

    async def app(scope: Scope, receive: object, send: object) -> None:
        found.append(scope)

    async def nothing() -> Message:
        return {}

    async def no_answer(message: Message) -> None:
        return

    scope: Scope = {
        "type": "http",
        "scheme": "http",
        "client": (peer, 4711) if peer else None,
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    await Edge(app, settings(**{"trusted_proxies": OURS} | chosen))(scope, nothing, no_answer)
    return found[0]


FORWARDED = {
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "archive.example.org",
}


@pytest.mark.anyio
async def test_a_proxy_of_ours_is_believed() -> None:
    scope = await seen("10.1.2.3", FORWARDED)
    assert scope["client"] == ("203.0.113.7", 0)
    assert scope["scheme"] == "https"
    assert scope[ROOT] == "https://archive.example.org"


@pytest.mark.anyio
@pytest.mark.parametrize("peer", ["203.0.113.9", "::ffff:203.0.113.9", "11.0.0.1", None])
async def test_nobody_else_is(peer: str | None) -> None:
    scope = await seen(peer, FORWARDED | {"Host": "evil.example"})
    assert scope["client"] == ((peer, 4711) if peer else None)
    assert scope["scheme"] == "http"
    assert ROOT not in scope


@pytest.mark.anyio
async def test_a_peer_at_a_unix_socket_is_believed_if_that_was_chosen() -> None:
    assert ROOT in await seen(None, FORWARDED, trusted_proxies=("unix",))
    assert ROOT not in await seen("10.1.2.3", FORWARDED, trusted_proxies=("unix",))


@pytest.mark.anyio
async def test_base_url_is_the_address_whatever_a_proxy_tells() -> None:
    scope = await seen("10.1.2.3", FORWARDED, base_url="https://ours.example")
    assert ROOT not in scope
    assert scope["scheme"] == "https"


@pytest.mark.anyio
async def test_a_host_header_tells_no_address() -> None:
    headers = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    assert ROOT not in await seen("10.1.2.3", headers | {"Host": "evil.example"})


@pytest.mark.anyio
@pytest.mark.parametrize(
    "host",
    ["a b", "evil.example/path", "user@evil", "a\"b", "<script>", "[::1", "", ".", "a:b",
     "a:123456", "a?x", "a#x", "a\\b", "ä.example"],
)  # fmt: skip
async def test_a_host_that_cannot_be_one_is_none(host: str) -> None:
    assert ROOT not in await seen("10.1.2.3", FORWARDED | {"X-Forwarded-Host": host})


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("told", "client"),
    [
        ("6.6.6.6, 203.0.113.7", "203.0.113.7"),  # the first was written by the client
        ("6.6.6.6, 203.0.113.7, 10.9.9.9", "203.0.113.7"),  # two proxies of ours
        ("10.9.9.9", "10.9.9.9"),  # somebody within
        ("203.0.113.7:51234", "203.0.113.7"),
        ("[2001:db8::1]:51234", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("unknown", "unknown"),
        ("'; DROP TABLE", "unknown"),
        ("203.0.113.7, ", "unknown"),
    ],
)
async def test_the_client_is_the_last_that_is_no_proxy_of_ours(told: str, client: str) -> None:
    scope = await seen("10.1.2.3", {"X-Forwarded-For": told})
    assert scope["client"] == (client, 0)


@pytest.mark.anyio
async def test_each_proxy_tells_of_its_own_client() -> None:
    headers = {
        "X-Forwarded-For": "6.6.6.6, 203.0.113.7, 10.9.9.9",
        "X-Forwarded-Proto": "http, https, http",
        "X-Forwarded-Host": "evil.example, archive.example.org, inside.example",
    }
    assert (await seen("10.1.2.3", headers))[ROOT] == "https://archive.example.org"


@pytest.mark.anyio
async def test_only_the_header_that_was_chosen_is_read() -> None:
    both = FORWARDED | {"Forwarded": "for=198.51.100.1;proto=http;host=other.example"}
    assert (await seen("10.1.2.3", both))["client"] == ("203.0.113.7", 0)
    chosen = await seen("10.1.2.3", both, forwarded_header="forwarded")
    assert chosen["client"] == ("198.51.100.1", 0)
    assert chosen[ROOT] == "http://other.example"


def outermost(value: str) -> Hop | None:
    proxies = Proxies(settings(trusted_proxies=OURS, forwarded_header="forwarded"))
    return proxies.outermost(Headers({"forwarded": value}))


@pytest.mark.parametrize(
    ("value", "hop"),
    [  # examples of RFC 7239, sections 4 and 7.4
        ('for="_gazonk"', Hop("", "", "")),
        ('For="[2001:db8:cafe::17]:4711"', Hop("2001:db8:cafe::17", "", "")),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", Hop("192.0.2.60", "http", "")),
        ("for=192.0.2.43, for=198.51.100.17", Hop("198.51.100.17", "", "")),
        (
            'for=192.0.2.43, for="[2001:db8::17]";host="a.example:8443";proto=HTTPS, for=10.0.0.1',
            Hop("2001:db8::17", "https", "a.example:8443"),
        ),
        ('for=192.0.2.43;host="evil, for=1.2.3.4"', Hop("192.0.2.43", "", "")),
        ("for 192.0.2.43", Hop("", "", "")),
        ("", None),
    ],
)
def test_forwarded_is_read_as_rfc_7239_has_it(value: str, hop: Hop | None) -> None:
    assert outermost(value) == hop


@given(st.text(st.characters(max_codepoint=255), max_size=200))
def test_no_header_breaks_the_reading(value: str) -> None:
    hop = outermost(value)
    assert hop is None or hop.scheme in {"", "http", "https"}


@given(st.lists(st.ip_addresses().map(str), min_size=1, max_size=6), st.integers(0, 5))
def test_what_a_client_writes_itself_changes_nothing(written: list[str], ours: int) -> None:
    proxies = Proxies(settings(trusted_proxies=OURS))
    chain = [*written, "203.0.113.7", *(f"10.0.0.{n + 1}" for n in range(ours))]
    hop = proxies.outermost(Headers({"x-forwarded-for": ", ".join(chain)}))
    assert hop == Hop("203.0.113.7", "", "")


@pytest.mark.parametrize("wrong", ["proxy.example", "10.0.0.0/33", "10.0.0.1/8", ""])
def test_a_proxy_must_be_an_address_or_a_network(wrong: str) -> None:
    with pytest.raises(ValueError, match="expected an address"):
        settings(trusted_proxies=(wrong,))
