"""What the simple protocols say of bad input: the fault that each names, never a defect."""
# ruff: noqa: E501 - a list of words reads best on one line

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.web.conftest import Archive
from tests.web.test_random_requests import INSIDE


@pytest.fixture(scope="module")
def http(archive: Archive) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=archive.url, timeout=60) as client:
        yield client


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("POS=CIRCLE 1 2", "POS CIRCLE '1 2': expected three numbers"),
        ("POS=CIRCLE NaN 2 1", "expected numbers, not 'NaN'"),
        ("POS=CIRCLE 1 95 1", "latitude of -90 to 90"),
        ("POS=CIRCLE -1 5 1", "longitude of 0 to 360"),
        ("POS=CIRCLE 1 2 -1", "radius of 0 to 180"),
        ("POS=CIRCLE 1 2 Inf", "expected numbers"),
        ("POS=BOX 1 2 3 4", "expected CIRCLE, RANGE or POLYGON"),
        ("POS=POLYGON 1 2 3 4", "at least three pairs"),
        ("POS=POLYGON 1 1 2 2 1 2 2 1", "POS POLYGON: edges of the polygon cross"),
        ("POS=POLYGON 0 0 120 0 240 0", "must fit into a hemisphere"),
        ("POS=POLYGON 5 5 5 5 5 5", "three different vertices"),
        ("POS=RANGE 350 10 0 1", "across 0h: one range up to 360, one from 0"),
        ("POS=RANGE 1 2 3", "four numbers"),
        ("BAND=7e-7 4e-7", "the lower end first"),
        ("BAND=1 2 3", "one number, or two"),
        ("BAND=Inf", "one number, or two"),
        ("BAND=+Inf +Inf", "-Inf first and +Inf last"),
        ("TIME=2021-11-09", "expected numbers"),
        ("FOV=1_0", "expected numbers"),
        ("POL=i", "expected one of I, Q"),
        ("DPTYPE=spectrum", "expected one of image, cube"),
        ("CALIB=7", "expected one of 0, 1, 2, 3, 4"),
        ("MAXREC=-1", "a whole number"),
        ("MAXREC=2&MAXREC=3", "MAXREC is given more than once"),
        ("RESPONSEFORMAT=doc", "RESPONSEFORMAT='doc' is not known"),
        ("MOC=4/99999999", "MOC: '4/99999999': expected cells of 0 to 3071"),
        ("TARGET=a%00b", "TARGET holds the character U+0000"),
        ("TARGET=%ff", "not UTF-8"),
        ("&".join(f"POS=CIRCLE {n / 10} 0 1" for n in range(1001)), "expected 1000"),
    ],
)
def test_sia_2_names_the_fault(http: httpx.Client, query: str, said: str) -> None:
    answer = http.get(f"/sia2/query?{query.replace('+', '%2B').replace(' ', '+')}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/x-votable+xml"
    root = etree.fromstring(answer.content)
    (status,) = root.iterfind(".//{*}INFO[@name='QUERY_STATUS']")
    assert status.get("value") == "ERROR"
    assert (status.text or "").startswith("UsageFault: ")
    assert said in (status.text or "")


def test_sia_2_tells_errors_as_text_where_text_was_asked_for(http: httpx.Client) -> None:
    answer = http.get("/sia2/query?BAND=x&RESPONSEFORMAT=csv")
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.startswith("UsageFault: BAND 'x'")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("DEC=2&SR=1", "RA is missing"),
        ("RA=1&DEC=2", "SR is missing"),
        ("RA=x&DEC=2&SR=1", "RA 'x'"),
        ("RA=1&DEC=91&SR=1", "DEC '91': expected a number of -90 to 90"),
        ("RA=361&DEC=1&SR=1", "RA '361'"),
        ("RA=1&DEC=1&SR=-1", "SR '-1'"),
        ("RA=nan&DEC=1&SR=1", "RA 'nan'"),
        ("RA=1 2&DEC=1&SR=1", "RA '1 2'"),
        ("RA=1&DEC=1&SR=1&VERB=4", "VERB '4'"),
        ("RA=1&RA=2&DEC=1&SR=1", "RA is given more than once"),
    ],
)
def test_a_cone_tells_an_error_in_one_info_with_status_200(
    http: httpx.Client, query: str, said: str
) -> None:
    answer = http.get(f"/scs/ivoa.obscore?{query}")
    assert answer.status_code == 200
    root = etree.fromstring(answer.content)
    (error,) = root.iterfind("{*}INFO[@name='Error']")
    assert said in (error.get("value") or "")
    assert root.find(".//{*}TABLE") is None


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sia/query", "POS is missing"),
        ("sia/query?POS=1,2", "SIZE is missing"),
        ("sia/query?POS=1&SIZE=1", "longitude and latitude"),
        ("sia/query?POS=1,2,3&SIZE=1", "longitude and latitude"),
        ("sia/query?POS=nan,2&SIZE=1", "expected numbers"),
        ("sia/query?POS=1,2&SIZE=1,2,3", "SIZE '1,2,3'"),
        ("sia/query?POS=1,2&SIZE=-1", "SIZE '-1'"),
        ("sia/query?POS=1,2&SIZE=1&INTERSECT=IN", "INTERSECT='IN'"),
        ("sia/query?POS=1,2&SIZE=1&VERB=7", "VERB '7'"),
        ("ssa/query", "REQUEST=queryData"),
        ("ssa/query?REQUEST=getData", "REQUEST=queryData"),
        ("ssa/query?REQUEST=queryData&VERSION=2", "VERSION='2'"),
        ("ssa/query?REQUEST=queryData&POS=1,2;GALACTIC", "no frame, or ICRS"),
        ("ssa/query?REQUEST=queryData&POS=nan,2", "POS 'nan'"),
        ("ssa/query?REQUEST=queryData&POS=1", "longitude and latitude"),
        ("ssa/query?REQUEST=queryData&SIZE=-1", "SIZE '-1'"),
        ("ssa/query?REQUEST=queryData&SIZE=NaN", "SIZE 'NaN'"),
        ("ssa/query?REQUEST=queryData&BAND=nan", "BAND"),
        ("ssa/query?REQUEST=queryData&BAND=7e-7/4e-7", "the lower end first"),
        ("ssa/query?REQUEST=queryData&BAND=1/2/3", "a number or a range"),
        ("ssa/query?REQUEST=queryData&BAND=4e-7;source", "redshifts"),
        ("ssa/query?REQUEST=queryData&TIME=2021-13-01", "a date as 2021-11-09"),
        ("ssa/query?REQUEST=queryData&TIME=2022/2020", "the earlier time first"),
        ("ssa/query?REQUEST=queryData&TOP=x", "a whole number"),
    ],
)
def test_sia_1_and_ssa_tell_errors_in_query_status_with_status_200(
    http: httpx.Client, query: str, said: str
) -> None:
    answer = http.get(f"/{query}")
    assert answer.status_code == 200
    root = etree.fromstring(answer.content)
    (status,) = root.iterfind(".//{*}INFO[@name='QUERY_STATUS']")
    assert status.get("value") == "ERROR"
    assert said in (status.text or "")


