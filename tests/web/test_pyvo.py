"""What an astronomer does with PyVO, against the served demonstration archive."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path
from urllib.request import urlopen

import astropy.units as u
import numpy as np
import psycopg
import pytest
import pyvo
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from tests.web.conftest import Archive
from vo_service.services.examples import EXAMPLES

ROWS = Path(__file__).parents[2] / "vo_service" / "demo" / "data" / "tomoe_query_rows.csv"


@pytest.fixture(scope="module")
def tap(archive: Archive) -> pyvo.dal.TAPService:
    return pyvo.dal.TAPService(f"{archive.url}/tap")


def test_the_script_of_the_vo_talk_runs_with_only_the_url_changed(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    # Seed 003, "PyVO": search, then print; values are scalars in today's PyVO.
    service = pyvo.dal.TAPService(f"{archive.url}/tap")
    resultset = service.search(
        "SELECT * FROM ivoa.obscore"
        " WHERE s_ra between 149.3 and 149.4"
        " AND s_dec between 69.6 and 69.7"
    )
    for row in resultset:
        ra = row["s_ra"]
        dec = row["s_dec"]
        fov = row["s_fov"]
        url = row["access_url"]
        print(f"{ra:10.6f} {dec:10.6f} {fov:10.6f} {url: <20}")
    with ROWS.open() as file:
        inside = [
            (float(row["ra_deg"]), float(row["dec_deg"]))
            for row in csv.DictReader(file)
            if 149.3 <= float(row["ra_deg"]) <= 149.4 and 69.6 <= float(row["dec_deg"]) <= 69.7
        ]
    lines = capsys.readouterr().out.splitlines()
    assert sorted(tuple(map(float, line.split()[:2])) for line in lines) == sorted(inside)
    assert len(inside) == 13


def test_every_access_url_downloads_the_file_whose_md5_is_stored(
    archive: Archive, tap: pyvo.dal.TAPService
) -> None:
    rows = tap.search("SELECT obs_publisher_did, access_url, access_format FROM ivoa.obscore")
    with psycopg.connect(archive.settings.database_url or "") as connection:
        stored: dict[str, str] = dict(
            connection.execute(
                "SELECT did, md5 FROM archive.product WHERE state = 'public'"
            ).fetchall()
        )
    downloaded = 0
    for did, url, kind in rows.to_table().iterrows():
        if did not in stored:
            continue
        with urlopen(url) as response:
            body = response.read()
            assert response.headers["Content-Type"] == kind
        assert hashlib.md5(body, usedforsecurity=False).hexdigest() == stored[did]
        with fits.open(io.BytesIO(body)) as file:
            assert len(file) >= 1
        downloaded += 1
    assert downloaded == len(stored) == 124


def holding(centre: SkyCoord, radius: u.Quantity, directory: Path) -> dict[str, str]:
    """For each Tomo-e frame of the CSV: whether the circle lies inside, touches, or is outside.

    Worked out with astropy in pixel coordinates; PostgreSQL and our footprints play no part.
    """
    border = centre.directional_offset_by(np.linspace(0, 360, 720) * u.deg, radius)
    found = {}
    for file in sorted(directory.glob("2020/0[3-6]/**/*.fits")):
        with fits.open(file) as hdus:
            header = next(hdu.header for hdu in hdus if hdu.header.get("CTYPE1"))
        x, y = WCS(header).celestial.world_to_pixel(border)
        inside = (x >= -0.5) & (x <= 2159.5) & (y >= -0.5) & (y <= 1199.5)
        name = str(file.relative_to(directory))
        found[name] = "in" if inside.all() else "touches" if inside.any() else "out"
    return found


@pytest.mark.parametrize("shift", [0.0, 0.155, 0.19])
def test_a_cone_of_15_arcsec_finds_the_frames_of_the_csv_that_hold_it(
    archive: Archive, tap: pyvo.dal.TAPService, shift: float
) -> None:
    centre = SkyCoord(149.38, 69.65 + shift, unit="deg")
    expected = holding(centre, 15 * u.arcsec, archive.settings.home / "demo" / "tomoe")
    assert len(expected) == 18
    circle = f"CIRCLE('ICRS', {centre.ra.deg}, {centre.dec.deg}, 15/3600.)"
    for condition, states in (
        (f"1=CONTAINS({circle}, s_region)", {"in"}),
        (f"1=INTERSECTS({circle}, s_region)", {"in", "touches"}),
    ):
        rows = tap.search(
            f"SELECT access_url FROM ivoa.obscore WHERE {condition} AND obs_collection = 'tomoe'"
        )
        found = {url.split("/data/tomoe/")[1] for url in rows["access_url"]}
        assert found == {name for name, state in expected.items() if state in states}


def test_the_position_of_the_tomoe_page_lies_in_17_of_its_18_frames(
    tap: pyvo.dal.TAPService,
) -> None:
    # Half a chip is 1200 * 1.189 / 2 arcsec = 0.198 deg high; one of the centres, at
    # dec 69.8658, is 0.216 deg away, all others less than 0.06 deg.
    rows = tap.search(
        "SELECT COUNT(*) AS n FROM ivoa.obscore"
        " WHERE 1=CONTAINS(CIRCLE('ICRS', 149.38, 69.65, 15/3600.), s_region)"
    )
    assert rows["n"][0] == 17


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example.id))
def test_each_example_gives_rows(tap: pyvo.dal.TAPService, example: object) -> None:
    query = getattr(example, "query")  # noqa: B009 - parametrize hands over objects
    assert len(tap.search(query)) > 0


#: RegTAP 1.2, the tables of the relational registry.
REGTAP = (
    "alt_identifier", "capability", "interface", "intf_param", "relationship", "res_date",
    "res_detail", "res_role", "res_schema", "res_subject", "res_table", "resource", "stc_spatial",
    "stc_spectral", "stc_temporal", "table_column", "tap_table", "validation",
)  # fmt: skip


def test_pyvo_reads_the_examples_tables_and_capabilities(tap: pyvo.dal.TAPService) -> None:
    assert [example["QUERY"] for example in tap.examples] == [e.query for e in EXAMPLES]
    assert set(tap.tables.keys()) == {
        "archive_stats.download_month",
        "archive_stats.night",
        "archive_stats.release_week",
        "ivoa.obscore",
        "provenance.activity",
        "provenance.ancestor",
        "provenance.entity",
        "provenance.used",
        "provenance.was_derived_from",
        "provenance.was_generated_by",
        "tap_schema.schemas",
        "tap_schema.tables",
        "tap_schema.columns",
        "tap_schema.keys",
        "tap_schema.key_columns",
        *(f"elsewhere.{name}" for name in ("everything", "obscore", "origin")),
        *(f"rr.{name}" for name in REGTAP),
    }
    assert len(tap.tables["ivoa.obscore"].columns) == 30
    assert tap.maxrec == 10_000
    assert tap.hardlimit == 10_000_000
    assert tap.available


def test_an_overflow_is_told(tap: pyvo.dal.TAPService) -> None:
    rows = tap.search("SELECT * FROM ivoa.obscore", maxrec=5)
    assert len(rows) == 5
    assert rows.status[0] == "OVERFLOW"


def test_a_mistake_is_told_with_its_place_and_the_nearest_name(tap: pyvo.dal.TAPService) -> None:
    with pytest.raises(pyvo.dal.DALQueryError, match=r"line 2, column 5: .*did you mean s_ra"):
        tap.search("SELECT obs_id,\n    s_raa FROM ivoa.obscore")
