"""The simple protocols show to each what TAP shows: alice's rows to alice only."""

from __future__ import annotations

import httpx
import pytest

from tests.access.conftest import People
from tests.people import bearer

CANARIES = {"canary-0", "canary-1", "canary-2"}
#: Cones, as these frames have a position and a footprint but are of no product type.
CONES = [
    ("/scs/ivoa.obscore", {"RA": "0", "DEC": "0", "SR": "180"}),
    ("/scs/IVOA.OBSCORE", {"RA": "6.3", "DEC": "20", "SR": "90", "VERB": "3"}),
]


@pytest.mark.parametrize(("path", "asked"), CONES)
def test_only_alice_finds_what_is_hers(
    served: str, people: People, path: str, asked: dict[str, str]
) -> None:
    asked = asked | {"RESPONSEFORMAT": "votable/td"}
    for who, sees in ((None, False), (people.mallory, False), (people.alice, True)):
        headers = bearer(who) if who else {}
        answer = httpx.get(f"{served}{path}", params=asked, headers=headers, timeout=60)
        assert answer.status_code == 200
        assert {name for name in CANARIES if name in answer.text} == (CANARIES if sees else set())


@pytest.mark.parametrize("path", ["/sia2/query", "/scs/ivoa.obscore", "/ssa/query", "/sia/query"])
def test_a_wrong_token_is_told(served: str, path: str) -> None:
    answer = httpx.get(f"{served}{path}", headers=bearer("nobodys-token"), timeout=60)
    assert answer.status_code == 401
