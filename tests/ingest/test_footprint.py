"""Footprints against worked numbers and against brute force on random headers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vo_service.errors import HeaderError
from vo_service.ingest.cards import parse_cards
from vo_service.ingest.footprint import Footprint, footprint
from vo_service.ingest.images import images_of
from vo_service.ingest.sky import sky_of
from vo_service.model.observation import HDUHeader
from vo_service.model.region import Circle, Point, Polygon, separation

Vectors = NDArray[np.float64]


def _hdu(values: dict[str, Any], index: int = 0) -> HDUHeader:
    text = fits.Header(list(values.items())).tostring().encode("ascii")
    cards = parse_cards(text[i : i + 80] for i in range(0, len(text), 80))
    return HDUHeader(index=index, name="", kind="IMAGE" if index else "PRIMARY", cards=cards)


def _footprint(*headers: dict[str, Any]) -> Footprint:
    images = images_of(tuple(_hdu(values, i) for i, values in enumerate(headers)))
    chips = tuple(sky for sky in map(sky_of, images) if sky is not None)
    return footprint(chips)


def _header(
    ra: float,
    dec: float,
    lengths: tuple[int, int],
    scale: float,
    *,
    turn: float = 0.0,
    flip: bool = False,
    projection: str = "TAN",
) -> dict[str, Any]:
    """An image about (*ra*, *dec*), *scale* in degrees per pixel, *turn* in degrees."""
    sine, cosine = math.sin(math.radians(turn)), math.cos(math.radians(turn))
    east = scale if flip else -scale
    return {
        "NAXIS": 2,
        "NAXIS1": lengths[0],
        "NAXIS2": lengths[1],
        "CTYPE1": f"RA---{projection}",
        "CTYPE2": f"DEC--{projection}",
        "CRVAL1": ra,
        "CRVAL2": dec,
        "CRPIX1": (lengths[0] + 1) / 2,
        "CRPIX2": (lengths[1] + 1) / 2,
        "CD1_1": east * cosine,
        "CD1_2": -scale * sine,
        "CD2_1": east * sine,
        "CD2_2": scale * cosine,
    }


def _vectors(ra: Any, dec: Any) -> Vectors:
    ra, dec = np.radians(np.atleast_1d(ra)), np.radians(np.atleast_1d(dec))
    return np.column_stack((np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)))


def _polygon_vectors(polygon: Polygon) -> Vectors:
    return _vectors([v.ra for v in polygon.vertices], [v.dec for v in polygon.vertices])


def _to_border(points: Vectors, polygon: Polygon) -> Vectors:
    """Angle (radians) from each point to the nearest place of a polygon's border."""
    corners = _polygon_vectors(polygon)
    nearest = np.full(len(points), np.inf)
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        normal = np.cross(a, b)
        normal /= np.linalg.norm(normal)
        away = np.abs(np.arcsin(np.clip(points @ normal, -1, 1)))
        foot = points - np.outer(points @ normal, normal)
        on_arc = (np.cross(a, foot) @ normal >= 0) & (np.cross(foot, b) @ normal >= 0)
        ends = np.minimum(np.linalg.norm(points - a, axis=1), np.linalg.norm(points - b, axis=1))
        nearest = np.minimum(nearest, np.where(on_arc, away, ends))
    return nearest


def _edge_pixels(lengths: tuple[int, int], rng: np.random.Generator) -> Vectors:
    along = rng.uniform(0.5, np.array(lengths) + 0.5, size=(60, 2))
    along[:15, 0] = 0.5
    along[15:30, 0] = lengths[0] + 0.5
    along[30:45, 1] = 0.5
    along[45:, 1] = lengths[1] + 0.5
    return along


