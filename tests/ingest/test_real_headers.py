"""Headers that nobody here wrote: every FITS and header file inside the installed packages."""

from __future__ import annotations

import sysconfig
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vo_service.errors import HeaderError
from vo_service.ingest.frames import read_frame
from vo_service.ingest.headers import read_text_headers
from vo_service.model.collection import load_collection
from vo_service.model.region import Point, Polygon, separation

_GENERIC = load_collection(Path(__file__).parent / "generic.yaml")
_PACKAGES = Path(sysconfig.get_paths()["purelib"])
_DATA = ("astropy", "healpy", "pyavm", "pyvo", "reproject")
_ENDS = (".fits", ".fits.gz", ".fits.fz", ".fits.Z", ".fit", ".hdr", ".head")
_FILES = sorted(
    file
    for package in _DATA
    for file in (_PACKAGES / package).rglob("*")
    if file.name.endswith(_ENDS)
)


def _map(file: Path) -> Point | None:
    frame = read_frame(
        file,
        _GENERIC,
        authority="test.example",
        root=_PACKAGES,
        headers_only=file.suffix in (".hdr", ".head"),
    )
    found = frame.observation
    if found.s_ra is None or found.s_dec is None:
        return None
    assert found.s_fov is not None
    centre = Point(found.s_ra, found.s_dec)
    if isinstance(found.region, Polygon):
        reach = max(separation(centre, vertex) for vertex in found.region.vertices)
        assert found.s_fov / 2 == pytest.approx(reach, abs=1e-9)
    return centre


@pytest.mark.filterwarnings("error")
def test_every_real_header_is_mapped_or_refused_with_a_reason() -> None:
    outcomes: Counter[str] = Counter()
    for file in _FILES:
        try:
            outcomes["position" if _map(file) else "no position"] += 1
        except HeaderError as error:
            outcomes["refused" if error.reason else "no reason"] += 1
    assert len(_FILES) > 100
    assert not outcomes["no reason"]
    assert outcomes["position"] > 50, outcomes
    assert outcomes["refused"] < 25, outcomes


@pytest.mark.parametrize(
    "name",
    [
        "astropy/io/fits/hdu/compressed/tests/data/m13.fits",
        "astropy/wcs/tests/data/maps/1904-66_TAN.hdr",
        "astropy/wcs/tests/data/irac_sip.hdr",
        "astropy/wcs/tests/data/tpvonly.hdr",
        "reproject/tests/data/galactic_2d.fits",
    ],
)
def test_the_centre_of_a_real_image_is_where_astropy_puts_it(name: str) -> None:
    file = _PACKAGES / name
    if file.suffix == ".hdr":
        text = file.read_text("latin-1")
        header = fits.Header.fromstring(text, sep="\n" if "\n" in text.strip() else "")
    else:
        header = fits.getheader(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(header).celestial
    middle = [(header["NAXIS1"] - 1) / 2, (header["NAXIS2"] - 1) / 2]
    theirs = wcs.pixel_to_world(*middle).icrs
    ours = _map(file)
    assert ours is not None
    assert separation(ours, Point(theirs.ra.deg, theirs.dec.deg)) < 1e-8


def test_a_tile_compressed_image_is_mapped_like_the_plain_one() -> None:
    directory = _PACKAGES / "astropy/io/fits/hdu/compressed/tests/data"
    plain = read_frame(directory / "m13.fits", _GENERIC, authority="test.example", root=directory)
    packed = read_frame(
        directory / "m13_rice.fits", _GENERIC, authority="test.example", root=directory
    )
    assert packed.observation.region == plain.observation.region
    assert (packed.observation.s_xel1, packed.observation.s_xel2) == (300, 300)
    assert (plain.product.media_type, packed.product.media_type) == (
        "image/fits",
        "application/fits",
    )


_HEADERS = [file.read_bytes() for file in _FILES if file.suffix == ".hdr"]
_JUNK = st.sampled_from(
    [b"1E999", b"-1", b"'", b"NaN", b"99999999999", b"T", b"'x'", b"0", b"\xff"]
)


@settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(_HEADERS),
    st.lists(st.tuples(st.floats(0, 1), _JUNK), min_size=1, max_size=6),
)
def test_mutilated_headers_raise_nothing_but_header_errors(
    tmp_path: Path, header: bytes, cuts: list[tuple[float, bytes]]
) -> None:
    content = bytearray(header)
    for place, junk in cuts:
        start = int(place * len(content)) // 80 * 80 + 10
        content[start : start + 20] = junk.rjust(20)
    file = tmp_path / "x.hdr"
    file.write_bytes(content)
    try:
        read_text_headers(bytes(content))
        frame = read_frame(
            file, _GENERIC, authority="test.example", root=tmp_path, headers_only=True
        )
    except HeaderError:
        return
    values = (frame.observation.s_ra, frame.observation.s_fov, frame.observation.t_min)
    assert all(value is None or np.isfinite(value) for value in values)