@pytest.mark.parametrize(
    "query",
    [
        "sia2/query?ID=ivo://no/body",
        "ssa/query?REQUEST=queryData&PUBDID=ivo://no/body",
        "sia/nothing/query?POS=149.38,69.65&SIZE=1",
        "ssa/nothing/query?REQUEST=queryData",
    ],
)
def test_what_nothing_has_is_no_error_but_a_table_without_rows(
    http: httpx.Client, query: str
) -> None:
    answer = http.get(f"/{query}&RESPONSEFORMAT=votable/td")
    assert answer.status_code == 200
    root = etree.fromstring(answer.content)
    (status,) = root.iterfind(".//{*}INFO[@name='QUERY_STATUS']")
    assert status.get("value") == "OK"
    assert root.findall(".//{*}TR") == []


def test_frames_without_a_position_are_at_no_place(http: httpx.Client) -> None:
    everywhere = (
        "sia2/query?POS=RANGE+-Inf+%2BInf+-Inf+%2BInf",
        "scs/ivoa.obscore?RA=0&DEC=0&SR=180",
        "sia/query?POS=0,0&SIZE=360",
        "ssa/query?REQUEST=queryData&POS=0,0&SIZE=360",
    )
    [(did,), *_] = http.post(
        "/tap/sync",
        data={
            "LANG": "ADQL", "RESPONSEFORMAT": "json",
            "QUERY": "SELECT obs_publisher_did FROM ivoa.obscore WHERE s_ra IS NULL",
        },
    ).json()["data"]  # fmt: skip
    assert "#this" in http.get(f"/datalink/links?{urlencode({'ID': did})}").text
    for query in everywhere:
        assert did not in http.get(f"/{query}&RESPONSEFORMAT=votable/td").text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/sia2/nothing", 404),
        ("GET", "/sia/a/b/c", 404),
        ("GET", "/scs/nosuch?RA=1&DEC=1&SR=1", 404),
        ("GET", "/scs/archive.obscore?RA=1&DEC=1&SR=1", 404),
        ("GET", "/sia/a%00b/query?POS=1,2&SIZE=1", 404),
        ("PUT", "/sia2/query", 405),
        ("DELETE", "/scs/ivoa.obscore", 405),
    ],
)
def test_what_is_not_here_is_told(http: httpx.Client, method: str, path: str, status: int) -> None:
    answer = http.request(method, path)
    assert answer.status_code == status
    etree.fromstring(answer.content)


