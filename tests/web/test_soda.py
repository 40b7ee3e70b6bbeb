"""SODA of the served demonstration archive: what clients get, and what they are told."""

from __future__ import annotations

import io
import tarfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import astropy.units as u
import httpx
import numpy as np
import psycopg
import pytest
import pyvo
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS
from lxml import etree
from PIL import Image

from tests.support import validate
from tests.web.conftest import Archive

NS = {"v": "http://www.ivoa.net/xml/VOTable/v1.3"}
UWS = {"uws": "http://www.ivoa.net/xml/UWS/v1.0"}
CUBE = "ivo://vo-service.example/triccs?2021/11/09/TRCS00112231.fits"
SPECTRUM = "ivo://vo-service.example/triccs?2021/11/09/TRCS00112251.fits"
DARK = "ivo://vo-service.example/triccs?2021/11/09/TRCS00112261.fits"
RA, DEC = 325.678446, 43.586074


@pytest.fixture(scope="module")
def http(archive: Archive) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{archive.url}/soda", timeout=60) as client:
        yield client


def sync(http: httpx.Client, did: str = CUBE, **asked: Any) -> httpx.Response:
    return http.get("/sync", params={"ID": did, **asked})


def original(archive: Archive, name: str = "TRCS00112231.fits") -> Any:
    """The image of a file, pixels as stored."""
    path: Path = archive.settings.home / "demo" / "triccs" / "2021" / "11" / "09" / name
    hdus = fits.open(path, do_not_scale_image_data=True)
    return next(hdu for hdu in hdus if hdu.data is not None)


