"""SIA 1.0, cone search and SSA of the served demonstration archive: PyVO and documents."""

from __future__ import annotations

from collections.abc import Iterator

import astropy.units as u
import httpx
import numpy as np
import pytest
import pyvo
from astropy.coordinates import SkyCoord
from astropy.table import Table
from lxml import etree

from tests.support import validate
from tests.web.conftest import Archive

FIELD = SkyCoord(149.38, 69.65, unit="deg")
STAR = SkyCoord(325.678, 43.586, unit="deg")


@pytest.fixture(scope="module")
def http(archive: Archive) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=archive.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def rows(archive: Archive) -> Table:
    service = pyvo.dal.TAPService(f"{archive.url}/tap")
    return service.search("SELECT * FROM ivoa.obscore").to_table()


def lines(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200
    return [row.findtext("{*}TD") or "" for row in etree.fromstring(answer.content).iter("{*}TR")]


# Cone search


@pytest.mark.parametrize("radius", [0.05, 0.5, 20.0, 180.0])
def test_a_cone_finds_the_rows_whose_position_lies_in_it(
    archive: Archive, rows: Table, radius: float
) -> None:
    service = pyvo.dal.SCSService(f"{archive.url}/scs/ivoa.obscore?")
    found = service.search(FIELD, radius * u.deg)["obs_publisher_did"]
    placed = rows[~np.isnan(np.ma.filled(rows["s_ra"].astype(float), np.nan))]
    away = SkyCoord(placed["s_ra"], placed["s_dec"], unit="deg").separation(FIELD).deg
    assert sorted(found) == sorted(placed["obs_publisher_did"][away <= radius])
    assert len(found) > 0


def test_a_cone_has_one_name_and_one_position_by_ucd(http: httpx.Client) -> None:
    for verb, count in (("1", 3), ("2", 30), ("3", 30)):
        answer = http.get(f"/scs/ivoa.obscore?RA=149.38&DEC=69.65&SR=0.5&VERB={verb}")
        assert answer.headers["content-type"] == "text/xml"
        root = etree.fromstring(answer.content)
        ucds = [field.get("ucd") for field in root.iter("{*}FIELD")]
        assert len(ucds) == count
        for ucd in ("ID_MAIN", "POS_EQ_RA_MAIN", "POS_EQ_DEC_MAIN"):
            assert ucds.count(ucd) == 1
        assert not [ucd for ucd in ucds if ucd and ucd.endswith(";meta.main")]
        assert len(root.findall(".//{*}TABLE")) == 1
        validate(answer.content, "VOTable-v1.4.xsd")


def test_pyvo_finds_the_name_and_the_position_of_a_record(archive: Archive) -> None:
    service = pyvo.dal.SCSService(f"{archive.url}/scs/ivoa.obscore?")
    for record in service.search(FIELD, 0.5 * u.deg):
        assert record.id == record["obs_publisher_did"]
        assert record.pos.ra.deg == record["s_ra"]
        assert record.pos.dec.deg == record["s_dec"]


def test_a_cone_without_rows_or_without_radius_is_a_table(http: httpx.Client) -> None:
    for place in ("RA=1&DEC=1&SR=0.1", "RA=149.331&DEC=69.6735&SR=0"):
        assert b'"Error"' not in http.get(f"/scs/IVOA.ObsCore?{place}").content


def test_what_can_be_searched_by_cone_is_listed(http: httpx.Client) -> None:
    assert "/scs/ivoa.obscore?" in http.get("/scs/").text
    assert http.get("/scs/tap_schema.tables?RA=1&DEC=1&SR=1").status_code == 404


# SIA 1.0


def test_pyvo_reads_an_image_of_sia_1(archive: Archive) -> None:
    found = pyvo.dal.SIAService(f"{archive.url}/sia/query?").search(FIELD, 0.1 * u.deg)
    assert len(found) == 18
    row = next(row for row in found if "sTMQ1202004030029483914" in row.acref)
    assert (row.naxes, list(row.naxis.value)) == (2, [2160, 1200])
    # The chip's pixels are 1.189 arcsec wide.
    assert row.scale.to_value(u.arcsec / u.pix) == pytest.approx([1.189] * 2, rel=1e-3)
    assert row.instr == "Tomo-e Gozen"
    assert row.format == "application/fits"
    assert abs(row.pos.dec.deg - 69.65) < 0.3
    assert row.filesize > 0


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"SIZE": "0"}, 17),  # see test_pyvo: one of the 18 frames does not hold the position
        ({"SIZE": "0.0001", "INTERSECT": "COVERS"}, 17),
        ({"SIZE": "1", "INTERSECT": "CENTER"}, 17),
        ({"SIZE": "0.4"}, 18),
        ({"SIZE": "3,3", "INTERSECT": "ENCLOSED"}, 18),
        ({"SIZE": "0.05,3", "INTERSECT": "ENCLOSED"}, 0),
        ({"SIZE": "0.4", "FORMAT": "image/fits"}, 18),
        ({"SIZE": "0.4", "FORMAT": "GRAPHIC"}, 0),
        ({"SIZE": "0.4", "FORMAT": "image/png,ALL"}, 18),
        ({"SIZE": "0.4", "MAXREC": "5"}, 5),
    ],
)
def test_what_an_image_does_with_the_region(
    http: httpx.Client, asked: dict[str, str], count: int
) -> None:
    answer = http.get("/sia/query", params={"POS": "149.38,69.65", "VERB": "0"} | asked)
    assert len(lines(answer)) == count


