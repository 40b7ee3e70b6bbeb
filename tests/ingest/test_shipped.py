"""The three shipped collections, on headers as their instruments write them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits

from vo_service.errors import HeaderError
from vo_service.ingest.frames import read_frame
from vo_service.model.collection import load_collection
from vo_service.model.observation import Frame
from vo_service.model.region import Circle, Polygon

_SHIPPED = Path(__file__).parents[2] / "vo_service" / "collections"

_SKY = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}

_TOMOE: dict[str, Any] = {
    "NAXIS1": 2160, "NAXIS2": 1200,
    "TELESCOP": "Kiso Schmidt", "OBSERVAT": "Kiso Observatory", "INSTRUME": "Tomo-e Gozen",
    "EXP_ID": 350713, "DET_ID": 114, "OBJECT": "J1010+6650_dith4", "OBSERVER": "Morokuma",
    "PROJECT": "Supernova Survey", "DATA_TYP": "OBJECT", "OBS_MOD": "IMAG",
    "DATE-OBS": "2020-06-17T13:41:00.000", "EXPTIME": 9.0, "TFRAME": 0.5, "NFRAME": 18,
    "FILTER": "none", "RADESYS": "ICRS", "CRVAL1": 149.435, "CRVAL2": 69.6466,
    "CRPIX1": 1080.5, "CRPIX2": 600.5, "CD1_1": -1.189 / 3600, "CD2_2": 1.189 / 3600,
} | _SKY  # fmt: skip

_TRICCS: dict[str, Any] = {
    "NAXIS1": 2160, "NAXIS2": 1280, "NAXIS3": 3,
    "TELESCOP": "Seimei", "OBSERVAT": "Okayama", "INSTRUME": "TriCCS",
    "FRAMEID": "TRCS00112233", "EXP-ID": "TRCE00011223", "FILTER": "i", "DATA_TYP": "OBJECT",
    "OBS_MOD": "IMAG", "PROP-ID": "21B-N-CN05", "OBSERVER": "A", "OBJECT": "SS Cyg",
    "DATE-OBS": "2021-11-09T12:00:00.000", "EXPTIME": 30.0, "TFRAME": 10.0,
    "CRVAL1": 325.678446, "CRVAL2": 43.586074, "CRPIX1": 1080.5, "CRPIX2": 640.5,
    "CDELT1": -0.35 / 3600, "CDELT2": 0.35 / 3600,
    "CTYPE3": "TIME", "CUNIT3": "s", "CDELT3": 10.0, "CRVAL3": 0.0, "CRPIX3": 0.5,
    "DATEREF": "2021-11-09T12:00:00.000", "TIMESYS": "UTC",
} | _SKY  # fmt: skip

_NO_SKY = dict.fromkeys(
    ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CDELT1", "CDELT2"), ...
)

_SPECTRUM: dict[str, Any] = {
    "OBS_MOD": "SPEC", "RA": "21:42:42.83", "DEC": "+43:35:09.9",
    "CTYPE1": "WAVE", "CUNIT1": "nm", "CRVAL1": 695.0, "CRPIX1": 0.5, "CDELT1": 0.05,
    "CTYPE2": "LINEAR", "CUNIT2": "arcsec", "CRVAL2": 0.0, "CRPIX2": 640.5, "CDELT2": 0.35,
}  # fmt: skip

_HSC: dict[str, Any] = {
    "NAXIS1": 2048, "NAXIS2": 4176,
    "FRAMEID": "HSCA15297400", "EXP-ID": "HSCE15297400", "TELESCOP": "Subaru",
    "OBSERVAT": "NAOJ", "INSTRUME": "Hyper Suprime-Cam", "DATA-TYP": "OBJECT",
    "OBS-MOD": "IMAG", "PROP-ID": "o18431", "OBSERVER": "B", "OBJECT": "COSMOS",
    "DATE-OBS": "2018-12-20", "UT-STR": "10:11:12.345", "UT-END": "10:13:42.345",
    "EXPTIME": 150.0, "FILTER01": "HSC-g", "DET-ID": 0, "RADESYS": "FK5", "EQUINOX": 2000.0,
    "CRVAL1": 150.119, "CRVAL2": 2.206, "CRPIX1": 1024.5, "CRPIX2": 2088.5,
    "CD1_1": -0.17 / 3600, "CD2_2": 0.17 / 3600, "T_SEEING": 0.0,
} | _SKY  # fmt: skip


def _frame(tmp_path: Path, collection: str, base: dict[str, Any], **changes: Any) -> Frame:
    """The frame of a header-only file; a value of ``...`` takes a keyword away."""
    cards = base | {key.replace("__", "-"): value for key, value in changes.items()}
    cards = {key: value for key, value in cards.items() if value is not ...}
    axes = sum(key.startswith("NAXIS") for key in cards)
    header = fits.Header([("SIMPLE", True), ("BITPIX", 16), ("NAXIS", axes), *cards.items()])
    file = tmp_path / f"{cards.get('FRAMEID', 'frame')}.hdr"
    file.write_text(header.tostring(sep="\n", endcard=True, padding=False))
    return read_frame(
        file,
        load_collection(_SHIPPED / f"{collection}.yaml"),
        authority="kiso.example",
        root=tmp_path,
        headers_only=True,
    )


def _refused(tmp_path: Path, collection: str, base: dict[str, Any], **changes: Any) -> HeaderError:
    with pytest.raises(HeaderError) as caught:
        _frame(tmp_path, collection, base, **changes)
    return caught.value


def test_a_tomoe_stack_is_mapped(tmp_path: Path) -> None:
    frame = _frame(tmp_path, "tomoe", _TOMOE)
    found, product = frame.observation, frame.product
    assert (found.obs_collection, found.obs_id) == ("tomoe", "TMQ00350713")
    assert (found.dataproduct_type, found.calib_level) == ("image", 2)
    assert (found.s_ra, found.s_dec) == pytest.approx((149.435, 69.6466), abs=1e-9)
    # Half of the diagonal of 2160 x 1200 pixels, flat to a part in 10^5.
    assert found.s_fov == pytest.approx(1.189 / 3600 * (2160**2 + 1200**2) ** 0.5, rel=2e-5)
    assert isinstance(found.region, Polygon)
    assert (found.s_xel1, found.s_xel2, found.t_xel) == (2160, 1200, 1)
    assert found.t_min == pytest.approx(59017 + (13 * 60 + 41) / 1440, abs=1e-9)
    assert found.t_max == pytest.approx(59017 + (13 * 60 + 41 + 0.15) / 1440, abs=1e-9)
    assert (found.em_min, found.em_max) == (350e-9, 700e-9)
    assert (found.pol_states, found.pol_xel) == (None, 0)
    assert product.did == "ivo://kiso.example/tomoe?frame.hdr"
    assert (product.night, product.release_date) == (date(2020, 6, 17), date(2023, 6, 17))
    assert (product.proposal_id, product.observer) == ("Supernova Survey", "Morokuma")
    assert product.source is None
    assert product.size == 2 * 2880 + -(-2160 * 1200 * 2 // 2880) * 2880 - 2880


def test_a_tomoe_cube_of_a_moving_object_is_a_cube(tmp_path: Path) -> None:
    frame = _frame(
        tmp_path, "tomoe", _TOMOE,
        NAXIS3=18, CTYPE3="TIME", CUNIT3="s", CDELT3=0.5,
    )  # fmt: skip
    found = frame.observation
    assert found.dataproduct_type == "cube"
    assert (found.t_xel, found.t_resolution, found.t_exptime) == (18, 0.5, 9.0)
    assert found.t_min == pytest.approx(59017 + (13 * 60 + 41) / 1440, abs=1e-9)


def test_a_triccs_cube_of_images_is_mapped(tmp_path: Path) -> None:
    frame = _frame(tmp_path, "triccs", _TRICCS)
    found = frame.observation
    assert (found.dataproduct_type, found.calib_level) == ("cube", 1)
    assert found.obs_id == "TRCE00011223"
    assert (found.t_min, found.t_max) == pytest.approx((59527.5, 59527.5 + 30 / 86400), abs=1e-9)
    assert (found.t_xel, found.t_resolution) == (3, 10.0)
    assert (found.em_min, found.em_max) == (695e-9, 840e-9)
    assert (found.s_xel1, found.s_xel2) == (2160, 1280)
    assert (frame.product.night, frame.product.release_date) == (
        date(2021, 11, 9),
        date(2023, 5, 9),
    )


def test_a_triccs_spectrum_has_a_wavelength_axis_and_a_slit(tmp_path: Path) -> None:
    found = _frame(tmp_path, "triccs", _TRICCS | _NO_SKY, **_SPECTRUM).observation
    assert found.dataproduct_type == "spectrum"
    assert (found.em_min, found.em_max) == pytest.approx((695e-9, 803e-9), abs=1e-15)
    assert found.em_xel == 2160
    ra, dec = 15 * (21 + 42 / 60 + 42.83 / 3600), 43 + 35 / 60 + 9.9 / 3600
    slit = 1280 * 0.35 / 3600
    assert isinstance(found.region, Circle)
    circle = (found.region.ra, found.region.dec, found.region.radius)
    assert circle == pytest.approx((ra, dec, slit / 2), abs=1e-9)
    assert found.s_fov == pytest.approx(slit)
    assert (found.s_xel1, found.s_xel2) == (1, 1280)
    assert found.t_xel == 3


def test_a_triccs_dark_has_no_position_and_is_public_at_once(tmp_path: Path) -> None:
    no_axes = _NO_SKY | dict.fromkeys(("CTYPE3", "CUNIT3", "CDELT3", "CRVAL3", "CRPIX3"), ...)
    changes = {"DATA_TYP": "DARK", "PROP__ID": "CAL", "OBJECT": "DARK"}
    frame = _frame(tmp_path, "triccs", _TRICCS | no_axes, **changes)
    found = frame.observation
    assert (found.s_ra, found.s_dec, found.s_fov, found.region) == (None, None, None, None)
    assert (found.em_min, found.em_max, found.t_xel) == (None, None, 3)
    assert found.t_max == pytest.approx(59527.5 + 30 / 86400, abs=1e-9)
    assert frame.product.release_date == date(2021, 11, 9)


def test_a_dark_with_a_left_over_wcs_has_no_position_either(tmp_path: Path) -> None:
    found = _frame(tmp_path, "triccs", _TRICCS, DATA_TYP="DARK").observation
    assert (found.s_ra, found.region) == (None, None)


def test_an_hsc_frame_is_mapped(tmp_path: Path) -> None:
    frame = _frame(tmp_path, "subaru", _HSC)
    found, product = frame.observation, frame.product
    assert (found.facility_name, found.instrument_name) == ("Subaru", "Hyper Suprime-Cam")
    assert found.obs_id == "HSCE15297400"
    assert found.t_min == pytest.approx(58472 + (10 * 3600 + 11 * 60 + 12.345) / 86400, abs=1e-9)
    assert found.t_max == pytest.approx(58472 + (10 * 3600 + 13 * 60 + 42.345) / 86400, abs=1e-9)
    assert (found.em_min, found.em_max) == (405e-9, 545e-9)
    # FK5 and ICRS differ by some 20 mas.
    assert (found.s_ra, found.s_dec) == pytest.approx((150.119, 2.206), abs=1e-5)
    # Shortly after midnight in Hawaii: the night began the day before.
    assert (product.night, product.release_date) == (date(2018, 12, 19), date(2020, 6, 19))
    assert (product.data_typ, product.obs_mod, product.proposal_id) == ("OBJECT", "IMAG", "o18431")


@pytest.mark.parametrize(
    ("frameid", "obs_id"),
    [
        ("HSCA15297457", "HSCE15297400"),
        ("HSCA15297557", "HSCE15297400"),  # odd: second half of the exposure before
        ("HSCA15297600", "HSCE15297600"),
        ("SUPA00012347", "SUPE00012340"),
        ("MCSA00012345", "MCSE00012345"),
        ("MCSA00012346", "MCSE00012345"),
        ("FCSA00012346", "X"),
    ],
)
def test_frames_of_one_exposure_share_an_obs_id(tmp_path: Path, frameid: str, obs_id: str) -> None:
    changes = {"FRAMEID": frameid, "EXP__ID": "X"}
    assert _frame(tmp_path, "subaru", _HSC, **changes).observation.obs_id == obs_id


def test_an_exposure_over_midnight_ends_on_the_next_day(tmp_path: Path) -> None:
    changes = {"UT__STR": "23:59:00", "UT__END": "00:01:30"}
    found = _frame(tmp_path, "subaru", _HSC, **changes).observation
    assert found.t_max == pytest.approx(58473 + 90 / 86400, abs=1e-9)


def test_old_subaru_dates_and_mjd_are_understood(tmp_path: Path) -> None:
    old = {"DATE__OBS": "31/12/98", "UT__STR": ..., "UT": "12:00:00", "UT__END": ...}
    found = _frame(tmp_path, "subaru", _HSC, **old).observation
    assert (found.t_min, found.t_max) == pytest.approx((51178.5, 51178.5 + 150 / 86400), abs=1e-9)
    times = {"MJD__STR": 58472.1, "MJD__END": 58472.2}
    found = _frame(tmp_path, "subaru", _HSC, **times).observation
    assert (found.t_min, found.t_max) == (58472.1, 58472.2)


@pytest.mark.parametrize(
    ("changes", "keyword", "reason"),
    [
        ({"DATA__TYP": "SCIENCE"}, "DATA-TYP", "expected one of ACQUISITION, BIAS"),
        ({"OBS__MOD": "PHOT"}, "OBS-MOD", "expected the form"),
        ({"FRAMEID": "HSCE15297400"}, "FRAMEID", "expected the form"),
        ({"FRAMEID": "SUPB00012340"}, "FRAMEID", "expected the form"),
        ({"FRAMEID": "XYZA00012340"}, "FRAMEID", "expected the form"),
        ({"FRAMEID": "HSCA1529740"}, "FRAMEID", "expected the form"),
        ({"FRAMEID": "HSCA75297400"}, None, "a simulated frame"),
        ({"FRAMEID": "HSCA95297400"}, None, "an engineering frame"),
        ({"FRAMEID": ...}, "FRAMEID", "FRAMEID is missing"),
        ({"DATE__OBS": ...}, "DATE-OBS", "DATE-OBS is missing"),
        ({"DATE__OBS": "2018-13-20"}, "DATE-OBS", "no day of the calendar"),
        ({"EXPTIME": "long"}, "EXPTIME", "t_exptime: expected a number, found 'long'"),
        ({"EXPTIME": -1.0}, "EXPTIME", "t_exptime: expected 0 or more seconds"),
        ({"CTYPE1": ..., "CTYPE2": ...}, "CTYPE1", "no celestial WCS|no position"),
        ({"NAXIS1": "wide"}, "NAXIS1", "length of an axis"),
    ],
)
def test_a_subaru_frame_against_the_rules_is_refused_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], keyword: str | None, reason: str
) -> None:
    error = _refused(tmp_path, "subaru", _HSC, **changes)
    assert error.keyword == keyword or (keyword == "CTYPE1" and error.keyword is not None)
    assert any(part in error.reason for part in reason.split("|"))


def test_subaru_modes_have_their_kind_of_product(tmp_path: Path) -> None:
    for mode, kind in (("IMAG_AO", "image"), ("IPOL", "image"), ("SPOL_X", "spectrum")):
        found = _frame(tmp_path, "subaru", _HSC, **{"OBS-MOD": mode}).observation
        assert found.dataproduct_type == kind


def test_a_subaru_bias_needs_no_position(tmp_path: Path) -> None:
    found = _frame(tmp_path, "subaru", _HSC, **{"DATA-TYP": "BIAS"}).observation
    assert (found.s_ra, found.region, found.s_xel1) == (None, None, 2048)


@pytest.mark.parametrize(
    ("changes", "keyword", "reason"),
    [
        ({"EXP_ID": ...}, "EXP_ID", "EXP_ID is missing"),
        ({"INSTRUME": "KWFC"}, "INSTRUME", "expected one of Tomo-e Gozen, found 'KWFC'"),
        ({"EXP_ID": "x"}, "EXP_ID", "obs_id: expected a whole number, found 'x'"),
        ({"CTYPE1": ..., "CTYPE2": ...}, "CTYPE1", "the image has no celestial WCS"),
        ({"DATE__OBS": "cloudy"}, "DATE-OBS", "expected a date"),
    ],
)
def test_a_tomoe_frame_that_cannot_be_trusted_is_refused(
    tmp_path: Path, changes: dict[str, Any], keyword: str, reason: str
) -> None:
    error = _refused(tmp_path, "tomoe", _TOMOE, **changes)
    assert error.keyword == keyword
    assert reason in error.reason
