"""The demonstration archive: its facts, its files, and stars where the header says."""

import hashlib
import math
import warnings
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import example, given
from hypothesis import strategies as st

from vo_service.demo import DemoArchive, demo_plans, make_demo
from vo_service.demo.files import fits_bytes, make_file
from vo_service.demo.paint import expose, stars_on
from vo_service.demo.plan import Plan, read_rows
from vo_service.demo.sky import stars_within
from vo_service.demo.triccs import recent_night
from vo_service.errors import TransientError

TODAY = date(2026, 11, 21)

#: MJD-OBS is not among the keywords of these archives; astropy says that it makes one.
pytestmark = pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def archive(directory: Path) -> DemoArchive:
    return make_demo(directory, small=True, today=TODAY)


@pytest.fixture(scope="module")
def headers(archive: DemoArchive, directory: Path) -> dict[str, fits.Header]:
    """Path below the archive: the header of the HDU with the pixels."""
    found = {}
    for file in sorted(directory.rglob("*.fits")):
        with fits.open(file) as hdus:
            found[str(file.relative_to(directory))] = hdus[-1].header
    return found


@pytest.fixture(scope="module")
def plans() -> list[Plan]:
    return demo_plans(date(2026, 10, 22))


def test_counts_are_those_of_the_three_collections(archive: DemoArchive, directory: Path) -> None:
    counts = {c.name: c.files for c in archive.collections}
    assert counts == {"tomoe": 18 + 84 + 6, "triccs": 13, "subaru": 6}
    for collection in archive.collections:
        files = list(collection.directory.rglob("*.fits"))
        assert len(files) == collection.files
        assert sum(file.stat().st_size for file in files) == collection.size
    assert archive.size < 15e6


def test_every_row_of_the_query_page_is_a_frame_at_its_position(
    headers: dict[str, fits.Header],
) -> None:
    left = [(path.rsplit("/", 1)[1], h) for path, h in headers.items() if h.get("EXP_ID") != 357754]
    for row in read_rows("tomoe_query_rows.csv"):
        centre = (float(row["ra_deg"]), float(row["dec_deg"]))
        match = [
            (name, h)
            for name, h in left
            if name == row["filename"]
            and WCS(h).celestial.all_pix2world(1079.5, 599.5, 0) == pytest.approx(centre, abs=1e-9)
        ]
        assert len(match) == 1, row
        header = match[0][1]
        assert header["DATE-OBS"] == row["date_obs_utc"].replace(" ", "T") + ":00.000"
        assert header["OBJECT"] == row["object"]
        assert header["OBSERVER"] == row["observer"]
        assert header["PROJECT"] == row["project"]
        assert (header["NAXIS1"], header["NAXIS2"]) == (2160, 1200)


def test_header_numbers_are_those_of_the_file_name(headers: dict[str, fits.Header]) -> None:
    header = headers["tomoe/2020/06/17/sTMQ1202006170035071314.fits"]
    assert (header["EXP_ID"], header["DET_ID"]) == (350713, 114)


def test_the_reduction_made_twice_stands_in_two_directories(
    headers: dict[str, fits.Header],
) -> None:
    name = "sTMQ1202004030029483914.fits"
    paths = [path for path in headers if path.endswith(name)]
    assert paths == [f"tomoe/2020/04/03/r2/{name}", f"tomoe/2020/04/03/{name}"]


def test_all_listed_files_of_the_exposure_are_there_and_three_more_stacks(
    headers: dict[str, fits.Header],
) -> None:
    names = {path.rsplit("/", 1)[1] for path in headers if path.startswith("tomoe/2020/08/14/")}
    listed = {row["filename"] for row in read_rows("tomoe_exposure_357754_files.csv")}
    assert listed < names
    assert sorted(names - listed) == [f"sTMQ32020081400357754{chip}.fits" for chip in (42, 43, 44)]


def chip_corners(header: fits.Header) -> np.ndarray:
    """Standard coordinates (degrees) of the outer corners about the tangent point, by hand."""
    x = np.array([0.5, header["NAXIS1"] + 0.5, header["NAXIS1"] + 0.5, 0.5]) - header["CRPIX1"]
    y = np.array([0.5, 0.5, header["NAXIS2"] + 0.5, header["NAXIS2"] + 0.5]) - header["CRPIX2"]
    return np.stack([header["CD1_1"] * x, header["CD2_2"] * y], axis=1)