def test_the_whole_sky_and_a_collection(http: httpx.Client, rows: Table) -> None:
    images = rows[np.isin(np.asarray(rows["dataproduct_type"], str), ["image", "cube"])]
    placed = images[np.asarray(images["s_region"], str) != ""]
    asked = {"POS": "1,2", "SIZE": "360", "VERB": "1"}
    assert len(lines(http.get("/sia/query", params=asked))) == len(placed)
    for name in ("tomoe", "triccs", "nothing"):
        of_it = np.asarray(placed["obs_collection"], str) == name
        assert len(lines(http.get(f"/sia/{name}/query", params=asked))) == of_it.sum()


def test_metadata_of_sia_1_and_of_ssa_name_the_inputs(http: httpx.Client) -> None:
    for url in ("/sia/query?FORMAT=METADATA", "/ssa/query?REQUEST=queryData&FORMAT=METADATA"):
        answer = http.get(url)
        validate(answer.content, "VOTable-v1.4.xsd")
        root = etree.fromstring(answer.content)
        inputs = {param.get("name") for param in root.iterfind(".//{*}RESOURCE/{*}PARAM")}
        assert {"INPUT:POS", "INPUT:SIZE", "INPUT:FORMAT"} <= inputs
        assert not list(root.iter("{*}TR"))
        assert [i.get("value") for i in root.iterfind(".//{*}INFO[@name='QUERY_STATUS']")] == ["OK"]


# SSA


def test_pyvo_reads_a_spectrum_of_ssa(archive: Archive) -> None:
    found = pyvo.dal.SSAService(f"{archive.url}/ssa/query?").search(pos=STAR, diameter=0.1 * u.deg)
    assert len(found) == 3
    row = next(row for row in found if row.acref.endswith("TRCS00112251.fits"))
    assert (row.ra, row.dec) == pytest.approx((325.678458, 43.586083), abs=1e-5)
    assert "SS Cyg" in row.title
    band = row["wavelength_min"], row["wavelength_max"], row["wavelength"], row["bandwidth"]
    assert band == pytest.approx((4e-7, 5.55e-7, 4.775e-7, 1.55e-7))
    assert row["mid_time"] == pytest.approx(59527.52152777778, abs=1e-9)


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({}, 3),
        ({"POS": "325.678,43.586"}, 3),
        ({"POS": "325.678,43.586;ICRS", "SIZE": "0.01"}, 3),
        ({"POS": "10,10", "SIZE": "1"}, 0),
        ({"BAND": "4e-7/5e-7"}, 1),
        ({"BAND": "/4.5e-7,7.5e-7/"}, 2),
        ({"BAND": "5e-7"}, 1),
        ({"BAND": "optical"}, 3),
        ({"BAND": "x-ray"}, 0),
        ({"TIME": "2021-11-09"}, 3),
        ({"TIME": "2021-11-09T12:30/2021-11-09T13"}, 3),
        ({"TIME": "/2021-11-08,2022/"}, 0),
        ({"TARGETNAME": "SS Cyg", "COLLECTION": "triccs"}, 3),
        ({"COLLECTION": "tomoe"}, 0),
        ({"FORMAT": "fits"}, 3),
        ({"FORMAT": "compliant"}, 0),
        ({"FORMAT": "votable,native"}, 3),
        ({"TOP": "2"}, 2),
        ({"REDSHIFT": "1/2", "RUNID": "x"}, 3),
    ],
)
def test_each_parameter_of_ssa(http: httpx.Client, asked: dict[str, str], count: int) -> None:
    for at in ("/ssa", "/ssa/triccs"):
        answer = http.get(f"{at}/query", params={"REQUEST": "queryData"} | asked)
        validate(answer.content, "VOTable-v1.4.xsd")
        assert len(lines(answer)) == count


def test_columns_of_ssa_have_the_utypes_that_must_be_there(http: httpx.Client) -> None:
    root = etree.fromstring(http.get("/ssa/query?REQUEST=queryData").content)
    utypes = {field.get("utype") for field in root.iter("{*}FIELD")}
    space, band, time = (
        f"ssa:Char.{axis}Axis.Coverage" for axis in ("Spatial", "Spectral", "Time")
    )
    assert {
        *("ssa:Access.Reference", "ssa:Access.Format", "ssa:Dataset.DataModel"),
        *("ssa:Dataset.Length", "ssa:DataID.Title", "ssa:Curation.Publisher"),
        *(f"{axis}.{part}" for axis in (space, band, time)
          for part in ("Location.Value", "Bounds.Extent")),
    } <= utypes  # fmt: skip


@pytest.mark.parametrize("at", ["sia", "sia/tomoe", "scs/ivoa.obscore", "ssa", "ssa/triccs"])
def test_vosi_documents_are_valid(http: httpx.Client, at: str) -> None:
    for name in ("capabilities", "availability"):
        document = http.get(f"/{at}/{name}").content
        validate(document)
        validate(document, catalog="catalog-next.xml")
