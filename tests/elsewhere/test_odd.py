"""A service with bad habits, and one that means harm: rows refused with reasons, nothing lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import psycopg
import pytest

from tests.elsewhere.odd import FIELDS, OddSite, row, send, votable
from vo_service.db.connect import Role, conninfo
from vo_service.errors import UsageError
from vo_service.services.crawl import Crawled, crawl
from vo_service.services.origins import CrawlRequest, register_origin
from vo_service.settings import Settings

_SHOWN = (
    "obs_publisher_did, s_region, dataproduct_type, t_min, s_xel1, calib_level, access_estsize, "
    "region IS NOT NULL"
)
_MANY = [row(f"m{n}", S_RA=str(n % 360), t_min=str(57_000 + n / 7), t_max="") for n in range(300)]


def stored(settings: Settings, columns: str, origin: str = "odd") -> list[tuple[object, ...]]:
    with psycopg.connect(conninfo(settings, Role.READER)) as connection:
        return connection.execute(
            f"SELECT {columns} FROM archive.elsewhere WHERE origin = %s "
            "ORDER BY obs_publisher_did".encode(),
            (origin,),
        ).fetchall()


def crawled(site: OddSite, ours: Settings, name: str = "odd") -> Crawled:
    register_origin(ours, CrawlRequest(target=site.url, name=name, protocol="tap"))
    return crawl(ours, name)


@pytest.fixture
def filled(ours: Settings) -> Iterator[OddSite]:
    """A site that was crawled once, with 300 rows."""
    with OddSite(list(_MANY)).served() as site:
        assert crawled(site, ours).products == 300
        yield site


ACCEPTED = {
    "plain": row("plain"),
    "stc": row("stc", s_region="Circle ICRS GEOCENTER 150.0 70 0.25"),
    "j2000": row("j2000", s_region="Polygon J2000 149 69 151 69 151 71 149 71"),
    "dali": row("dali", s_region="polygon 149 69 151 69 151 71 149 71"),
    "union": row("union", s_region="Union ICRS (Circle 150 70 0.1 Polygon 149 69 149.2 69 149 70)"),
    "several": row("several", s_region="POLYGON 149 69 150 69 150 70 POLYGON 150 70 151 70 151 71"),
    "galactic": row("galactic", S_RA="266.405", s_dec="-28.936", s_region="CIRCLE GALACTIC 0 0 1"),
    "no region": row("no region", s_region=""),
    "point": row("point", s_region="POSITION ICRS 150 70"),
    "nowhere": row("nowhere", S_RA="", s_dec="NaN"),
    "no time": row("no time", t_min="", t_max=""),
    "not a time": row("not a time", t_min="NaN", t_max="NaN"),
    "masked": row("masked", s_xel1="-999"),
    "word": row("word", dataproduct_type="IMAGE"),
    "no address": row("no address", access_url=""),
    "quoted": row("<b>'\"&", instrument_name="<script>"),
}  # fmt: skip

REFUSED = {
    "s_ra: expected 0 to less than 360": [row("r1", S_RA="361"), row("r2", S_RA="-1")],
    "s_dec: expected -90 to 90": [row("r3", s_dec="90.5")],
    "s_ra, s_dec: expected both or neither": [row("r4", s_dec="")],
    "s_ra: expected a number": [row("r5", S_RA="10:00:00")],
    "calib_level: expected 0 to 4": [row("r6", calib_level="7"), row("r7", calib_level="")],
    "obs_publisher_did: expected an identifier": [row(" ")],
    "access_url: expected http:// or https://": [
        row("r8", access_url="javascript:alert(1)"), row("r9", access_url="file:///etc/passwd"),
        row("r10", access_url='http://a"onclick="x'),
    ],
    "s_region: expected a footprint (STC-S or DALI)": [
        row("r11", s_region="Circle ICRS 150 70"), row("r12", s_region="Polygon ICRS 1 2 3"),
        row("r13", s_region="ALLSKY"), row("r14", s_region="Circle ICRS 150 70 170"),
        row("r15", s_region="Not (Circle ICRS 1 2 3)"), row("r16", s_region="Circle ICRS x y z"),
        row("r17", s_region="Polygon ICRS 149 69 151 71 151 69 149 71"),
    ],
    "s_region: expected it within 30 degrees of its position": [
        row("r18", s_region="Circle ICRS 10 10 1")
    ],
    "s_region without s_ra and s_dec: expected the middle of the footprint": [
        row("r19", S_RA="", s_dec="", s_region="Circle ICRS 10 10 1")
    ],
    "t_min: expected -678941 to 131072": [row("r20", t_min="2457000.5", t_max="2457001")],
    "t_min, t_max: expected the lower first": [row("r21", t_max="56999")],
    "access_estsize: expected 0 to more": [row("r22", access_estsize="-5")],
    "s_xel1: expected a whole number": [row("r23", s_xel1="1.5")],
    "dataproduct_type: expected a word such as image": [row("r24", dataproduct_type="<i>")],
    "access_url: expected at most 4000 characters": [
        row("r25", access_url=f"http://a/{'x' * 5000}")
    ],
}  # fmt: skip


def test_oddities_are_taken_and_what_cannot_be_right_is_refused_with_its_reason(
    ours: Settings,
) -> None:
    rows = [*ACCEPTED.values(), *(one for many in REFUSED.values() for one in many)]
    with OddSite(rows).served() as site:
        done = crawled(site, ours)
    assert done.problems == []
    assert {one.reason: one.count for one in done.refused} == {
        reason: len(many) for reason, many in REFUSED.items()
    }
    known = {did: rest for did, *rest in stored(ours, _SHOWN)}
    assert len(known) == done.products == len(ACCEPTED)
    assert known["stc"][0] == "CIRCLE ICRS 150 70 0.25"
    assert known["j2000"][0] == known["dali"][0] == "POLYGON ICRS 149 69 151 69 151 71 149 71"
    assert str(known["union"][0]).startswith("Union ICRS (Circle")
    assert {did for did, rest in known.items() if rest[6]} == {
        "stc", "j2000", "dali", "union", "several", "galactic"
    }  # fmt: skip
    assert known["word"][1] == "image"
    assert known["no time"][2] is known["not a time"][2] is known["masked"][3] is None
    assert known["plain"][4:6] == [2, 12]
    examples = {one.reason: one.example for one in done.refused}
    assert examples["s_ra: expected a number"] == "r5 (10:00:00)"


def test_a_circle_in_galactic_coordinates_is_where_the_galactic_centre_is(ours: Settings) -> None:
    with OddSite([ACCEPTED["galactic"]]).served() as site:
        crawled(site, ours)
    ((text,),) = stored(ours, "s_region")
    ra, dec, radius = (float(word) for word in str(text).split()[2:])
    # Sgr A* lies 0.07 degrees from the origin of galactic coordinates, 266.405 -28.936 (ICRS).
    assert (ra, dec, radius) == pytest.approx((266.405, -28.936, 1.0), abs=1e-3)


@pytest.mark.parametrize("marks", [True, False])
def test_a_service_that_sends_few_rows_at_a_time_is_read_in_small_parts(
    ours: Settings, marks: bool
) -> None:
    with OddSite(list(_MANY), limit=20, marks=marks).served() as site:
        done = crawled(site, ours)
    assert (done.problems, done.products) == ([], 300)


def test_more_rows_of_one_time_and_place_than_a_service_sends_are_a_problem_not_a_loss(
    ours: Settings,
) -> None:
    crowd = [row(f"c{n}") for n in range(30)]
    with OddSite([*crowd, row("alone", t_min="58000", t_max="58001")], limit=20).served() as site:
        done = crawled(site, ours)
    assert len(done.problems) == 1
    assert "30 rows, and the service does not send them all" in done.problems[0]
    assert stored(ours, "obs_publisher_did") == [("alone",)]


def test_an_identifier_that_two_rows_or_two_origins_have_is_kept_once_for_each_origin(
    ours: Settings,
) -> None:
    twins = [row("twin"), row("twin", S_RA="20"), row("twin", t_min="58000", t_max="58000")]
    with OddSite(twins).served() as site:
        done = crawled(site, ours)
        assert done.products == 1
        assert [one.count for one in done.refused] == [1]
        assert crawled(site, ours, name="other").products == 1
    assert stored(ours, "origin", "other") == [("other",)]


def bomb(request: BaseHTTPRequestHandler) -> None:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    send(
        request,
        f'<?xml version="1.0"?><!DOCTYPE v [<!ENTITY a0 "x">{entities}]><VOTABLE>&a9;</VOTABLE>',
    )


def endless(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    for _ in range(5000):
        request.wfile.write(b" " * 65_536)


def elsewhere(request: BaseHTTPRequestHandler) -> None:
    request.send_response(302)
    request.send_header("Location", "http://127.0.0.1:9/secret")
    request.end_headers()


def to_a_file(request: BaseHTTPRequestHandler) -> None:
    request.send_response(302)
    request.send_header("Location", "file:///etc/passwd")
    request.end_headers()


def failing(request: BaseHTTPRequestHandler) -> None:
    send(request, votable(FIELDS, [[""] * len(FIELDS)], "ERROR"))


def broken(request: BaseHTTPRequestHandler) -> None:
    send(request, votable(FIELDS, [["1"] * len(FIELDS)])[:-400])


def stranger(request: BaseHTTPRequestHandler) -> None:
    send(request, "<html><body>Please log in</body></html>", 403)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (bomb, "document type"),
        (endless, "does not send them all|more than"),
        (elsewhere, "expected a public one"),
        (to_a_file, "expected http:"),
        (failing, "the service failed while it sent rows"),
        (broken, "not well-formed"),
        (stranger, "answered 403: expected 200; it says: Please log in"),
    ],
)
def test_an_answer_that_means_harm_is_told_and_nothing_is_lost(
    ours: Settings, filled: OddSite, answer: object, said: str
) -> None:
    filled.rows.append(row("new"))
    filled.answers = answer  # type: ignore[assignment]  # one of the functions above
    careful = ours.model_copy(update={"crawl_bytes_limit": 1_000_000})
    done = crawl(careful, "odd")
    assert done.problems
    assert re.search(said, done.problems[0]), done.problems
    assert done.products == 300
    filled.answers = None
    done = crawl(ours, "odd")
    assert (done.problems, done.products) == ([], 301)


def test_what_is_asked_for_anew_is_all_that_stays_and_no_service_fills_the_disk(
    ours: Settings, filled: OddSite
) -> None:
    register_origin(ours, CrawlRequest(target="odd", collections=("other",)))
    filled.rows[:] = filled.rows[:20]
    assert crawl(ours, "odd").products == 20
    small = ours.model_copy(update={"crawl_products_limit": 19})
    assert crawl(small, "odd", full=True).problems == ["more than 19 rows (crawl_products_limit)"]


def test_a_service_that_says_it_has_nothing_any_more_is_not_believed(
    ours: Settings, filled: OddSite
) -> None:
    filled.rows.clear()
    done = crawl(ours, "odd")
    assert done.products == 300
    assert "'vo-service crawl --forget odd' removes them" in done.problems[0]


def test_a_service_without_obscore_is_told_so_at_once(ours: Settings) -> None:
    with OddSite([row("x")]).served() as site:
        register_origin(ours, CrawlRequest(target=site.url, name="odd", protocol="tap"))
        kept = FIELDS.pop("calib_level")
        try:
            done = crawl(ours, "odd")
        finally:
            FIELDS["calib_level"] = kept
    assert "has no column calib_level" in done.problems[0].replace("the table ", "")
    with OddSite([]).served() as site, pytest.raises(UsageError, match="it says: no such place"):
        register_origin(ours, CrawlRequest(target=site.url, name="gone"))
