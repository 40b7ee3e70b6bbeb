"""How files are named in headers and tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vo_service.ingest.provenance import moment, provenance_of, reference
from vo_service.model.collection import Collection
from vo_service.model.observation import HDUHeader
from vo_service.model.provenance import Reference


@pytest.mark.parametrize(
    ("written", "kind", "name"),
    [
        ("ivo://x/c?a.fits", "did", "ivo://x/c?a.fits"),
        ("2020/01/02/a.fits", "path", "2020/01/02/a.fits"),
        ("./n/a.fits", "path", "n/a.fits"),
        ("/data0/n/a.fits.fz", "frame", "a"),
        ("~/n/a.fit.gz", "frame", "a"),
        ("a.FITS", "frame", "a"),
        ("TRCS00112261", "frame", "TRCS00112261"),
        ("a.b.c", "frame", "a.b.c"),
        (".fits", "frame", ".fits"),
        ("/", "frame", "/"),
    ],
)
def test_a_file_is_named_by_identifier_path_or_frame(written: str, kind: str, name: str) -> None:
    assert reference("dark", "c", written) == Reference("dark", kind, "c", name)  # type: ignore[arg-type]  # a word of three


def test_a_time_is_that_of_the_header_in_utc() -> None:
    assert moment("2020-08-14T19:00:09.125").isoformat() == "2020-08-14T19:00:09.125000+00:00"
    assert moment("31/12/99").isoformat() == "1999-12-31T00:00:00+00:00"


COLLECTION = Collection.model_validate(
    {
        "name": "c", "title": "", "facility": "", "instrument": "", "release": {"days": 0},
        "obscore": {"calib_level": 1, "obs_id": "1"},
        "provenance": {"used": {"flat": {"keyword": ["FLAT*", "X"]}}},
    }
)  # fmt: skip


def used(*cards: tuple[str, object, str]) -> list[str]:
    hdu = HDUHeader(index=0, name="", kind="PRIMARY", cards=cards)
    found = provenance_of(COLLECTION, [hdu])
    assert found is not None
    return [file.name for file in found.used]


def test_a_series_of_keywords_comes_in_the_order_of_its_numbers_and_each_file_once() -> None:
    assert used(
        ("X", "c,b.fits ; d", ""), ("FLAT10", "b", ""), ("FLAT2", "a", ""), ("FLATS", "no", ""),
        ("FLAT", None, ""), ("FLAT1", "  ", ""),
    ) == ["a", "b", "c", "d"]  # fmt: skip


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=80)))
def test_no_value_whatever_gives_an_empty_name_or_one_twice(values: list[str]) -> None:
    names = used(*((f"FLAT{n}", value, "") for n, value in enumerate(values)))
    assert all(names)
    assert len(names) == len(set(names))
