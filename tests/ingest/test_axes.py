"""Spectral, time and polarization axes against worked numbers and astropy's units."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from astropy import units
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from vo_service.errors import HeaderError
from vo_service.ingest.axes import polarizations, spectral_interval, time_interval
from vo_service.ingest.cards import parse_cards
from vo_service.ingest.images import Image, images_of
from vo_service.model.dates import mjd
from vo_service.model.observation import HDUHeader


def _image(**cards: Any) -> Image:
    header = fits.Header([(key.replace("__", "-"), value) for key, value in cards.items()])
    text = header.tostring().encode("ascii")
    parsed = parse_cards(text[i : i + 80] for i in range(0, len(text), 80))
    (image,) = images_of((HDUHeader(index=0, name="", kind="PRIMARY", cards=parsed),))
    return image


def _spectrum(ctype: str, crval: float, cdelt: float, unit: str, **more: Any) -> Image:
    return _image(
        NAXIS=1, NAXIS1=100, CTYPE1=ctype, CRVAL1=crval, CDELT1=cdelt, CRPIX1=1.0, CUNIT1=unit,
        **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("image", "low", "high"),
    [
        # 0.5 .. 100.5 with the first pixel at the reference: -0.5 to 99.5 steps.
        (_spectrum("WAVE", 400.0, 1.0, "nm"), 399.5e-9, 499.5e-9),
        (_spectrum("WAVE", 5000.0, -10.0, "Angstrom"), 400.5e-9, 500.5e-9),
        (_spectrum("FREQ", 100e9, 1e9, "Hz"), 299792458.0 / 199.5e9, 299792458.0 / 99.5e9),
        (_spectrum("FREQ", 100.0, 1.0, "GHz"), 299792458.0 / 199.5e9, 299792458.0 / 99.5e9),
        (_spectrum("WAVN", 1000.0, 10.0, "1/cm"), 1e-2 / 1995.0, 1e-2 / 995.0),
        (_spectrum("ENER", 1.0, 0.01, "keV"), 1.23984198e-9 / 1.995, 1.23984198e-9 / 0.995),
        (_spectrum("VOPT", 0.0, 1000.0, "m/s", RESTWAV=0.21), 0.21 * (1 - 500 / 299792458),
         0.21 * (1 + 99500 / 299792458)),
        (_spectrum("VRAD", 0.0, 1.0, "km/s", RESTFRQ=1.42e9), 0.0, 0.0),
        (_spectrum("VELO", 0.0, 1.0, "km/s", RESTFRQ=1.42e9), 0.0, 0.0),
        (_spectrum("ZOPT", 1.0, 0.001, "", RESTWAV=121.6e-9), 121.6e-9 * 1.9995, 121.6e-9 * 2.0995),
    ],
)  # fmt: skip
def test_a_spectral_axis_becomes_vacuum_wavelength(image: Image, low: float, high: float) -> None:
    found = spectral_interval(image)
    assert found is not None
    assert found.pixels == 100
    if low == 0.0:  # velocities: let astropy's equivalencies do the sum
        convention = {
            "VRAD": units.doppler_radio,
            "VELO": units.doppler_relativistic,
        }[str(image.values["CTYPE1"])](1.42e9 * units.Hz)
        ends = (-0.5 * units.km / units.s, 99.5 * units.km / units.s)
        low, high = (end.to_value("m", convention) for end in ends)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-7)


def test_air_wavelengths_become_vacuum_wavelengths() -> None:
    # The sodium D2 line: 588.9950 nm in air, 589.1583 nm in vacuum (NIST).
    found = spectral_interval(_spectrum("AWAV", 588.9950, 1e-9, "nm"))
    assert found is not None
    assert found.low == pytest.approx(589.1583e-9, abs=2e-13)


def test_a_logarithmic_axis_is_followed_by_wcslib() -> None:
    found = spectral_interval(_spectrum("WAVE-LOG", 400e-9, 1e-9, "m"))
    assert found is not None
    assert found.high is not None
    # lambda = lambda_r exp((lambda' - lambda_r) / lambda_r): paper III, equation 5.
    assert found.high == pytest.approx(400e-9 * 2.718281828459045 ** (99.5 / 400), rel=1e-9)


def test_velocities_without_rest_frequency_have_a_length_only() -> None:
    found = spectral_interval(_spectrum("VRAD", 0.0, 1.0, "km/s"))
    assert found is not None
    assert (found.low, found.high, found.pixels) == (None, None, 100)


def test_wavelengths_in_a_table_have_a_length_only() -> None:
    image = _spectrum("WAVE-TAB", 400.0, 1.0, "nm", PS1_0="TABLE")
    assert spectral_interval(image) is None


@pytest.mark.parametrize(
    "image",
    [
        _spectrum("WAVE", 0.0, 1.0, "nm"),
        _spectrum("FREQ", 0.0, 1.0, "Hz"),
        _spectrum("VELO", 0.0, 1e8, "m/s", RESTFRQ=1e9),
        _spectrum("WAVE", 400.0, 1.0, "kg"),
    ],
)
def test_a_spectral_axis_without_wavelengths_is_refused(image: Image) -> None:
    with pytest.raises(HeaderError) as caught:
        spectral_interval(image)
    assert caught.value.keyword == "CTYPE1"


_ZERO = mjd("2021-11-09T12:00:00")


def _times(**more: Any) -> Image:
    cards = {"NAXIS": 1, "NAXIS1": 3, "CTYPE1": "TIME", "CRPIX1": 0.5, "CDELT1": 10.0}
    return _image(**(cards | {"CUNIT1": "s", "CRVAL1": 0.0} | more))


@pytest.mark.parametrize(
    ("image", "low", "high"),
    [
        (_times(DATEREF="2021-11-09T12:00:00"), _ZERO, _ZERO + 30 / 86400),
        (_times(MJDREFI=59527, MJDREFF=0.5), _ZERO, _ZERO + 30 / 86400),
        (_times(MJDREF=59527.5, CUNIT1="min"), _ZERO, _ZERO + 30 / 1440),
        (_times(JDREF=2459528.0, CUNIT1="d", CDELT1=-1.0), _ZERO - 3, _ZERO),
        (_times(MJDREF=59527.5, TIMESYS="TAI"), _ZERO - 37 / 86400, _ZERO - 7 / 86400),
        (_times(MJDREF=59527.5, CTYPE1="TT"), _ZERO - 69.184 / 86400, _ZERO - 39.184 / 86400),
        (_times(), None, None),
    ],
)
def test_a_time_axis_becomes_mjd_in_utc(image: Image, low: float | None, high: float) -> None:
    found = time_interval(image)
    assert found is not None
    assert found.pixels == 3
    if low is None:
        assert (found.low, found.high) == (None, None)
    else:
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize(
    ("more", "keyword"),
    [
        ({"MJDREF": 59527.5, "CUNIT1": "m"}, "CUNIT1"),
        ({"MJDREF": "x"}, "MJDREF"),
        ({"DATEREF": "yesterday"}, "DATEREF"),
        ({"MJDREF": 59527.5, "TIMESYS": "STARDATE"}, "TIMESYS"),
    ],
)
def test_a_time_axis_that_cannot_be_understood_is_refused(
    more: dict[str, Any], keyword: str
) -> None:
    with pytest.raises(HeaderError) as caught:
        time_interval(_times(**more))
    assert caught.value.keyword == keyword


def test_an_axis_left_out_of_the_cd_matrix_keeps_its_step() -> None:
    image = _image(
        NAXIS=3, NAXIS1=100, NAXIS2=100, NAXIS3=18,
        CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CTYPE3="TIME", CUNIT3="s",
        CRVAL1=10.0, CRVAL2=20.0, CD1_1=-1e-3, CD2_2=1e-3, CDELT3=0.5, CRPIX3=0.5, MJDREF=59000.0,
    )  # fmt: skip
    found = time_interval(image)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((59000.0, 59000.0 + 9.0 / 86400.0), abs=1e-9)


def _stokes(crval: float, cdelt: float, pixels: int) -> Image:
    return _image(
        NAXIS=1, NAXIS1=pixels, CTYPE1="STOKES", CRVAL1=crval, CDELT1=cdelt, CRPIX1=1.0
    )  # fmt: skip


@pytest.mark.parametrize(
    ("image", "states"),
    [
        (_stokes(1, 1, 4), ("I", "Q", "U", "V")),
        (_stokes(1, 1, 1), ("I",)),
        (_stokes(4, -1, 2), ("U", "V")),
        (_stokes(-1, -1, 4), ("RR", "LL", "RL", "LR")),
        (_stokes(-5, -1, 4), ("XX", "YY", "XY", "YX")),
        (_stokes(-6, -2, 2), ("YY", "YX")),
        (_stokes(0, 1, 2), None),
        (_stokes(100, 1, 4), None),
        (_stokes(1, 1, 10_000), None),
    ],
)
def test_stokes_numbers_become_states_in_the_order_of_obscore(
    image: Image, states: tuple[str, ...] | None
) -> None:
    assert polarizations(image) == states


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(["WAVE", "FREQ", "VELO", "TIME", "STOKES", "AWAV-LOG", "FREQ-F2W", ""]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "s", "Hz", "m", "km/s", "furlong", "d"]),
)
def test_any_axis_gives_bounds_or_a_header_error(
    ctype: str, crval: float, cdelt: float, unit: str
) -> None:
    image = _spectrum(ctype, crval, cdelt, unit, MJDREF=51544.0, RESTFRQ=1e9)
    for read in (spectral_interval, time_interval, polarizations):
        with contextlib.suppress(HeaderError):
            read(image)