def image_in(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    assert len(response.content) == int(response.headers["Content-Length"])
    hdus = fits.open(io.BytesIO(response.content), do_not_scale_image_data=True)
    return next(hdu for hdu in hdus if hdu.data is not None)


def test_pyvo_follows_a_row_of_tap_to_the_cutout_that_astropy_makes(archive: Archive) -> None:
    found = pyvo.dal.TAPService(f"{archive.url}/tap").search(
        f"SELECT * FROM ivoa.obscore WHERE obs_publisher_did = '{CUBE}'"
    )
    [links] = list(found.iter_datalinks())
    service = links.get_first_proc()
    assert service.semantics == "#cutout"
    whole = original(archive)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(whole.header).celestial
        # 20 pixels around the middle of a pixel: 41 x 41 of them.
        centre = wcs.pixel_to_world(1000, 600)
        circle = (centre.ra, centre.dec, 20.2 * 0.35 * u.arcsec)
        content = service.process(circle=circle).read()
        theirs = Cutout2D(whole.data[1], centre, 41, wcs)
        ours = fits.open(io.BytesIO(content), do_not_scale_image_data=True)[1]
        np.testing.assert_array_equal(ours.data[1], theirs.data)
        place = WCS(ours.header).celestial.world_to_pixel(centre)
    np.testing.assert_allclose(place, theirs.wcs.world_to_pixel(centre), atol=1e-9)
    time_range = (59527.5 * u.d, (59527.5 + 5 / 86400) * u.d)
    first = fits.open(io.BytesIO(service.process(circle=circle, time=time_range).read()))
    assert first[1].shape == (1, 41, 41)


def test_the_descriptor_of_a_row_tells_what_the_dataset_covers(archive: Archive) -> None:
    response = httpx.get(f"{archive.url}/datalink/links", params={"ID": CUBE})
    validate(response.content)
    root = etree.fromstring(response.content)
    [descriptor] = root.findall("v:RESOURCE[@utype='adhoc:service']", NS)
    params = {str(p.get("name")): p for p in descriptor.iter(f"{{{NS['v']}}}PARAM")}
    assert params["standardID"].get("value") == "ivo://ivoa.net/std/SODA#sync-1.0"
    assert params["accessURL"].get("value") == f"{archive.url}/soda/sync"
    assert (params["ID"].get("value"), params["ID"].get("ref")) == (CUBE, None)

    def ends(name: str) -> list[str | None]:
        return [v.get("value") for v in params[name].iterfind("v:VALUES/*", NS)]

    kinds = {
        name: tuple(params[name].get(key) for key in ("ucd", "unit", "xtype", "arraysize"))
        for name in ("CIRCLE", "POLYGON", "BAND", "TIME")
    }
    assert kinds == {
        "CIRCLE": ("pos.outline;obs", "deg", "circle", "3"),
        "POLYGON": ("pos.outline;obs", "deg", "polygon", "*"),
        "BAND": ("em.wl;stat.interval", "m", "interval", "2"),
        "TIME": ("time.interval;obs.exposure", "d", "interval", "2"),
    }
    assert [float(str(end)) for end in ends("TIME")] == [
        59527.5,
        pytest.approx(59527.5 + 30 / 86400),
    ]
    assert [float(str(end)) for end in ends("BAND")] == [4e-7, 5.55e-7]
    (circle,) = ends("CIRCLE")
    # Half the diagonal of 2160 x 1280 pixels of 0.35 arcsec.
    assert list(map(float, str(circle).split())) == pytest.approx(
        [RA, DEC, np.hypot(2160, 1280) / 2 * 0.35 / 3600], rel=1e-4
    )
    (polygon,) = ends("POLYGON")
    assert len(str(polygon).split()) == 8
    assert "POL" not in params


def test_results_of_tap_have_a_descriptor_for_any_row(archive: Archive) -> None:
    found = pyvo.dal.TAPService(f"{archive.url}/tap").search(
        f"SELECT * FROM ivoa.obscore WHERE obs_publisher_did = '{CUBE}'"
    )
    service = found.get_adhocservice_by_ivoid("ivo://ivoa.net/std/SODA#sync-1.0")
    names = [param.name for group in service.groups for param in group.entries]
    assert {"ID", "POS", "CIRCLE", "POLYGON", "BAND", "TIME", "POL"} <= set(names)


def test_two_time_edges_cut_the_frame_between(archive: Archive, http: httpx.Client) -> None:
    start = 59527.5 + 10 / 86400  # 12:00:10: the edge of frames 0 and 1, of 10 s each
    made = image_in(sync(http, TIME=f"{start!r} {start + 9.9 / 86400!r}", PIXEL="[1:50,1:40]"))
    np.testing.assert_array_equal(made.data, original(archive).data[1:2, :40, :50])


def test_a_spectrum_is_cut_by_wavelength(archive: Archive, http: httpx.Client) -> None:
    # g: 400 to 555 nm in 2160 pixels; 410 nm lies in pixel 139 (from 0), 411 nm in 153.
    made = image_in(sync(http, SPECTRUM, BAND="410e-9 411e-9"))
    step = 155 / 2160
    low, high = int(10 / step), int(11 / step)
    np.testing.assert_array_equal(
        made.data, original(archive, "TRCS00112251.fits").data[:, :, low : high + 1]
    )


def test_get_post_and_ranges_give_the_same_bytes(http: httpx.Client) -> None:
    asked = {"ID": CUBE, "CIRCLE": f"{RA} {DEC} 0.002"}
    whole = http.get("/sync", params=asked)
    assert whole.headers["Content-Type"] == "application/fits"
    assert whole.headers["Content-Disposition"].endswith('"TRCS00112231-cutout.fits"')
    posted = http.post("/sync", data={"id": CUBE, "circle": asked["CIRCLE"], "unknown": "1"})
    assert posted.content == whole.content
    part = http.get("/sync", params=asked, headers={"Range": "bytes=100-5000"})
    assert part.status_code == 206
    assert part.content == whole.content[100:5001]
    same = http.get("/sync", params=asked, headers={"If-None-Match": whole.headers["ETag"]})
    assert same.status_code == 304
    head = http.head("/sync", params=asked)
    assert int(head.headers["Content-Length"]) == len(whole.content)


@pytest.mark.parametrize(
    "asked",
    [
        {"CIRCLE": "10 10 0.1"},
        {"POLYGON": "10 10 11 10 11 11"},
        {"POS": "RANGE 10 11 -5 5"},
        {"TIME": "50000 50001"},
        {"BAND": "1e-6 2e-6"},
        {"PIXEL": "[5000:5001,1:2]"},
        {"CIRCLE": f"{RA} {DEC} 0.01", "TIME": "-Inf 59527"},
        {"CIRCLE": "10 10 0.1", "RESPONSEFORMAT": "image/png"},
    ],
)
def test_what_selects_no_pixel_has_no_content(http: httpx.Client, asked: dict[str, str]) -> None:
    response = sync(http, **asked)
    assert (response.status_code, response.content) == (204, b"")
    assert "Content-Type" not in response.headers


LONG = " ".join(f"{n / 100:.2f} 1" for n in range(1001))


@pytest.mark.parametrize(
    ("asked", "status", "begins"),
    [
        ({"ID": []}, 400, "UsageError: ID is missing"),
        ({"ID": "ivo://no/body"}, 404, "UsageError: ID: nothing here has the identifier"),
        ({"ID": "a\0b"}, 400, "UsageError: ID holds a control character"),
        ({"CIRCLE": "1 2"}, 400, "UsageError: CIRCLE '1 2': expected three numbers"),
        ({"CIRCLE": "NaN 2 3"}, 400, "UsageError: CIRCLE 'NaN 2 3': expected numbers"),
        ({"CIRCLE": "inf 2 3"}, 400, "UsageError: CIRCLE"),
        ({"CIRCLE": "1_0 2 3"}, 400, "UsageError: CIRCLE"),
        ({"CIRCLE": "400 2 3"}, 400, "UsageError: CIRCLE '400 2 3': expected a longitude"),
        ({"CIRCLE": "1 91 3"}, 400, "UsageError: CIRCLE"),
        ({"CIRCLE": "1 2 -3"}, 400, "UsageError: CIRCLE '1 2 -3': expected a radius"),
        ({"POLYGON": "1 2 3 4"}, 400, "UsageError: POLYGON '1 2 3 4': expected at least three"),
        ({"POLYGON": "1 2 3 4 5"}, 400, "UsageError: POLYGON"),
        ({"POLYGON": "1 1 1 1 1 1"}, 400, "UsageError: POLYGON has no area"),
        ({"POLYGON": "0 0 120 0 240 0"}, 400, "UsageError: POLYGON is larger than half the sky"),
        ({"POLYGON": LONG}, 400, "UsageError: POLYGON '0.00 1 0.01 1"),
        ({"POS": "BOX 1 2 3 4"}, 400, "UsageError: POS='BOX 1 2 3 4': expected CIRCLE, RANGE"),
        ({"POS": "RANGE 5 4 1 2"}, 400, "UsageError: POS RANGE '5 4 1 2': expected the lower"),
        ({"BAND": "2e-7 1e-7"}, 400, "UsageError: BAND '2e-7 1e-7': expected the lower end"),
        ({"BAND": "5e-7"}, 400, "UsageError: BAND '5e-7': expected two numbers"),
        ({"BAND": "-5 -4"}, 400, "UsageError: BAND"),
        ({"TIME": "59527 nan"}, 400, "UsageError: TIME"),
        ({"TIME": "2021-11-09 2021-11-10"}, 400, "UsageError: TIME"),
        ({"POL": "Z"}, 400, "UsageError: POL='Z' is not known"),
        ({"POL": "I"}, 400, "UsageError: POL: the dataset does not tell"),
        ({"PIXEL": "1:2"}, 400, "UsageError: PIXEL"),
        ({"PIXEL": "[2:1,*]"}, 400, "UsageError: PIXEL '[2:1,*]': expected pixels counted from 1"),
        ({"PIXEL": "[0:1]"}, 400, "UsageError: PIXEL"),
        ({"PIXEL": "[*,*,*,*]"}, 400, "UsageError: PIXEL has 4 axes: HDU 1 has 3"),
        ({"PIXEL": "[9][1:2]"}, 400, "UsageError: PIXEL: HDU 9 is no image"),
        ({"RESPONSEFORMAT": "image/gif"}, 400, "UsageError: RESPONSEFORMAT='image/gif'"),
        ({"RESPONSEFORMAT": ["fits", "png"]}, 400, "MultiValuedParamNotSupported: RESPONSEFORMAT"),
        ({"RESPONSEFORMAT": "png", "STRETCH": "curved"}, 400, "UsageError: STRETCH='curved'"),
        ({"RESPONSEFORMAT": "png", "LIMITS": "5 4"}, 400, "UsageError: LIMITS '5 4'"),
        ({"RESPONSEFORMAT": "png", "SIZE": "0"}, 400, "UsageError: SIZE '0'"),
        ({"CIRCLE": ["1 2 3"] * 5000}, 400, "UsageError: the request is for 5000 cutouts"),
        ({"ID": DARK, "CIRCLE": "1 2 3"}, 400, "UsageError: the dataset has no position"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_a_text_that_begins_with_its_word(
    http: httpx.Client, asked: dict[str, Any], status: int, begins: str
) -> None:
    response = http.post("/sync", data={"ID": CUBE, **asked})
    assert (response.status_code, response.headers["Content-Type"]) == (
        status, "text/plain; charset=utf-8",
    )  # fmt: skip
    assert response.text.startswith(begins)
    assert len(response.text) < 500


def test_a_file_before_its_release_is_closed_as_for_data(
    archive: Archive, http: httpx.Client
) -> None:
    with psycopg.connect(archive.settings.database_url or "") as connection:
        [(did,), *_] = connection.execute(
            "SELECT did FROM archive.product WHERE state = 'arrived' ORDER BY 1"
        ).fetchall()
    response = sync(http, did, CIRCLE="351 61 1")
    path = did.partition("?")[2]
    assert response.status_code == httpx.get(f"{archive.url}/data/triccs/{path}").status_code
    assert response.text.startswith(("AuthenticationError: ", "AuthorizationError: "))
    assert "WCS" not in response.text
    row = httpx.get(f"{archive.url}/datalink/links", params={"ID": did}).text
    assert "#cutout" not in row


def test_other_methods_and_places_are_told_in_text_too(http: httpx.Client) -> None:
    assert http.put("/sync").status_code == 405
    assert http.get("/nothing").status_code == 404
    for response in (http.put("/sync"), http.get("/nothing")):
        assert response.text.startswith("UsageError: ")


def test_several_identifiers_and_circles_come_in_one_file(http: httpx.Client) -> None:
    other = CUBE.replace("231.fits", "232.fits")
    response = http.post(
        "/sync",
        data={"ID": [CUBE, other], "CIRCLE": [f"{RA} {DEC} 0.001", f"{RA} {DEC + 0.01} 0.001"]},
    )
    hdus = fits.open(io.BytesIO(response.content))
    assert [hdu.header.get("CUTOUT") for hdu in hdus] == [None, 1, 2, 3, 4]
    assert CUBE in str(hdus[0].header["HISTORY"]).replace("\n", "")


def test_pictures_are_those_of_the_pixels(archive: Archive, http: httpx.Client) -> None:
    asked = {"PIXEL": "[1001:1160,601:700,*]", "STRETCH": "linear", "LIMITS": "-32768 32767"}
    png = sync(http, **asked, RESPONSEFORMAT="image/png")
    assert png.headers["Content-Type"] == "image/png"
    shown = Image.open(io.BytesIO(png.content))
    assert (shown.size, shown.mode) == ((160, 100), "L")
    stored = original(archive).data[0, 600:700, 1000:1160].astype(float)
    # Stored values are 32768 less than physical ones (BZERO); black is -32768, white 32767.
    expected = np.clip((stored + 32768 + 32768) / 65535, 0, 1)[::-1] * 255
    np.testing.assert_allclose(np.asarray(shown), expected, atol=1)
    film = sync(http, **asked, RESPONSEFORMAT="webp", SIZE="40")
    moving = Image.open(io.BytesIO(film.content))
    assert (moving.size, moving.format) == ((40, 25), "WEBP")
    assert 1 <= getattr(moving, "n_frames", 1) <= 3
    two = http.post("/sync", data={"ID": CUBE, "POL": [], "RESPONSEFORMAT": "png",
                                   "CIRCLE": [f"{RA} {DEC} 0.01", f"{RA} {DEC} 0.02"]})  # fmt: skip
    assert two.text.startswith("UsageError: a picture shows one image, and 2 are selected")


def run(http: httpx.Client, **asked: Any) -> str:
    """The address of a job that has ended."""
    made = http.post("/async", data={"PHASE": "RUN", **asked})
    assert made.status_code == 303
    job = made.headers["Location"]
    deadline = time.monotonic() + 60
    while http.get(f"{job}/phase").text in ("PENDING", "QUEUED", "EXECUTING"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return str(job)


def test_a_job_has_a_result_for_each_combination(http: httpx.Client) -> None:
    circles = [f"{RA} {DEC} 0.001", "10 10 1", f"{RA} {DEC + 0.01} 0.001"]
    job = run(http, ID=CUBE, CIRCLE=circles)
    assert http.get(f"{job}/phase").text == "COMPLETED"
    results = http.get(f"{job}/results")
    validate(results.content)
    found = etree.fromstring(results.content).findall("uws:result", UWS)
    assert [(r.get("id"), r.get("mime-type")) for r in found] == [
        ("cutout-1", "application/fits"),
        ("cutout-2", "text/plain"),
        ("cutout-3", "application/fits"),
    ]
    assert http.get(f"{job}/results/cutout-3").content == sync(http, CIRCLE=circles[2]).content
    assert "no pixels" in http.get(f"{job}/results/cutout-2").text


def test_a_job_can_put_many_cutouts_into_one_archive(http: httpx.Client) -> None:
    circles = [f"{RA} {DEC + n / 1000} 0.0005" for n in range(-5, 6)] + ["10 10 1"]
    job = run(http, ID=CUBE, CIRCLE=circles, RESPONSEFORMAT="tar")
    content = http.get(f"{job}/results/result").content
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = archive.getmembers()
        assert len(members) == 11
        last = archive.extractfile(members[-1])
        assert last is not None
        assert last.read() == sync(http, CIRCLE=circles[10]).content


def test_a_job_that_is_wrong_fails_with_the_reason(http: httpx.Client) -> None:
    job = run(http, ID="ivo://no/body", CIRCLE="1 2 3")
    assert http.get(f"{job}/phase").text == "ERROR"
    assert "nothing here has the identifier" in http.get(f"{job}/error").text


def test_capabilities_and_availability(archive: Archive, http: httpx.Client) -> None:
    capabilities = http.get("/capabilities")
    validate(capabilities.content)
    root = etree.fromstring(capabilities.content)
    places = {c.get("standardID"): c.findtext("interface/accessURL") for c in root}
    assert places == {
        "ivo://ivoa.net/std/SODA#sync-1.0": f"{archive.url}/soda/sync",
        "ivo://ivoa.net/std/SODA#async-1.0": f"{archive.url}/soda/async",
        "ivo://ivoa.net/std/VOSI#capabilities": f"{archive.url}/soda/capabilities",
        "ivo://ivoa.net/std/VOSI#availability": f"{archive.url}/soda/availability",
    }
    validate(http.get("/availability").content)


def test_the_position_of_a_cutout_is_that_of_skycoord(archive: Archive, http: httpx.Client) -> None:
    centre = SkyCoord(RA, DEC, unit="deg")
    made = image_in(sync(http, CIRCLE=f"{RA} {DEC} 0.005"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(made.header).celestial
        height, width = made.data.shape[1:]
        y, x = np.mgrid[0:height, 0:width]
        away = wcs.pixel_to_world(x, y).separation(centre).deg
    # All pixels whose centres lie in the circle are there, and none farther than a diagonal.
    assert away[0].min() > 0.005 - 0.35 / 3600
    assert (away <= 0.005).sum() == pytest.approx(np.pi * (0.005 * 3600 / 0.35) ** 2, rel=0.02)
