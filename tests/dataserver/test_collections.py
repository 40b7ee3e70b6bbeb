"""What a collection file says of a data server, and what follows in rows and links."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import psycopg
import pytest
from astropy.io import fits

from tests.dataserver.conftest import CLOSED, OPEN, make_centre, write_collection
from vo_service.errors import ConfigError, NotFoundError, UsageError
from vo_service.model.collection import load_collection
from vo_service.model.data_server import DataServer, file_of_header
from vo_service.model.observation import Refusal
from vo_service.services.dataservers import apply_server, local_roots, make_links, public_list
from vo_service.services.ingest import IngestRequest, find_collection, ingest
from vo_service.services.release import release_due
from vo_service.settings import Settings

HERE = "http://here/data/"


@pytest.fixture(scope="module")
def one_centre(
    database_url: str, tmp_path_factory: pytest.TempPathFactory, frames: Path
) -> Settings:
    return make_centre(database_url, tmp_path_factory.mktemp("centre"), frames, 1)


@pytest.fixture
def centre(one_centre: Settings, frames: Path) -> Settings:
    """A centre whose frames are at a data server, of port 1; nothing is linked."""
    server = {"url": "http://localhost:1/data/", "roots": [str(frames)]}
    write_collection(one_centre, "triccs", data_server=server)
    apply_server(one_centre, "triccs")
    shutil.rmtree(one_centre.public / "triccs", ignore_errors=True)
    return one_centre


def rows(settings: Settings, statement: str, *values: object) -> list[tuple[object, ...]]:
    with psycopg.connect(settings.database_url or "") as connection:
        connection.execute("SELECT set_config('vo.data_url', %s, false)", (HERE,))
        return connection.execute(statement.encode(), values).fetchall()


def addresses(settings: Settings) -> set[object]:
    return {url for (url,) in rows(settings, "SELECT access_url FROM ivoa.obscore")}


@pytest.mark.parametrize(
    "url",
    [
        "data.example.org",
        "ftp://data.example.org/",
        "https://",
        "https://user:secret@data.example.org/",
        "https://data.example.org/?a=b",
        "https://data.example.org/#x",
        "https://data.example.org/a b",
        "https://data.example.org:99999/",
        "javascript:alert(1)",
    ],
)
def test_an_address_that_is_none_is_named(url: str) -> None:
    with pytest.raises(ValueError, match="expected an address such as"):
        DataServer(url=url)


def test_a_mistake_in_a_collection_file_names_the_field(tmp_path: Path, centre: Settings) -> None:
    write_collection(centre, "triccs", data_server={"url": "x", "roots": ["relative"]})
    with pytest.raises(ConfigError, match=r"data_server\.url: .*expected an address"):
        load_collection(centre.collections / "triccs.yaml")
    with pytest.raises(ConfigError, match=r"data_server\.roots: expected absolute directories"):
        local_roots(centre)


@pytest.mark.parametrize(
    ("header", "file"),
    [
        ("n/a.hdr", "n/a.fits"),
        ("n/a.fits.hdr", "n/a.fits"),
        ("a.fits.gz.txt", "a.fits.gz"),
        ("a.fits.fz.head", "a.fits.fz"),
        ("a.b.hdr", "a.b.fits"),
        ("a.fits", "a.fits"),
    ],
)
def test_a_header_file_bears_the_name_of_its_file(header: str, file: str) -> None:
    assert file_of_header(PurePosixPath(header)) == PurePosixPath(file)


def test_a_server_that_moves_changes_addresses_and_one_row(centre: Settings) -> None:
    before = rows(centre, "SELECT xmin::text, * FROM archive.observation ORDER BY product_id")
    assert {url for url in addresses(centre) if not str(url).startswith("http://localhost:1/")} == (
        set()
    )
    write_collection(centre, "triccs", data_server={"url": "https://data.example.org/new"})
    assert apply_server(centre, "triccs") == "https://data.example.org/new/"
    assert f"https://data.example.org/new/{OPEN}" in addresses(centre)
    write_collection(centre, "triccs")
    assert apply_server(centre, "triccs") is None
    assert f"{HERE}{OPEN}" in addresses(centre)
    after = rows(centre, "SELECT xmin::text, * FROM archive.observation ORDER BY product_id")
    assert before == after


def test_links_follow_to_the_tree_that_counts(centre: Settings, tmp_path: Path) -> None:
    ours, mounted = centre.public / OPEN, tmp_path / "mounted"
    assert not ours.exists()
    server = {"url": "https://data.example.org/"}
    write_collection(centre, "triccs", data_server={**server, "public": str(mounted)})
    apply_server(centre, "triccs")
    assert (mounted / OPEN).is_symlink()
    assert len([n for _, _, names in os.walk(mounted) for n in names]) == 10
    write_collection(centre, "triccs")
    apply_server(centre, "triccs")
    assert ours.is_symlink()
    assert not (mounted / OPEN).exists()
    assert apply_server(centre, "triccs") is None


def test_a_collection_that_is_not_here_has_no_server(centre: Settings) -> None:
    with pytest.raises(NotFoundError, match="tomoe"):
        apply_server(centre, "tomoe")


def links(settings: Settings) -> set[str]:
    top = settings.public / "triccs"
    return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_symlink()}


def test_links_are_what_the_list_says(centre: Settings, tmp_path: Path) -> None:
    listed = list(public_list(centre, "triccs"))
    paths = listed[1:-1]
    assert len(paths) == 10
    assert CLOSED.partition("/")[2] not in paths
    done = make_links(centre, "triccs", listed)
    assert (done.made, done.kept, done.removed) == (10, 0, 0)
    assert links(centre) == set(paths)
    fewer = [listed[0], *paths[:4], "2021/11/09/nowhere.fits", listed[-1]]
    done = make_links(centre, "triccs", (f"{line}\n" for line in fewer))
    assert (done.made, done.kept, done.removed) == (0, 4, 6)
    assert len(done.problems) == 1
    assert "nowhere.fits" in done.problems[0]
    assert links(centre) == set(paths[:4])


@pytest.mark.parametrize("kept", [slice(0, 0), slice(0, -1), slice(1, None), slice(0, 1)])
def test_a_list_that_was_cut_changes_nothing(centre: Settings, kept: slice) -> None:
    listed = list(public_list(centre, "triccs"))
    make_links(centre, "triccs", listed)
    before = links(centre)
    with pytest.raises(UsageError, match="the list"):
        make_links(centre, "triccs", listed[kept])
    assert links(centre) == before


@pytest.mark.parametrize("path", ["../../settings.toml", "/etc/passwd", "a//b.fits", "", "a/./b"])
def test_a_list_leads_nowhere_out_of_the_frames(centre: Settings, path: str) -> None:
    listed = list(public_list(centre, "triccs"))
    done = make_links(centre, "triccs", [listed[0], path, listed[-1]])
    assert (done.made, len(done.problems)) == (0, 1)
    assert links(centre) == set()
    assert not (centre.home / "passwd").exists()


def test_a_data_server_must_be_told_where_its_files_lie(centre: Settings) -> None:
    write_collection(centre, "triccs", data_server={"url": "https://data.example.org/"})
    with pytest.raises(ConfigError, match=r"data_server\.roots"):
        make_links(centre, "triccs", list(public_list(centre, "triccs")))
    (centre.collections / "triccs.yaml").unlink()
    with pytest.raises(ConfigError, match=r"data_server\.roots"):
        make_links(centre, "triccs", [])


def test_frames_of_which_only_headers_came_have_the_servers_address(
    centre: Settings, tmp_path: Path, frames: Path
) -> None:
    came = tmp_path / "headers" / "2021/11/10"
    came.mkdir(parents=True)
    with fits.open(frames / OPEN.partition("/")[2], disable_image_compression=True) as hdus:
        headers = [hdu.header.tostring(sep="\n", padding=False) for hdu in hdus]
    (came / "TRCS00999999.hdr").write_text("\n".join(headers))
    request = IngestRequest(
        collection=find_collection(centre, "triccs"), paths=[tmp_path / "headers"],
        headers_only=True, processes=0,
    )  # fmt: skip
    refusals: list[Refusal] = []
    assert ingest(centre, request, refused=refusals.append).added == 1, refusals
    counts = ingest(centre, request)
    assert (counts.unchanged, counts.changed) == (1, 0)
    assert release_due(centre, datetime.now(UTC).date()).problems == []
    place = "triccs/2021/11/10/TRCS00999999.fits"
    assert f"http://localhost:1/data/{place}" in addresses(centre)
    found = rows(
        centre,
        "SELECT state, has_file, size, access_url FROM archive.link WHERE did LIKE %s",
        f"%{place.partition('/')[2]}",
    )
    assert found == [("public", True, None, f"http://localhost:1/data/{place}")]
    assert place.partition("/")[2] in list(public_list(centre, "triccs"))
    assert not (centre.public / place).exists()
    write_collection(centre, "triccs")
    apply_server(centre, "triccs")
    assert not any(place in str(url) for url in addresses(centre))
    write_collection(centre, "triccs", data_server={"url": "https://data.example.org/"})
    apply_server(centre, "triccs")
    assert f"https://data.example.org/{place}" in addresses(centre)