def _gnomonic(header: dict[str, Any], pixels: Vectors) -> Vectors:
    """ICRS directions of pixels of a TAN header, by the textbook and without wcslib."""
    offset = pixels - [header["CRPIX1"], header["CRPIX2"]]
    cd = [[header["CD1_1"], header["CD1_2"]], [header["CD2_1"], header["CD2_2"]]]
    xi, eta = np.radians(offset @ np.array(cd).T).T
    ra, dec = math.radians(header["CRVAL1"]), math.radians(header["CRVAL2"])
    centre = np.array([math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)])
    east = np.array([-math.sin(ra), math.cos(ra), 0.0])
    north = np.cross(centre, east)
    xyz = centre + np.outer(xi, east) + np.outer(eta, north)
    return np.asarray(xyz / np.linalg.norm(xyz, axis=1)[:, None])


_RA = st.floats(0, 360, exclude_max=True) | st.sampled_from([0.0, 1e-7, 359.9999999, 180.0])
_DEC = st.floats(-90, 90) | st.sampled_from([-90.0, 90.0, 0.0, 89.9999, -89.9])
_LENGTHS = st.tuples(st.integers(2, 3000), st.integers(2, 3000))
_SCALE = st.floats(-5.5, -1.5).map(lambda power: 10.0**power)
_HEADERS = st.builds(
    _header, _RA, _DEC, _LENGTHS, _SCALE, turn=st.floats(0, 360), flip=st.booleans()
)


@settings(deadline=None, max_examples=150)
@given(_HEADERS, st.integers(0, 2**32))
def test_edges_of_a_gnomonic_image_lie_on_the_border_and_its_pixels_inside(
    header: dict[str, Any], seed: int
) -> None:
    lengths = (header["NAXIS1"], header["NAXIS2"])
    scale = math.hypot(header["CD1_1"], header["CD2_1"])
    assume(scale * max(lengths) < 60)
    found = _footprint(header)
    assert isinstance(found.region, Polygon)
    assert len(found.region.vertices) == 4
    rng = np.random.default_rng(seed)
    edges = _gnomonic(header, _edge_pixels(lengths, rng))
    assert _to_border(edges, found.region).max() < 1e-9 + 1e-6 * math.radians(scale)
    inside = _gnomonic(header, rng.uniform(0.5, np.array(lengths) + 0.5, size=(50, 2)))
    corners = _polygon_vectors(found.region)
    # Counter-clockwise from inside: the inside is to the left, where a x b points away from.
    sides = np.cross(corners, np.roll(corners, -1, axis=0)) @ inside.T
    assert sides.max() < 1e-14
    centre = _vectors(found.centre.ra, found.centre.dec)[0]
    angles = np.degrees(2 * np.arcsin(np.linalg.norm(edges - centre, axis=1) / 2))
    assert angles.max() <= found.fov / 2 + 1e-9
    middle = _gnomonic(header, np.array([[(lengths[0] + 1) / 2, (lengths[1] + 1) / 2]]))[0]
    assert np.linalg.norm(middle - centre) < 1e-12
    assert found.lengths == lengths


@settings(deadline=None, max_examples=150)
@given(
    _RA,
    st.floats(-80, 80),
    _LENGTHS,
    st.floats(-5, -1.5).map(lambda power: 10.0**power),
    st.floats(0, 360),
    st.booleans(),
    st.sampled_from(["SIN", "ARC", "ZEA", "STG", "CAR", "SFL", "MER", "AIT"]),
    st.integers(0, 2**32),
)
def test_edges_of_any_projection_lie_within_a_pixel_of_the_border(
    ra: float,
    dec: float,
    lengths: tuple[int, int],
    scale: float,
    turn: float,
    flip: bool,
    projection: str,
    seed: int,
) -> None:
    assume(scale * max(lengths) < 20 and abs(dec) + scale * max(lengths) < 85)
    header = _header(ra, dec, lengths, scale, turn=turn, flip=flip, projection=projection)
    found = _footprint(header)
    assert isinstance(found.region, Polygon)
    theirs = WCS(fits.Header(list(header.items())))
    pixels = _edge_pixels(lengths, np.random.default_rng(seed))
    sky = theirs.all_pix2world(pixels, 1)
    edges = _vectors(sky[:, 0], sky[:, 1])
    pixel = math.radians(scale) / min(1.0, math.cos(math.radians(dec)))
    assert _to_border(edges, found.region).max() < pixel + 1e-9
    centre = _vectors(found.centre.ra, found.centre.dec)[0]
    angles = 2 * np.arcsin(np.linalg.norm(edges - centre, axis=1) / 2)
    assert angles.max() <= math.radians(found.fov / 2) + pixel