WORDS = [
    "", "0", "1", "-1", "360", "90", "1e308", "1e400", "nan", "-Inf", "Inf", "x", "'", '"', "%", "I", "image", "4/1-9",
    "CIRCLE 10 10 1", "RANGE 0 360 -90 90", "RANGE 5 5 5 5", "POLYGON 1 1 2 2 1 2", "CIRCLE", "1 2", "2 1", "1,2", "1/2",
    "queryData", "METADATA", "csv", "votable/td", "ivo://vo-service.example/tomoe?x", "2021-11-09", "OVERLAPS", "\x00", "😀",
]  # fmt: skip
NAMES = [
    "POS", "MOC", "BAND", "TIME", "POL", "FOV", "SPATRES", "SPECRP", "EXPTIME", "TIMERES", "ID", "COLLECTION", "FACILITY",
    "INSTRUMENT", "DPTYPE", "CALIB", "TARGET", "FORMAT", "MAXREC", "RESPONSEFORMAT", "SIZE", "INTERSECT", "VERB", "RA", "DEC",
    "SR", "REQUEST", "VERSION", "TOP", "PUBDID", "TARGETNAME", "UPLOAD",
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(WORDS),
    st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join),
    st.text(max_size=12),
)


@settings(
    max_examples=250, deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(
    at=st.sampled_from(["/sia2/query", "/sia/query", "/sia/tomoe/query", "/scs/ivoa.obscore", "/ssa/query"]),
    first=st.sampled_from([
        [], [("POS", "1,2"), ("SIZE", "1")], [("RA", "1"), ("DEC", "2"), ("SR", "1")], [("REQUEST", "queryData")],
    ]),
    pairs=st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6),
    post=st.booleans(),
)  # fmt: skip
@example(
    at="/sia2/query", first=[], pairs=[("POS", "RANGE 0 359 -10 90"), ("ID", "a'b")], post=True
)
def test_random_parameters(
    archive: Archive,
    http: httpx.Client,
    at: str,
    first: list[tuple[str, str]],
    pairs: list[tuple[str, str]],
    post: bool,
) -> None:
    clean = [(name, value.encode("utf-8", "replace").decode()) for name, value in first + pairs]
    form = urlencode([*clean, ("MAXREC", "2")] if "MAXREC" not in dict(clean) else clean)
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = http.post(at, content=form, headers=kind) if post else http.get(f"{at}?{form}")
    assert answer.status_code in ({200, 400} if at == "/sia2/query" else {200})
    said = " ".join(value for _, value in clean).lower()
    words = (*INSIDE, str(archive.settings.home))
    if answer.status_code == 400:
        assert not [word for word in words if word in answer.text and word.lower() not in said]


def test_a_flood_of_parameters_is_refused_or_answered_in_time(http: httpx.Client) -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    for pairs, status in (
        ([("ID", f"ivo://x/y?{n}") for n in range(15_000)], 200),
        ([("POS", f"CIRCLE {n / 3} 10 0.1") for n in range(1000)], 200),
        ([("x", "1")] * 30_000, 400),
        ([("POS", "POLYGON" + " 1 2" * 999)] * 20, 400),
    ):
        answer = http.post("/sia2/query", content=urlencode(pairs), headers=kind)
        assert answer.status_code == status, answer.text[:500]
        assert answer.elapsed.total_seconds() < 20
