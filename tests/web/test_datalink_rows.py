"""Rows of DataLink for products in every state, read as the door."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.db.frames import frame
from tests.support import settings_at
from vo_service.db.connect import Role, conninfo
from vo_service.db.datalink import select_links
from vo_service.db.frames import FrameStore
from vo_service.db.schema import upgrade
from vo_service.db.stream import Reader, render
from vo_service.params.datalink import LinksQuery
from vo_service.services.datalink import LinkService
from vo_service.settings import Settings

pytestmark = pytest.mark.anyio

Connection = psycopg.Connection[Any]
DATA_URL = {"vo.data_url": "https://h/data/"}


@pytest.fixture(scope="module")
def settings(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = settings_at(database_url, tmp_path_factory.mktemp("home"))
    upgrade(made)
    return made


@pytest.fixture
def writer(settings: Settings) -> Iterator[Connection]:
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection:
        connection.execute("DELETE FROM archive.observation")
        connection.execute("DELETE FROM archive.product")
        FrameStore(connection).register("c", "Title", "", "{}")
        yield connection


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[LinkService]:
    reader = Reader(conninfo(settings, Role.DOOR, **DATA_URL), size=2, limit_s=10.0)
    yield LinkService(reader, "https://h")
    await reader.aclose()


async def found(service: LinkService, *ids: str) -> list[dict[str, Any]]:
    rows = await service.links(LinksQuery(ids=ids, maxrec=1000))
    try:
        names = [field.name for field in rows.fields]
        return [
            dict(zip(names, row.values(), strict=True))
            async for batch in rows.batches()
            for row in batch.rename_columns([str(n) for n in range(len(names))]).to_pylist()
        ]
    finally:
        await rows.aclose()


def store(writer: Connection, path: str, state: str, **changed: Any) -> str:
    one = frame(path)
    one = replace(one, product=replace(one.product, **changed))
    assert FrameStore(writer).store([one])[1] == []
    writer.execute(
        "UPDATE archive.product SET state = %s WHERE path = %s AND current", (state, path)
    )
    return one.product.did


@pytest.mark.parametrize(
    ("state", "changed", "fault", "auth"),
    [
        ("public", {}, None, ("false", True)),
        ("arrived", {}, "DefaultFault: proprietary; the file will be released on 2021-07-01",
         ("true", False)),
        ("arrived", {"release_date": None},
         "DefaultFault: proprietary; the file has no release date", ("true", False)),
        ("withdrawn", {}, "NotFoundFault: withdrawn", (None, None)),
        ("arrived", {"source": None},
         "NotFoundFault: only the header is kept here, the file is elsewhere", (None, None)),
        ("withdrawn", {"source": None}, "NotFoundFault: withdrawn", (None, None)),
    ],
)  # fmt: skip
async def test_each_state_of_a_product_is_a_row_and_of_a_file_that_is_here_more(
    service: LinkService,
    writer: Connection,
    state: str,
    changed: dict[str, Any],
    fault: str | None,
    auth: tuple[str | None, bool | None],
) -> None:
    did = store(writer, "a.fits", state, **changed)
    row, *more = await found(service, did)
    assert [(one["semantics"], one["service_def"]) for one in more] == (
        [] if fault else [("#cutout", "cutout-1"), ("#detached-header", None)]
    )
    there = fault is None
    assert row["ID"] == did
    assert row["access_url"] == ("https://h/data/c/a.fits" if there else None)
    assert row["error_message"] == fault
    assert row["content_type"] == ("image/fits" if there else None)
    assert row["content_length"] == (2880 if there else None)
    assert (row["link_auth"], row["link_authorized"]) == auth
    assert row["semantics"] == "#this"


async def test_only_the_newest_version_of_a_file_counts(
    service: LinkService, writer: Connection
) -> None:
    store(writer, "a.fits", "withdrawn")
    did = store(writer, "a.fits", "public", size=5760)
    row, *_ = await found(service, did)
    assert (row["error_message"], row["content_length"]) == (None, 5760)


@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100
)
@given(name=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_the_address_is_obscores_whatever_the_name_of_the_file(
    settings: Settings, writer: Connection, name: str
) -> None:
    store(writer, name, "public")
    with psycopg.connect(conninfo(settings, Role.WRITER, **DATA_URL)) as reader:
        [pair] = reader.execute(
            "SELECT l.access_url, o.access_url FROM archive.link l "
            "JOIN ivoa.obscore o ON o.obs_publisher_did = l.did WHERE l.did = %s",
            [f"ivo://x/c?{name}"],
        ).fetchall()
    assert pair[0] == pair[1]
    assert pair[0].isascii()


def test_the_door_sees_the_view_and_no_table_behind_it(settings: Settings) -> None:
    with psycopg.connect(conninfo(settings, Role.DOOR)) as door:
        described = door.execute("SELECT * FROM archive.link").description or ()
        assert "did" in [column.name for column in described]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            door.execute("SELECT source FROM archive.product")


def test_the_reader_does_not_even_see_the_view(settings: Settings) -> None:
    with (
        psycopg.connect(conninfo(settings, Role.READER)) as reader,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        reader.execute("SELECT * FROM archive.link")


def test_identifiers_are_looked_up_in_the_index_and_no_partition_is_read(
    settings: Settings, writer: Connection
) -> None:
    writer.execute(
        "INSERT INTO archive.product (collection, path, did, size, modified, media_type, headers) "
        "SELECT 'c', n || '.fits', 'ivo://x/c?' || n, 0, now(), 'image/fits', '[]' "
        "FROM generate_series(1, 50000) n"
    )
    with psycopg.connect(settings.database_url or "", autocommit=True) as admin:
        admin.execute("ANALYZE archive.product")
    ids = [f"ivo://x/c?{n}" for n in range(100)]
    statement = render(select_links(ids, 1001, root_url="https://h"))
    with psycopg.connect(conninfo(settings, Role.DOOR)) as reader:
        lines = reader.execute(f"EXPLAIN (VERBOSE) {statement}".encode()).fetchall()
    plan = "\n".join(line for (line,) in lines)
    assert "product_open_did" in plan
    assert "archive.quoted" not in plan  # a part of the query, no call for each row
    assert "archive.percent_encoded" in plan
    assert "One-Time Filter" in plan  # what is closed is not even looked for
    # Tables that are nearly empty may be read as a whole.
    assert "Seq Scan on product" not in plan
    assert "observation" not in plan
