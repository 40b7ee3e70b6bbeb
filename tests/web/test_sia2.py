"""SIA 2.0 of the served demonstration archive: PyVO, brute force over its rows, documents."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import astropy.units as u
import httpx
import numpy as np
import pytest
import pyvo
from astropy.coordinates import SkyCoord
from astropy.io.votable import parse_single_table
from astropy.table import Table
from astropy.time import Time
from lxml import etree

from tests.support import validate
from tests.web.conftest import Archive
from vo_service.formats.output import FORMATS
from vo_service.services.search_examples import sia2_examples, soda_examples

CUBE = "ivo://vo-service.example/triccs?2021/11/09/TRCS00112241.fits"


@pytest.fixture(scope="module")
def service(archive: Archive) -> pyvo.dal.SIA2Service:
    return pyvo.dal.SIA2Service(f"{archive.url}/sia2")


@pytest.fixture(scope="module")
def http(archive: Archive) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{archive.url}/sia2", timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def images(archive: Archive) -> Table:
    """All images and cubes, by TAP, to be searched by hand."""
    service = pyvo.dal.TAPService(f"{archive.url}/tap")
    query = (
        "SELECT * FROM ivoa.obscore WHERE dataproduct_type = 'image' OR dataproduct_type = 'cube'"
    )
    return service.search(query).to_table()


def value(images: Table, name: str) -> Any:
    """A column with NaN where nothing is known, so that no comparison holds there."""
    return np.ma.filled(np.ma.masked_array(images[name], dtype=float), np.nan)


def between(name: str, low: float, high: float) -> Callable[[Table], Any]:
    return lambda images: (value(images, name) >= low) & (value(images, name) <= high)


def overlap(start: str, end: str, low: float, high: float) -> Callable[[Table], Any]:
    return lambda images: (value(images, start) <= high) & (value(images, end) >= low)


def same(name: str, *texts: str) -> Callable[[Table], Any]:
    return lambda images: np.isin(np.asarray(images[name], str), texts)


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ({"band": (4e-7 * u.m, 5e-7 * u.m)}, overlap("em_min", "em_max", 4e-7, 5e-7)),
        ({"band": (900 * u.nm, 900 * u.nm)}, overlap("em_min", "em_max", 9e-7, 9e-7)),
        ({"band": (1.2e-6 * u.m, 2e-6 * u.m)}, overlap("em_min", "em_max", 1.2e-6, 2e-6)),
        (
            {"time": (Time(59527.5, format="mjd"), Time(59528.5, format="mjd"))},
            overlap("t_min", "t_max", 59527.5, 59528.5),
        ),
        ({"field_of_view": (0.1 * u.deg, 0.5 * u.deg)}, between("s_fov", 0.1, 0.5)),
        ({"spatial_resolution": (0.1, 9.0)}, between("s_resolution", 0.1, 9)),
        ({"spectral_resolving_power": (1, 9000)}, between("em_res_power", 1, 9000)),
        ({"exptime": (10 * u.s, 60 * u.s)}, between("t_exptime", 10, 60)),
        ({"timeres": (0.1 * u.s, 5 * u.s)}, between("t_resolution", 0.1, 5)),
        ({"publisher_did": CUBE}, same("obs_publisher_did", CUBE)),
        ({"publisher_did": CUBE.upper()}, same("obs_publisher_did", CUBE)),
        ({"publisher_did": ["ivo://x/y", CUBE]}, same("obs_publisher_did", CUBE)),
        ({"facility": "Seimei"}, same("facility_name", "Seimei")),
        ({"collection": "tomoe"}, same("obs_collection", "tomoe")),
        ({"collection": ["tomoe", "subaru"]}, same("obs_collection", "tomoe", "subaru")),
        ({"instrument": "TriCCS"}, same("instrument_name", "TriCCS")),
        ({"data_type": "cube"}, same("dataproduct_type", "cube")),
        ({"calib_level": 2}, same("calib_level", "2")),
        ({"target_name": "V1405 Cas"}, same("target_name", "V1405 Cas")),
        ({"target_name": "v1405 cas"}, same("target_name", "v1405 cas")),
        ({"res_format": "image/fits"}, same("access_format", "image/fits")),
        (
            {"pol": "I"},
            lambda images: np.char.find(np.asarray(images["pol_states"], str), "/I/") >= 0,
        ),
        (
            {"collection": "triccs", "data_type": "cube", "band": (9e-7 * u.m, 9e-7 * u.m)},
            lambda images: (
                same("obs_collection", "triccs")(images)
                & overlap("em_min", "em_max", 9e-7, 9e-7)(images)
            ),
        ),
    ],
    ids=lambda part: next(iter(part)) if isinstance(part, dict) else "",
)
def test_a_search_finds_the_rows_that_a_look_at_all_of_them_finds(
    service: pyvo.dal.SIA2Service,
    images: Table,
    asked: dict[str, Any],
    fits: Callable[[Table], Any],
) -> None:
    found = service.search(**asked)["obs_publisher_did"]
    assert sorted(found) == sorted(images["obs_publisher_did"][fits(images)])


def corners(images: Table) -> list[SkyCoord]:
    return [
        SkyCoord(np.array(words[2:], float).reshape(-1, 2), unit="deg")
        for words in (region.split() for region in images["s_region"])
        if words[:1] == ["POLYGON"]
    ]


@pytest.mark.parametrize("radius", [0.004, 0.3, 2.0])
@pytest.mark.parametrize("shift", [0.0, 0.31])
def test_a_circle_finds_frames_near_enough_and_no_others(
    service: pyvo.dal.SIA2Service, images: Table, shift: float, radius: float
) -> None:
    centre = SkyCoord(149.38, 69.65 + shift, unit="deg")
    found = set(service.search(pos=(centre, radius * u.deg))["obs_publisher_did"])
    away = SkyCoord(images["s_ra"], images["s_dec"], unit="deg").separation(centre).deg
    dids = np.asarray(images["obs_publisher_did"], str)
    assert set(dids[away <= radius]) <= found  # the centre of the frame lies in the circle
    assert found <= set(dids[away <= radius + value(images, "s_fov") / 2 + 1e-6])
    edges = [edge.separation(centre).deg.min() for edge in corners(images)]
    polygons = np.char.startswith(np.asarray(images["s_region"], str), "POLYGON")
    assert set(dids[polygons][np.array(edges) <= radius]) <= found  # a corner lies in it


@pytest.mark.parametrize(
    "pos",
    [
        "RANGE 149 150 69 70",
        "POLYGON 149 69 150 69 150 70 149 70",
        "CIRCLE 149.5 69.5 0.3",
        "RANGE -Inf +Inf 69 70",
    ],
)
def test_each_shape_finds_the_field_of_the_tomoe_page(http: httpx.Client, pos: str) -> None:
    answer = http.get("/query", params={"POS": pos, "RESPONSEFORMAT": "json"})
    assert answer.status_code == 200
    table = http.get("/query", params={"POS": pos, "RESPONSEFORMAT": "csv", "COLLECTION": "tomoe"})
    assert len(table.text.splitlines()) - 1 == 18


def test_pos_is_or_within_and_and_between(http: httpx.Client) -> None:
    def count(*pairs: tuple[str, str]) -> int:
        form = [*pairs, ("RESPONSEFORMAT", "csv")]
        answer = http.post("/query", data={k: [v for n, v in form if n == k] for k, _ in form})
        return len(answer.text.splitlines()) - 1

    field, cube = ("POS", "CIRCLE 149.38 69.65 0.1"), ("POS", "CIRCLE 325.678 43.586 0.1")
    assert count(field) == 18
    assert count(field, cube) == 18 + count(cube) > 18
    assert count(field, cube, ("COLLECTION", "triccs")) == count(cube, ("COLLECTION", "triccs"))
    assert count(field, ("MOC", "0/0-11")) == 18
    assert count(field, ("MOC", "3/")) == 0


def test_datalink_and_cutouts_are_reached_from_the_answer(
    service: pyvo.dal.SIA2Service,
) -> None:
    rows = service.search(publisher_did=CUBE)
    links = next(rows.iter_datalinks())
    assert {"#this", "#cutout"} <= {link["semantics"] for link in links}
    assert rows[0].getdatalink().get_first_proc() is not None


def test_without_rows_the_answer_describes_the_service(http: httpx.Client) -> None:
    answer = http.get("/query", params={"MAXREC": 0, "RESPONSEFORMAT": "votable/td"})
    root = etree.fromstring(answer.content)
    validate(answer.content, "VOTable-v1.4.xsd")
    assert len(parse_single_table(io.BytesIO(answer.content)).fields) == 30
    (this,) = root.iterfind("{*}RESOURCE[@utype='adhoc:this']")
    names = {param.get("name") for param in this.iterfind("{*}GROUP[@name='inputParams']/{*}PARAM")}
    assert names == {
        *("POS", "MOC", "BAND", "TIME", "POL", "FOV", "SPATRES", "SPECRP", "EXPTIME", "TIMERES"),
        *("ID", "COLLECTION", "FACILITY", "INSTRUMENT", "DPTYPE", "CALIB", "TARGET", "FORMAT"),
        *("MAXREC", "RESPONSEFORMAT"),
    }
    assert len(root.findall("{*}RESOURCE[@utype='adhoc:service']")) == 2


@pytest.mark.parametrize("name", [known.aliases[0] for known in FORMATS])
def test_each_format_is_answered(http: httpx.Client, name: str) -> None:
    answer = http.get("/query", params={"MAXREC": 2, "RESPONSEFORMAT": name})
    assert answer.status_code == 200
    assert answer.content


def test_vosi_documents_are_valid(http: httpx.Client, service: pyvo.dal.SIA2Service) -> None:
    for name in ("capabilities", "availability"):
        document = http.get(f"/{name}").content
        validate(document)
        validate(document, catalog="catalog-next.xml")
    assert service.available
    assert "ivo://ivoa.net/std/SIA#query-2.0" in [c.standardid for c in service.capabilities]


def test_each_example_finds_something(archive: Archive, http: httpx.Client) -> None:
    page = http.get("/examples")
    assert page.headers["content-type"].startswith("application/xhtml+xml")
    settings = archive.settings
    for example in (*sia2_examples(settings), *soda_examples(settings)):
        answer = httpx.get(example.query, timeout=60)
        assert (answer.status_code, len(answer.content) > 100) == (200, True)
    for example in sia2_examples(settings):
        asked = dict(example.parameters) | {"RESPONSEFORMAT": "csv"}
        rows = http.get("/query", params=asked)
        assert len(rows.text.splitlines()) > 1, example.id
