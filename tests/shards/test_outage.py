"""A node that is down is told of in the answer, in what each protocol has for it."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from astropy.io.votable import parse
from astropy.io.votable.tree import VOTableFile

from tests.shards import sky
from tests.shards.cluster import Machine
from tests.web.conftest import free_port, serving
from vo_service.settings import Settings

ALL = "SELECT COUNT(*) AS n FROM ivoa.obscore"
GONE = "the part of the sky at RA 120..240 deg is not available now: shard south does not answer"
FRAMES = sky.frames()
CENTRES = [f.observation.s_ra for f in FRAMES]
KEPT = sum(ra is None or not 120 <= ra < 240 for ra in CENTRES)


@dataclass(frozen=True)
class Site:
    """A server of the archive."""

    url: str

    def tap(self, query: str = ALL, **more: str) -> httpx.Response:
        data = {"LANG": "ADQL", "QUERY": query, **more}
        return httpx.post(f"{self.url}/tap/sync", data=data, timeout=60)

    def count(self) -> int:
        return int(self.tap(FORMAT="csv").text.split()[1])

    def is_whole(self) -> bool:
        answer = self.tap()
        return answer.status_code == 200 and b"OVERFLOW" not in answer.content

    def wait_until_whole(self) -> None:
        until = time.monotonic() + 30
        while not self.is_whole():
            assert time.monotonic() < until
            time.sleep(0.2)

    def wait_until_says(self, text: str) -> None:
        until = time.monotonic() + 30
        while text not in self.tap().text:
            assert time.monotonic() < until
            time.sleep(0.2)


@pytest.fixture(scope="module")
def settings(
    database_url: str, place: Path, machines: tuple[Machine, Machine]
) -> Iterator[Settings]:
    home = place / f"home-{uuid4().hex[:8]}"
    with sky.made(database_url, home) as made, sky.spread(made, machines):
        yield made


@pytest.fixture(scope="module")
def strict(settings: Settings) -> Iterator[Site]:
    """A server that answers with an error."""
    yield from served(settings, "error")


@pytest.fixture(scope="module")
def lenient(settings: Settings) -> Iterator[Site]:
    """A server that answers with what there is."""
    yield from served(settings, "partial")


def served(settings: Settings, mode: str) -> Iterator[Site]:
    port = free_port()
    (settings.home / "settings.toml").write_text(
        (settings.home / "settings.toml").read_text("utf-8").partition("\n# outage\n")[0]
        + f'\n# outage\nshard_down = "{mode}"\nshard_answer_s = 1.0\nworker_in_serve = false\n',
        "utf-8",
    )
    with serving(settings.model_copy(update={"port": port})):
        yield Site(f"http://localhost:{port}")


@pytest.fixture(autouse=True)
def _up(machines: tuple[Machine, Machine]) -> Iterator[None]:
    """What a test has killed is there for the next."""
    yield
    for machine in machines:
        machine.start()


@pytest.fixture
def south(machines: tuple[Machine, Machine]) -> Machine:
    """The node of RA 120 to 240, killed."""
    machines[1].kill()
    return machines[1]


def votable(answer: httpx.Response) -> VOTableFile:
    return parse(io.BytesIO(answer.content))


def statuses(answer: httpx.Response) -> list[tuple[str, str]]:
    resource = votable(answer).resources[0]
    return [
        (info.value, info.content or "") for info in resource.infos if info.name == "QUERY_STATUS"
    ]


def test_a_killed_node_is_an_error_that_names_its_part_of_the_sky(
    strict: Site, machines: tuple[Machine, Machine]
) -> None:
    strict.wait_until_whole()
    assert strict.count() == len(CENTRES)
    machines[1].kill()
    begun = time.monotonic()
    first = strict.tap()  # nobody knows of it yet
    assert time.monotonic() - begun < 10
    assert first.status_code == 503
    [(status, message)] = statuses(first)
    assert (status, message.startswith(GONE)) == ("ERROR", True)
    assert strict.tap("SELECT TOP 1 obs_id FROM ivoa.obscore WHERE s_ra > 130").status_code == 503
    # What needs nothing of it is answered as ever.
    rest = strict.tap("SELECT COUNT(*) AS n FROM ivoa.obscore WHERE s_ra < 120", FORMAT="csv")
    assert int(rest.text.split()[1]) == sum(ra is not None and ra < 120 for ra in CENTRES)
    cone = (
        "SELECT obs_id FROM ivoa.obscore WHERE 1 = CONTAINS(POINT(s_ra, s_dec), CIRCLE(300, 0, 5))"
    )
    assert strict.tap(cone).status_code == 200
    assert strict.tap("SELECT table_name FROM tap_schema.tables").status_code == 200

    sia = httpx.get(f"{strict.url}/sia2/query", params={"POS": "CIRCLE 150 2 3"}, timeout=30)
    assert sia.status_code == 503
    assert GONE in sia.text
    scs = httpx.get(f"{strict.url}/scs/ivoa.obscore?RA=150&DEC=2&SR=1", timeout=30)
    assert GONE in scs.text
    elsewhere = httpx.get(f"{strict.url}/scs/ivoa.obscore?RA=50&DEC=2&SR=1", timeout=30)
    assert GONE not in elsewhere.text
    links = httpx.get(f"{strict.url}/datalink/links", params={"ID": "ivo://x/c?3.fits"}, timeout=30)
    assert links.status_code == 200
    assert b"ivo://x/c?3.fits" in links.content

    machines[1].start()
    strict.wait_until_whole()
    assert strict.count() == len(CENTRES)


def test_headers_and_cutouts_of_what_is_on_another_node_go_on(
    strict: Site, settings: Settings, machines: tuple[Machine, Machine]
) -> None:
    strict.wait_until_whole()
    with psycopg.connect(settings.database_url or "") as connection:
        connection.execute("UPDATE archive.product SET state = 'public'")
    places = {(f.observation.s_ra or 0.0) // 120: f.product.did for f in FRAMES}

    def ask(place: str, did: str) -> httpx.Response:
        return httpx.get(f"{strict.url}/{place}", params={"ID": did}, timeout=30)

    before = [ask("datalink/header", places[part]) for part in range(3)]
    assert [answer.status_code for answer in before] == [200] * 3
    missing = ask("soda/sync", places[0])
    assert missing.status_code == 404  # the frames of this sky have no files
    machines[1].kill()
    for _ in range(2):  # as the first that finds it out, and as one that knows
        after = [ask("datalink/header", places[part]) for part in range(3)]
        assert [answer.status_code for answer in after] == [200, 503, 200]
        assert (after[0].content, after[2].content) == (before[0].content, before[2].content)
        assert GONE in after[1].text
    assert ask("soda/sync", places[0]).text == missing.text
    away = ask("soda/sync", places[1])
    assert (away.status_code, GONE in away.text) == (503, True)
    nothing = ask("soda/sync", "ivo://x/c?there-is-none")
    assert nothing.status_code == 404
    links = ask("datalink/links", places[1])
    assert places[1] in links.text
    machines[1].start()
    strict.wait_until_whole()


def test_a_node_that_hangs_is_found_out_too(
    strict: Site, machines: tuple[Machine, Machine]
) -> None:
    strict.wait_until_whole()
    with machines[1].frozen():
        begun = time.monotonic()
        first = strict.tap()
        assert first.status_code == 503
        assert GONE in first.text
        assert time.monotonic() - begun < 15
        begun = time.monotonic()
        assert strict.tap().status_code == 503
        assert strict.tap("SELECT COUNT(*) AS n FROM ivoa.obscore WHERE s_ra > 240").is_success
        assert time.monotonic() - begun < 5
    strict.wait_until_whole()
    assert strict.count() == len(CENTRES)


def test_a_partial_answer_says_that_it_is_one(
    lenient: Site, machines: tuple[Machine, Machine]
) -> None:
    lenient.wait_until_whole()
    assert statuses(lenient.tap()) == [("OK", "")]
    machines[1].kill()
    for _ in range(2):  # as the first that finds it out, and as one that knows
        answer = lenient.tap()
        assert answer.status_code == 200
        table = votable(answer).get_first_table().to_table()
        assert int(table["n"][0]) == KEPT
        [ok, (status, reason)] = statuses(answer)
        assert (ok, status, reason.startswith(GONE)) == (("OK", ""), "OVERFLOW", True)

    found = lenient.tap(
        "SELECT obs_id, s_ra FROM ivoa.obscore", MAXREC="5000", FORMAT="json"
    ).json()
    assert len(found["data"]) == KEPT
    assert found["status"]["value"] == "OVERFLOW"
    assert found["status"]["message"].startswith(GONE)

    # CSV has no place to say it.
    csv = lenient.tap(FORMAT="csv")
    assert csv.status_code == 503
    assert "RESPONSEFORMAT=votable" in csv.text

    sia = httpx.get(f"{lenient.url}/sia2/query", params={"POS": "CIRCLE 120 2 30"}, timeout=30)
    assert sia.status_code == 200
    assert statuses(sia)[-1][0] == "OVERFLOW"
    assert GONE in sia.text
    table = votable(sia).get_first_table().to_table()
    assert len(table) > 0
    assert max(table["s_ra"]) < 120
    # A whole answer is not marked.
    assert statuses(lenient.tap("SELECT obs_id FROM ivoa.obscore WHERE s_ra < 90")) == [("OK", "")]

    machines[1].start()
    lenient.wait_until_whole()


def test_files_are_not_taken_out_by_a_search_that_missed_some(
    lenient: Site, south: Machine
) -> None:
    answer = httpx.post(
        f"{lenient.url}/bundles/sync",
        data={"QUERY": "SELECT obs_publisher_did FROM ivoa.obscore WHERE s_ra < 125"},
        timeout=60,
    )
    assert answer.status_code == 503
    assert "RA 120..240 deg is not available" in answer.text


def test_rows_under_way_when_a_node_dies_end_with_an_error(
    strict: Site, machines: tuple[Machine, Machine]
) -> None:
    strict.wait_until_whole()
    wide = (
        "SELECT a.*, b.obs_id AS other FROM ivoa.obscore AS a, ivoa.obscore AS b "
        "WHERE a.s_ra < 120 AND b.s_ra BETWEEN 120 AND 239"
    )
    data = {"LANG": "ADQL", "QUERY": wide, "MAXREC": "10000000"}
    with httpx.stream("POST", f"{strict.url}/tap/sync", data=data, timeout=60) as answer:
        assert answer.status_code == 200
        pieces = answer.iter_bytes(65536)
        got = next(pieces)
        machines[0].kill()
        machines[1].kill()
        got += b"".join(pieces)
    machines[0].start()
    machines[1].start()
    # Either it was all read before, or the answer says that it is not whole.
    assert b'value="ERROR"' in got
    assert b"is not available now" in got
    strict.wait_until_whole()