def test_corners_are_the_outer_edges_of_the_pixels_from_the_first_pixel_on() -> None:
    # 10 x 20 pixels of 1 degree about (0, 0): corners 5 and 10 degrees off in the plane.
    found = _footprint(_header(0.0, 0.0, (10, 20), 1.0))
    assert isinstance(found.region, Polygon)
    ra = math.degrees(math.atan(math.radians(5.0)))
    dec = math.degrees(math.atan(math.radians(10.0) * math.cos(math.radians(ra))))
    expected = [(ra, -dec), (360 - ra, -dec), (360 - ra, dec), (ra, dec)]
    got = [(v.ra, v.dec) for v in found.region.vertices]
    assert got == [pytest.approx(corner, abs=1e-10) for corner in expected]
    assert (found.centre.ra % 360.0, found.centre.dec) == pytest.approx((0.0, 0.0), abs=1e-12)
    # The corner's distance: the plane's radius is the tangent of the angle.
    reach = math.degrees(math.atan(math.radians(math.hypot(5.0, 10.0))))
    assert found.fov == pytest.approx(2 * reach, abs=1e-10)


def test_a_mirrored_image_runs_the_same_way_round() -> None:
    plain = _footprint(_header(30.0, 10.0, (100, 100), 0.01))
    mirrored = _footprint(_header(30.0, 10.0, (100, 100), 0.01, flip=True))
    assert isinstance(plain.region, Polygon)
    assert isinstance(mirrored.region, Polygon)
    # The mirrored image starts in the west, that is at the other lower corner.
    first, second = plain.region.vertices[:2]
    assert separation(mirrored.region.vertices[0], second) < 1e-9
    assert separation(mirrored.region.vertices[-1], first) < 1e-9 or (
        separation(mirrored.region.vertices[1], plain.region.vertices[2]) < 1e-9
    )


def test_swapped_celestial_axes_give_the_same_footprint() -> None:
    header = _header(123.4, 56.7, (200, 100), 0.001, turn=20.0)
    swapped = dict(header)
    for pair in (
        ("CTYPE1", "CTYPE2"),
        ("CRVAL1", "CRVAL2"),
        ("CD1_1", "CD2_1"),
        ("CD1_2", "CD2_2"),
    ):
        swapped[pair[0]], swapped[pair[1]] = header[pair[1]], header[pair[0]]
    ours, theirs = _footprint(header), _footprint(swapped)
    assert isinstance(ours.region, Polygon)
    assert isinstance(theirs.region, Polygon)
    assert ours.lengths == theirs.lengths == (200, 100)
    for a, b in zip(ours.region.vertices, theirs.region.vertices, strict=True):
        assert separation(a, b) < 1e-9


def test_a_spectral_axis_before_the_sky_changes_nothing() -> None:
    flat = _header(123.4, 56.7, (200, 100), 0.001)
    cube = {
        "NAXIS": 3, "NAXIS1": 50, "NAXIS2": 200, "NAXIS3": 100,
        "CTYPE1": "FREQ", "CRVAL1": 1e11, "CRPIX1": 1.0, "CDELT1": 1e6, "CUNIT1": "Hz",
        "CTYPE2": "RA---TAN", "CTYPE3": "DEC--TAN", "CRVAL2": 123.4, "CRVAL3": 56.7,
        "CRPIX2": 100.5, "CRPIX3": 50.5, "CDELT2": -0.001, "CDELT3": 0.001,
    }  # fmt: skip
    ours, theirs = _footprint(flat), _footprint(cube)
    assert ours.lengths == theirs.lengths
    assert separation(ours.centre, theirs.centre) < 1e-9
    assert ours.fov == pytest.approx(theirs.fov, abs=1e-9)