def test_the_84_chips_lie_within_9_degrees_and_do_not_overlap(
    headers: dict[str, fits.Header],
) -> None:
    chips = [h for path, h in headers.items() if "/sTMQ" in path and h["EXP_ID"] == 357754]
    assert Counter(h["DET_ID"] // 100 for h in chips) == {1: 21, 2: 21, 3: 21, 4: 21}
    corners = np.array([chip_corners(h) for h in chips])
    assert np.hypot(*corners.reshape(-1, 2).T).max() < math.degrees(math.tan(math.radians(4.5)))
    low, high = corners.min(axis=1), corners.max(axis=1)
    area = np.prod(high - low, axis=1).sum()
    assert area == pytest.approx(84 * 2160 * 1200 * (1.189 / 3600) ** 2)
    overlap = (low[:, None] < high).all(axis=2) & (low < high[:, None]).all(axis=2)
    assert (overlap == np.eye(84, dtype=bool)).all()
    # one chip of each quadrant, east and north of the centre as its quadrant says
    signs = {h["DET_ID"]: np.sign(c.mean(axis=0)) for h, c in zip(chips, corners, strict=True)}
    assert [tuple(signs[100 * q + 11]) for q in (1, 2, 3, 4)] == [
        (1, 1),
        (-1, 1),
        (-1, -1),
        (1, -1),
    ]
    centres = {(h["CRVAL1"], h["CRVAL2"]) for h in chips}
    assert centres == {(60.037, 0.0)}


def test_a_moving_object_movie_lies_in_the_middle_of_its_chip(
    headers: dict[str, fits.Header],
) -> None:
    movies = [path for path in headers if "/nTMQ" in path]
    assert len(movies) == 6
    for path in movies:
        movie, chip = headers[path], headers[path.replace("/n", "/s")]
        assert (movie["NAXIS1"], movie["NAXIS2"], movie["NAXIS3"]) == (64, 64, 18)
        assert (movie["CTYPE3"], movie["CUNIT3"], movie["CDELT3"]) == ("TIME", "s", 0.5)
        sky = WCS(movie).all_pix2world(31.5, 31.5, 17.5, 0)
        assert sky[2] == pytest.approx(9.0)  # the last trailing edge: 18 frames of 0.5 s
        assert WCS(chip).all_world2pix(*sky[:2], 0) == pytest.approx((1079.5, 599.5), abs=1e-3)


def test_hsc_frames_lie_in_the_ranges_to_be_corrected(headers: dict[str, fits.Header]) -> None:
    rows = read_rows("hsc_header_corrections.csv")
    frames = [h for path, h in headers.items() if path.startswith("subaru/")]
    for header in frames:
        mine = [r for r in rows if r["start_frame"] <= header["FRAMEID"] <= r["end_frame"]]
        assert mine
        assert all(header[row["keyword"]] == float(row["current"]) for row in mine)
        assert header["DATE-OBS"] == "2018-12-20"
        # the exposure is the even number of six digits
        number = int(header["FRAMEID"][4:10])
        assert header["EXP-ID"] == f"HSCE{number - number % 2:06d}00"
    assert {h["EXP-ID"] for h in frames} == {"HSCE15297400", "HSCE15297600"}


def test_the_arms_of_triccs_share_their_exposure(headers: dict[str, fits.Header]) -> None:
    frames = [h for path, h in headers.items() if path.startswith("triccs/")]
    bands: dict[str, str] = {}
    for header in frames:
        assert header["EXP-ID"] == f"TRCE{int(header['FRAMEID'][4:]) // 10:08d}"
        bands[header["EXP-ID"]] = bands.get(header["EXP-ID"], "") + header["FILTER"]
        assert (header["NAXIS1"], header["NAXIS2"]) == (2160, 1280)
        assert header["EXPTIME"] == header["TFRAME"] * header["NAXIS3"]
    assert sorted(bands.values()) == ["g", "gri", "gri", "gri", "grz"]


def test_spectra_cover_exactly_their_band(headers: dict[str, fits.Header]) -> None:
    edges = {"g": (400, 555), "r": (555, 695), "i": (695, 840)}
    spectra = [h for h in headers.values() if h.get("CTYPE1") == "WAVE"]
    assert len(spectra) == 3
    for header in spectra:
        first = header["CRVAL1"] + (0.5 - header["CRPIX1"]) * header["CDELT1"]
        last = first + 2160 * header["CDELT1"]
        assert (first, last) == pytest.approx(edges[header["FILTER"]])
        assert header["RA"] == "21:42:42.83"
        assert header["DEC"] == "+43:35:09.9"


def test_a_dark_has_no_position_and_is_calibration(headers: dict[str, fits.Header]) -> None:
    (dark,) = (h for h in headers.values() if h.get("DATA_TYP") == "DARK")
    assert dark["PROP-ID"] == "CAL"
    assert not {"CTYPE1", "CRVAL1", "RA", "DEC"} & set(dark)


def test_one_night_is_always_proprietary(tmp_path: Path) -> None:
    night = recent_night(tmp_path, TODAY)
    assert night == date(2026, 10, 22)
    file = tmp_path / "triccs/2026/10/22/TRCS00300001.fits"
    file.parent.mkdir(parents=True)
    file.touch()
    assert recent_night(tmp_path, date(2027, 1, 1)) == night  # what is there is kept
    assert recent_night(tmp_path, date(2028, 6, 1)) == date(2028, 5, 2)  # until it is public


def test_checksums_of_every_hdu_hold(archive: DemoArchive, directory: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # astropy only warns of a wrong checksum
        for file in directory.rglob("*.fits"):
            with fits.open(file, checksum=True, disable_image_compression=True) as hdus:
                hdus.verify("exception")
                for hdu in hdus:
                    assert {"CHECKSUM", "DATASUM"} <= set(hdu.header)
                    assert hdu.verify_datasum() == hdu.verify_checksum() == 1


def test_md5sums_of_every_night_hold(archive: DemoArchive, directory: Path) -> None:
    listed = set()
    for sums in directory.rglob("md5sums"):
        for line in sums.read_text().splitlines():
            digest, name = line.split("  ")
            assert hashlib.md5((sums.parent / name).read_bytes()).hexdigest() == digest
            listed.add(sums.parent / name)
    assert listed == set(directory.rglob("*.fits"))


def test_the_same_seed_gives_the_same_bytes(
    archive: DemoArchive, directory: Path, tmp_path: Path
) -> None:
    make_demo(tmp_path, small=True, today=TODAY)
    for file in directory.rglob("*.fits"):
        assert (tmp_path / file.relative_to(directory)).read_bytes() == file.read_bytes()


def test_full_frames_are_the_same_bytes_too(plans: list[Plan]) -> None:
    for plan in (plans[0], plans[20]):
        assert fits_bytes(plan) == fits_bytes(plan)


def test_a_second_run_keeps_what_is_there_and_makes_what_is_not(
    archive: DemoArchive, directory: Path
) -> None:
    missing = directory / "subaru/2018/12/20/HSCA15297400.fits"
    content = missing.read_bytes()
    missing.unlink()
    before = {file: file.stat().st_mtime_ns for file in directory.rglob("*.fits")}
    seen: list[tuple[int, int, str]] = []
    again = make_demo(directory, small=True, today=TODAY, progress=lambda *args: seen.append(args))
    assert again == archive
    assert missing.read_bytes() == content
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert [done for done, _, _ in seen] == list(range(1, 128))
    assert {total for _, total, _ in seen} == {127}


def test_nothing_half_written_has_a_name_that_counts(
    plans: list[Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(TransientError, match=r"HSCA15297400\.fits: cannot be written: No space"):
        make_file(tmp_path, plans[-6], small=True)
    assert not list(tmp_path.rglob("*.fits"))


def fail(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "tomoe").touch()
    with pytest.raises(TransientError, match=r"tomoe.*cannot be written: Not a directory"):
        make_demo(tmp_path, small=True, today=TODAY)


def test_full_size_files_fit_their_budget(plans: list[Plan]) -> None:
    counts = {"tomoe/2020/06": 18, "tomoe/2020/08/14/s": 84, "tomoe/2020/08/14/n": 6, "subaru": 6}
    size = 0
    for start, count in counts.items():
        plan = next(plan for plan in plans if plan.path.startswith(start))
        size += count * len(fits_bytes(plan))
    # Of TriCCS: three plain cubes of 3 planes, ten others of at most that size compressed
    size += 3 * 2160 * 1280 * 3 * 2 + 10 * 2160 * 1280 * 3
    assert size < 400e6


@pytest.mark.parametrize("number", [0, 16, 30, 90, 108, 111, 121, 125])
def test_bright_stars_are_peaks_at_their_wcs_pixel(plans: list[Plan], number: int) -> None:
    plan = plans[number]
    rng = np.random.default_rng(1)
    counts = expose(plan.paint(plan, rng), plan.camera, rng).astype(float)
    image = counts.reshape(-1, *plan.shape[-2:])[0]
    stars, x, y = stars_on(plan)
    height, width = image.shape
    flux = 10 ** (0.4 * (plan.camera.zero_point - stars.magnitude - plan.colour * stars.colour))
    inside = (x > 6) & (x < width - 7) & (y > 6) & (y < height - 7)
    checked = 0
    for i in np.flatnonzero(inside & (flux > 2e4) & (flux < 5e5)):
        distance = np.hypot(x - x[i], y - y[i])
        if ((distance < 45) & (flux > flux[i] / 20)).sum() > 1:
            continue  # a neighbour shifts the peak
        left, low = round(x[i]) - 6, round(y[i]) - 6
        box = image[low : low + 13, left : left + 13]
        peak = np.unravel_index(box.argmax(), box.shape)
        assert abs(left + peak[1] - x[i]) < 1
        assert abs(low + peak[0] - y[i]) < 1
        checked += 1
    assert checked >= 3


def test_overlapping_frames_show_the_same_stars(plans: list[Plan]) -> None:
    one, other = plans[16], plans[17]  # the frame reduced twice, 7 arcsec in RA apart
    a, b = stars_on(one)[0], stars_on(other)[0]
    positions = {(ra, dec) for ra, dec in zip(a.ra, a.dec, strict=True)}
    shared = sum((ra, dec) in positions for ra, dec in zip(b.ra, b.dec, strict=True))
    assert shared > 0.9 * len(b)


@example(ra=0.0, dec=90.0, radius=1.0, inner=0.0)
@given(
    ra=st.floats(0, 359.999),
    dec=st.floats(-90, 90),
    radius=st.floats(0.05, 1.5),
    inner=st.floats(0, 1),
)
def test_a_smaller_circle_holds_the_same_stars(
    ra: float, dec: float, radius: float, inner: float
) -> None:
    """The catalogue does not depend on how it is asked: the brute-force cut agrees."""
    outer = stars_within(ra, dec, radius, 16.0)
    found = stars_within(ra, dec, radius * inner, 15.0)
    a, d, a0, d0 = np.radians(outer.ra), np.radians(outer.dec), *np.radians([ra, dec])
    hav = np.sin((d - d0) / 2) ** 2 + np.cos(d) * np.cos(d0) * np.sin((a - a0) / 2) ** 2
    distance = np.degrees(2 * np.arcsin(np.sqrt(hav)))
    expected = (distance <= radius * inner) & (outer.magnitude <= 15.0)
    edge = np.abs(distance - radius * inner) < 1e-9
    assert abs(len(found) - expected.sum()) <= edge.sum()


def test_star_counts_rise_by_the_law_of_the_catalogue() -> None:
    stars = stars_within(150.0, 2.2, 3.0)
    area = 2 * np.pi * (1 - np.cos(np.radians(3.0))) * (180 / np.pi) ** 2
    per_cell_area = 6000 / (41252.96125 / (12 * 64**2))
    assert len(stars) / area == pytest.approx(per_cell_area, rel=0.03)
    bright = (stars.magnitude < 19).sum() / len(stars)
    assert bright == pytest.approx(10 ** (0.3 * -2), rel=0.05)
