"""Frames into rows: whole batches, versions, clashes, what PostgreSQL does not take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from tests.db.frames import frame
from vo_service.db.connect import Role, conninfo
from vo_service.db.frames import Counts, FrameStore
from vo_service.errors import TransientError
from vo_service.model.observation import Refusal
from vo_service.model.region import Circle, Point, Polygon
from vo_service.settings import Settings

SQUARE = Polygon((Point(149, 69), Point(151, 69), Point(151, 70), Point(149, 70)))


@pytest.fixture
def writer(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection:
        connection.execute("DELETE FROM archive.observation")
        connection.execute("DELETE FROM archive.product")
        connection.execute("DELETE FROM archive.refusal")
        yield connection


@pytest.fixture
def store(writer: psycopg.Connection[Any]) -> FrameStore:
    made = FrameStore(writer)
    made.register("c", "Title", "", "{}")
    return made


def rows(writer: psycopg.Connection[Any], statement: str) -> list[tuple[Any, ...]]:
    return writer.execute(statement.encode()).fetchall()


def test_a_frame_is_stored_with_region_and_address(
    store: FrameStore, writer: psycopg.Connection[Any]
) -> None:
    one = frame("a b/c.fits", s_ra=150.0, s_dec=69.5, s_fov=1.3, region=SQUARE)
    assert store.store([one]) == (Counts(added=1), [])
    assert rows(
        writer,
        "SELECT s_region, access_path, access_estsize, area(region) > 0, "
        "tableoid::regclass::text FROM archive.observation",
    ) == [
        (
            "POLYGON ICRS 149 69 151 69 151 70 149 70",
            "c/a%20b/c.fits",
            3,
            True,
            "archive.observation_ra_150",
        )
    ]


def test_a_frame_without_position_goes_to_the_default_partition(
    store: FrameStore, writer: psycopg.Connection[Any]
) -> None:
    store.store([frame("dark.fits")])
    assert rows(writer, "SELECT tableoid::regclass::text FROM archive.observation") == [
        ("archive.observation_no_position",)
    ]


def test_a_changed_file_is_a_new_version_and_the_old_one_is_kept(
    store: FrameStore, writer: psycopg.Connection[Any]
) -> None:
    store.store([frame("a.fits", target_name="old", s_ra=10.0, s_dec=0.0)])
    assert store.store([frame("a.fits", target_name="new", s_ra=200.0, s_dec=0.0)]) == (
        Counts(changed=1),
        [],
    )
    assert rows(
        writer, "SELECT version, current FROM archive.product WHERE path='a.fits' ORDER BY 1"
    ) == [(1, False), (2, True)]
    assert rows(writer, "SELECT target_name FROM archive.observation") == [("new",)]


def test_two_files_with_one_identifier_are_told_apart_or_refused(store: FrameStore) -> None:
    first, second = frame("a.fits"), frame("b.fits")
    clash = replace(second, product=replace(second.product, did=first.product.did))
    counts, refusals = store.store([first, clash])
    assert counts == Counts(added=1)
    [refusal] = refusals
    assert refusal.source == "/store/b.fits"
    assert "is already that of c/a.fits" in refusal.reason
    # And again when the first is in the database already.
    assert store.store([clash])[0] == Counts()


def test_one_frame_that_postgresql_refuses_does_not_take_the_others_with_it(
    store: FrameStore, writer: psycopg.Connection[Any]
) -> None:
    bad = frame("bad.fits", target_name="nul \0 inside", s_ra=1.0, s_dec=1.0)
    worse = frame("worse.fits", s_ra=1.0, s_dec=95.0)
    counts, refusals = store.store([frame("a.fits"), bad, frame("b.fits"), worse])
    assert counts == Counts(added=2)
    assert [r.source for r in refusals] == ["/store/bad.fits", "/store/worse.fits"]
    assert all("not storable" in r.reason for r in refusals)
    assert rows(writer, "SELECT count(*) FROM archive.product") == [(2,)]


def test_the_reach_of_footprint_searches_grows_with_the_widest_footprint(
    store: FrameStore, writer: psycopg.Connection[Any]
) -> None:
    store.store([frame("a.fits", s_ra=150.0, s_dec=69.5, s_fov=2.0, region=SQUARE)])
    store.store([frame("b.fits", s_ra=150.0, s_dec=69.5, s_fov=1.0, region=SQUARE)])
    [(reach,)] = rows(
        writer, "SELECT reach FROM archive.published WHERE table_name = 'ivoa.obscore'"
    )
    assert 1.0 < reach < 1.01


def test_a_circle_is_kept_as_text_and_searched_as_a_polygon_around_it(
    store: FrameStore, writer: psycopg.Connection[Any]
) -> None:
    store.store([frame("a.fits", s_ra=1.0, s_dec=2.0, s_fov=1.0, region=Circle(1.0, 2.0, 0.5))])
    assert rows(
        writer,
        "SELECT s_region, region ~ scircle '<(1d,2d),0.4999d>', "
        "region && scircle '<(1d,2.6d),0.05d>' FROM archive.observation",
    ) == [("CIRCLE ICRS 1 2 0.5", True, False)]


def test_a_refusal_stands_until_the_file_is_mapped(
    store: FrameStore, writer: psycopg.Connection[Any]
) -> None:
    run = store.start_run("c")
    refusal = Refusal(collection="c", source="/store/a.fits", reason="no \0 date", hdu=0)
    store.refuse(run, [refusal, refusal])
    assert rows(writer, "SELECT source, reason FROM archive.refusal") == [
        ("/store/a.fits", "no \N{REPLACEMENT CHARACTER} date")
    ]
    store.store([frame("a.fits")])
    assert rows(writer, "SELECT source FROM archive.refusal") == []


def test_one_ingest_of_a_collection_runs_at_a_time(store: FrameStore, settings: Settings) -> None:
    store.lock("c")
    with (
        psycopg.connect(conninfo(settings, Role.WRITER)) as other,
        pytest.raises(TransientError, match="another ingest of c is running"),
    ):
        FrameStore(other).lock("c")