@pytest.mark.parametrize(
    ("cards", "frame"),
    [
        ({"RADESYS": "FK5", "EQUINOX": 2000.0}, "fk5"),
        ({"EQUINOX": 2000.0}, "fk5"),
        ({"RADECSYS": "FK5", "EQUINOX": "1975.0"}, {"frame": "fk5", "equinox": "J1975"}),
        ({"EQUINOX": 1950.0}, "fk4"),
        ({"EPOCH": 1950.0}, "fk4"),
        ({"RADESYS": "FK4"}, "fk4"),
        ({"RADESYS": "FK4-NO-E", "EQUINOX": 1950.0}, "fk4noeterms"),
        ({"RADESYS": "ICRS", "EQUINOX": 2000.0}, "icrs"),
        ({"EPOCH": 0.0}, "icrs"),
        ({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}, "galactic"),
        ({"CTYPE1": "SLON-TAN", "CTYPE2": "SLAT-TAN"}, "supergalactic"),
        ({"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN"}, "barycentricmeanecliptic"),
    ],
)
def test_the_centre_is_icrs_whatever_the_frame_of_the_header(
    cards: dict[str, Any], frame: Any
) -> None:
    found = _footprint(_header(123.4, 56.7, (101, 101), 0.001) | cards)
    kind = frame if isinstance(frame, dict) else {"frame": frame}
    expected = SkyCoord(123.4, 56.7, unit="deg", **kind).icrs
    assert separation(found.centre, Point(expected.ra.deg, expected.dec.deg)) < 2e-9


def test_chips_of_one_file_are_held_by_their_convex_hull() -> None:
    # Four chips about one tangent point at the pole, with gaps between them.
    chips = []
    for x, y in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        chip = _header(0.0, 90.0, (100, 100), 0.01)
        chip |= {"CRPIX1": 50.5 + x * 60, "CRPIX2": 50.5 + y * 60}
        chips.append(chip)
    found = _footprint(*chips)
    assert isinstance(found.region, Polygon)
    assert len(found.region.vertices) == 4
    assert found.centre.dec == pytest.approx(90.0, abs=1e-9)
    assert found.lengths is None
    # The outermost corner is 60 + 50 pixels off in both directions.
    reach = math.degrees(math.atan(math.radians(1.1 * math.sqrt(2.0))))
    assert found.fov / 2 == pytest.approx(reach, abs=1e-9)


def test_an_extension_inherits_the_frame_of_the_primary_only_if_it_says_so() -> None:
    primary = {"NAXIS": 0, "RADESYS": "FK4", "EQUINOX": 1950.0}
    image = _header(123.4, 56.7, (100, 100), 0.001)
    old = SkyCoord(123.4, 56.7, unit="deg", frame="fk4").icrs
    inherited = _footprint(primary, image | {"INHERIT": True}).centre
    assert separation(inherited, Point(old.ra.deg, old.dec.deg)) < 2e-9
    assert separation(_footprint(primary, image).centre, Point(123.4, 56.7)) < 1e-9


def test_planes_of_one_field_are_one_image() -> None:
    header = _header(10.0, 20.0, (100, 50), 0.01)
    found = _footprint(header, header, header)
    assert found.lengths == (100, 50)
    assert found.region == _footprint(header).region


