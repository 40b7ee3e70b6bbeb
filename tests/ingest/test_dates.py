"""Dates of headers against astropy, the calendar and worked numbers."""

from __future__ import annotations

import datetime

import pytest
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from vo_service.model.dates import mjd, night_of, to_utc

_MOMENTS = st.datetimes(
    min_value=datetime.datetime(1972, 1, 1), max_value=datetime.datetime(2027, 1, 1)
)


@pytest.mark.parametrize(
    ("date", "clock", "expected"),
    [
        ("1858-11-17", None, 0.0),
        ("2000-01-01T12:00:00", None, 51544.5),
        ("2018-12-20", "06:00:00.000", 58472.25),
        ("2018-12-20T18:00:00", "06:00:00", 58472.75),  # the date's own time wins
        ("31/12/99", "12:00", 51543.5),
        ("01/01/50", None, 33282.0),
        ("1999/12/31", None, 51543.0),
        ("2016-12-31T23:59:60.5", None, 57754.0 + 0.5 / 86400.0),
        ("2020-06-17 13:41", None, 59017.0 + (13 * 60 + 41) / 1440.0),
        ("2020-06-17T13:41:00Z", None, 59017.0 + (13 * 60 + 41) / 1440.0),
    ],
)
def test_every_form_of_date_gives_its_mjd(date: str, clock: str | None, expected: float) -> None:
    assert mjd(date, clock) == pytest.approx(expected, abs=1e-10)


@given(_MOMENTS)
def test_new_dates_agree_with_astropy(moment: datetime.datetime) -> None:
    text = moment.isoformat(timespec="milliseconds")
    # Days with a leap second are longer for astropy, by less than 1.2e-5 days.
    assert mjd(text) == pytest.approx(Time(text, scale="utc").mjd, abs=1.2e-5)


@pytest.mark.parametrize("scale", ["TAI", "TT", "TDB", "tt(tai)"])
def test_other_time_scales_agree_with_astropy(scale: str) -> None:
    given = Time("2020-06-17T13:41:00", scale=scale[:3].rstrip("(").lower())
    assert mjd("2020-06-17T13:41:00", None, scale) == pytest.approx(given.utc.mjd, abs=1e-9)


def test_gps_time_is_19_seconds_behind_tai() -> None:
    assert to_utc(59000.0, "GPS") == pytest.approx(to_utc(59000.0 + 19 / 86400, "TAI"), abs=1e-10)


@pytest.mark.parametrize(
    "date", ["", "nn/nn/nn", "2020-02-30", "30/02/99", "20200617", "2020-6-7", "\u0662020-01-01"]
)
def test_what_is_no_date_is_said_to_be_none(date: str) -> None:
    with pytest.raises(ValueError, match=r"expected a date|no day of the calendar"):
        mjd(date)


@pytest.mark.parametrize("clock", ["25:00:00", "12:61:00", "noon", "12:00:61", "3"])
def test_what_is_no_time_is_said_to_be_none(clock: str) -> None:
    with pytest.raises(ValueError, match=r"time"):
        mjd("2020-06-17", clock)


def test_an_unknown_time_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a time scale"):
        mjd("2020-06-17", None, "MARS")


@given(st.text(max_size=40), st.none() | st.text(max_size=20), st.text(max_size=8))
def test_any_text_is_a_date_or_a_value_error(date: str, clock: str | None, scale: str) -> None:
    try:
        mjd(date, clock, scale)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("moment", "offset", "night"),
    [
        ("2020-06-17T13:41:00", 9.0, "2020-06-17"),  # 22:41 in Japan
        ("2020-06-17T18:00:00", 9.0, "2020-06-17"),  # 03:00 next morning
        ("2020-06-18T02:59:59", 9.0, "2020-06-17"),  # a second before noon
        ("2020-06-18T03:00:00", 9.0, "2020-06-18"),  # noon
        ("2018-12-20T10:11:12", -10.0, "2018-12-19"),  # 00:11 in Hawaii
    ],
)
def test_a_night_lasts_from_local_noon_to_noon(moment: str, offset: float, night: str) -> None:
    assert night_of(mjd(moment) + 1e-9, offset) == datetime.date.fromisoformat(night)
