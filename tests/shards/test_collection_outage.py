"""A collection whose node is down is named in the answer; the others are found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.shards import kinds, sky
from tests.shards.cluster import Machine
from tests.shards.test_outage import Site, served, statuses, votable
from vo_service.db.connect import Role, conninfo
from vo_service.settings import Settings

TOMOE = "collection tomoe is not available now: shard north does not answer; the rest can be"
BOTH = (
    "the part of the sky at RA 120..240 deg and collection tomoe are not available now: "
    "shards north, south do not answer"
)
PLACES = [(f.observation.obs_collection, f.observation.s_ra) for f in kinds.frames()]
#: Rows of tomoe without a position stay with the centre, and cannot be told apart from here.
OTHERS = sum(name != "tomoe" for name, _ in PLACES)


@pytest.fixture(scope="module")
def settings(
    database_url: str, place: Path, machines: tuple[Machine, Machine]
) -> Iterator[Settings]:
    """tomoe in the north, a third of the sky of the others in the south."""
    home = place / f"home-{uuid4().hex[:8]}"
    with (
        kinds.made(database_url, home, kinds.COARSE) as made,
        machines[0].database() as north,
        machines[1].database() as south,
    ):
        sky.add(made, "north", north)
        sky.add(made, "south", south)
        sky.place(made, "north", "tomoe")
        sky.move(made, "south", "120:240")
        yield made


@pytest.fixture(scope="module")
def strict(settings: Settings) -> Iterator[Site]:
    yield from served(settings, "error")


@pytest.fixture(scope="module")
def lenient(settings: Settings) -> Iterator[Site]:
    yield from served(settings, "partial")


@pytest.fixture(autouse=True)
def _up(machines: tuple[Machine, Machine]) -> Iterator[None]:
    yield
    for machine in machines:
        machine.start()


def test_an_error_names_the_collection(strict: Site, machines: tuple[Machine, Machine]) -> None:
    strict.wait_until_whole()
    machines[0].kill()
    first = strict.tap()
    assert first.status_code == 503
    [(status, message)] = statuses(first)
    assert (status, message.startswith(TOMOE)) == ("ERROR", True)
    of = "SELECT COUNT(*) AS n FROM ivoa.obscore WHERE obs_collection = '{}'"
    assert strict.tap(of.format("tomoe")).status_code == 503
    rest = strict.tap(of.format("c"), FORMAT="csv")
    assert int(rest.text.split()[1]) == sum(name == "c" for name, _ in PLACES)
    search = {"POS": "CIRCLE 50 2 5"}
    sia = httpx.get(f"{strict.url}/sia2/query", params=search, timeout=30)
    assert TOMOE in sia.text
    sia = httpx.get(f"{strict.url}/sia2/query", params=search | {"COLLECTION": "c"}, timeout=30)
    assert (sia.status_code, TOMOE in sia.text) == (200, False)

    machines[1].kill()
    strict.wait_until_says(BOTH)


def test_a_partial_answer_is_without_the_collection(
    lenient: Site, machines: tuple[Machine, Machine]
) -> None:
    lenient.wait_until_whole()
    machines[0].kill()
    for _ in range(2):  # as the first that finds it out, and as one that knows
        answer = lenient.tap()
        assert answer.status_code == 200
        [ok, (status, reason)] = statuses(answer)
        assert (ok, status, reason.startswith(TOMOE)) == (("OK", ""), "OVERFLOW", True)
        assert int(votable(answer).get_first_table().to_table()["n"][0]) == OTHERS
    everything = lenient.tap("SELECT COUNT(*) AS n FROM ivoa.obscore WHERE obs_collection = 'c'")
    assert statuses(everything) == [("OK", "")]
    # What misses all is still an answer that says so.
    nothing = lenient.tap("SELECT obs_id FROM ivoa.obscore WHERE obs_collection = 'tomoe'")
    assert len(votable(nothing).get_first_table().to_table()) == 0
    assert statuses(nothing)[-1][0] == "OVERFLOW"

    machines[1].kill()
    lenient.wait_until_says(BOTH)
    answer = lenient.tap()
    assert int(votable(answer).get_first_table().to_table()["n"][0]) == sum(
        name != "tomoe" and (ra is None or not 120 <= ra < 240) for name, ra in PLACES
    )


def test_a_collection_that_is_half_away_is_left_out_as_a_whole(
    lenient: Site, settings: Settings, machines: tuple[Machine, Machine]
) -> None:
    lenient.wait_until_whole()
    with psycopg.connect(conninfo(settings, Role.OWNER)) as owner:
        kept = owner.execute(
            "SELECT count(*) FROM archive.shard_part WHERE collection = 'wide-field'"
        ).fetchone()
    assert kept == (0,)
    with pytest.raises(KeyboardInterrupt):
        sky.place(settings, "north", "wide-field", stop_after=3)
    lenient.wait_until_whole()
    machines[0].kill()
    lenient.wait_until_says("collections tomoe and wide-field are not available now: shard north")
    answer = lenient.tap()
    assert int(votable(answer).get_first_table().to_table()["n"][0]) == sum(
        name not in ("tomoe", "wide-field") for name, _ in PLACES
    )