def test_a_map_of_the_whole_sky_has_a_position_and_no_footprint() -> None:
    found = _footprint(_header(30.0, 0.0, (360, 180), 1.0, projection="AIT"))
    assert found.region is None
    assert found.fov == pytest.approx(360.0, abs=4.0)
    assert (found.centre.ra, found.centre.dec) == pytest.approx((30.0, 0.0), abs=1e-9)


def test_a_full_disc_gets_a_circle_that_holds_it() -> None:
    # SIN: the disc has a radius of one radian in the plane, which is 90 degrees on the sky.
    disc = _footprint(_header(40.0, 50.0, (200, 200), 0.8, projection="SIN"))
    assert disc.region is None or isinstance(disc.region, Circle)
    assert disc.fov == pytest.approx(180.0, abs=8.0)


def test_a_polar_cap_with_a_seam_is_held_by_its_outline() -> None:
    header = _header(0.0, 0.0, (360, 10), 1.0, projection="CAR")
    header |= {"CRPIX1": 180.5, "CRPIX2": -79.5}  # 80 to 90 degrees north, all around
    found = _footprint(header)
    assert isinstance(found.region, Polygon)
    vertices = _polygon_vectors(found.region)
    inside = _vectors(np.arange(0.0, 360.0, 7.0), np.full(52, 81.0))
    sides = np.cross(vertices, np.roll(vertices, -1, axis=0)) @ inside.T
    assert sides.max() < 0.0


def test_an_image_off_the_sky_is_refused() -> None:
    header = _header(0.0, 0.0, (100, 100), 0.01, projection="SIN")
    header |= {"CRPIX1": -90_000.0}
    with pytest.raises(HeaderError, match="no pixel of the image has a position") as caught:
        _footprint(header)
    assert caught.value.keyword == "CTYPE1"


@pytest.mark.parametrize(
    ("cards", "keyword"),
    [
        ({"CD1_1": 0.0, "CD1_2": 0.0}, "CD1_1"),
        ({"CD1_1": 0.01, "CD1_2": 0.01, "CD2_1": 0.01, "CD2_2": 0.01}, "CTYPE1"),
        ({"CTYPE2": "DEC--SIN"}, "CTYPE1"),
        ({"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"}, "CTYPE1"),
        ({"CRVAL2": 95.0}, "CTYPE1"),
        ({"RADESYS": "GAPPT"}, "RADESYS"),
        ({"EQUINOX": "never"}, "EQUINOX"),
        ({"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN"}, "CTYPE1"),
        ({"WCSAXES": 1000}, "WCSAXES"),
        ({"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 100000}, "A_ORDER"),
        ({"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2}, "CTYPE1"),
    ],
)
def test_a_broken_wcs_is_refused_by_keyword(cards: dict[str, Any], keyword: str) -> None:
    with pytest.raises(HeaderError) as caught:
        _footprint(_header(10.0, 20.0, (100, 100), 0.01) | cards)
    assert caught.value.keyword == keyword


def test_tables_of_distortions_are_left_out_and_the_linear_wcs_stays() -> None:
    header = _header(10.0, 20.0, (100, 100), 0.01)
    lookup = {"CPDIS1": "LOOKUP", "CPDIS2": "LOOKUP", "D2IMDIS1": "LOOKUP"}
    assert _footprint(header | lookup) == _footprint(header)


def test_a_sip_distortion_bends_the_outline() -> None:
    header = _header(10.0, 20.0, (1000, 1000), 0.001)
    sip = {
        "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP",
        "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-4, "B_0_2": -1e-4, "A_0_2": 5e-5,
    }  # fmt: skip
    found = _footprint(header | sip)
    assert isinstance(found.region, Polygon)
    assert len(found.region.vertices) > 4
    theirs = WCS(fits.Header(list((header | sip).items())))
    pixels = _edge_pixels((1000, 1000), np.random.default_rng(3))
    sky = theirs.all_pix2world(pixels, 1)
    away = _to_border(_vectors(sky[:, 0], sky[:, 1]), found.region)
    assert away.max() < math.radians(0.001)
