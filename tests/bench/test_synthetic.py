"""The synthetic archive: what its numbers are, and that a load leaves the schema as it was."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from tests.support import settings_at
from vo_service.bench.archive import Loaded, fill
from vo_service.bench.figures import Figure, Target
from vo_service.bench.synthetic import COLLECTION, Synthetic
from vo_service.db.bulk import build_indexes, drop_indexes
from vo_service.db.connect import Role, conninfo
from vo_service.db.schema import upgrade
from vo_service.errors import ConfigError
from vo_service.services.release import release_due
from vo_service.settings import Settings

INDEXES = (
    "SELECT tablename, regexp_replace(indexdef, 'INDEX \\S+ ON', 'ON') FROM pg_indexes "
    "WHERE schemaname = 'archive' ORDER BY 1, 2"
)


def observations(archive: Synthetic) -> pa.Table:
    return pa.concat_tables([table for _, table in archive.blocks()])


def test_an_exposure_has_84_chips_on_one_field_and_a_larger_archive_begins_like_a_smaller() -> None:
    small = observations(Synthetic(1000))
    assert small.num_rows == 1000
    names, counts = np.unique(small["obs_id"].to_numpy(), return_counts=True)
    assert len(names) == 12  # 11 whole exposures and 76 chips
    assert sorted(counts)[1:] == [84] * 11
    assert observations(Synthetic(1000)).equals(small)
    assert not observations(Synthetic(1000, seed=2)).equals(small)


def test_chips_are_as_large_as_those_of_the_camera_and_lie_about_the_pointing() -> None:
    first = observations(Synthetic(84))
    centre = SkyCoord(first["s_ra"].to_numpy(), first["s_dec"].to_numpy(), unit="deg")
    corners = [
        SkyCoord(*np.array(text.split()[2:], float).reshape(4, 2).T, unit="deg")
        for text in first["s_region"].to_pylist()
    ]
    # 2160 x 1200 pixels of 1.189", seen a few degrees from the middle of a gnomonic plane.
    widths = [c[0].separation(c[1]).to_value(u.arcmin) for c in corners]
    heights = [c[1].separation(c[2]).to_value(u.arcmin) for c in corners]
    assert widths == pytest.approx([2160 * 1.189 / 60] * 84, rel=0.01)
    assert heights == pytest.approx([1200 * 1.189 / 60] * 84, rel=0.01)
    for middle, four in zip(centre, corners, strict=True):
        assert max(middle.separation(four).deg) <= first["s_fov"][0].as_py() / 2
    assert max(centre[0].separation(centre).deg) < 9.5  # the camera's field of view


def test_a_load_builds_every_index_again_and_is_not_repeated(
    own_database_url: str, tmp_path: Path
) -> None:
    settings = settings_at(own_database_url, tmp_path)
    upgrade(settings)
    before = asked(settings, INDEXES)
    archive = Synthetic(500)
    loaded = fill(settings, archive, progress=lambda *_: None)
    assert loaded is not None
    assert asked(settings, INDEXES) == before
    assert asked(settings, "SELECT count(*) FROM archive.dropped_index") == [(0,)]
    assert asked(settings, "SELECT count(*), count(region), count(position) FROM archive.obscore")[
        0
    ] == (500, 500, 500)
    known = fill(settings, archive, progress=lambda *_: None)
    assert known == Loaded(500, round(loaded.copy_s, 1), round(loaded.index_s, 1))
    with pytest.raises(ConfigError, match="another archive: Synthetic: 500 rows of seed 1"):
        fill(settings, Synthetic(501), progress=lambda *_: None)


def test_a_worker_finds_nothing_to_release(own_database_url: str, tmp_path: Path) -> None:
    settings = settings_at(own_database_url, tmp_path)
    fill(settings, Synthetic(500), progress=lambda *_: None)
    done = release_due(settings, date(2026, 1, 1), collections=[COLLECTION])
    assert (done.count, done.planned, done.problems) == (0, 0, [])


def test_indexes_that_a_killed_load_took_away_are_found_and_built(
    own_database_url: str, tmp_path: Path
) -> None:
    settings = settings_at(own_database_url, tmp_path)
    upgrade(settings)
    before = asked(settings, INDEXES)
    owner = conninfo(settings, Role.OWNER)
    with psycopg.connect(owner) as connection:
        names = drop_indexes(connection, "archive.observation")
    assert "observation_region" in names
    assert asked(settings, INDEXES) != before
    with psycopg.connect(owner) as connection:  # the next one to try finds nothing more to drop
        assert drop_indexes(connection, "archive.observation") == []
    assert build_indexes(owner, at_once=2) == len(names) * 37
    assert asked(settings, INDEXES) == before
    assert build_indexes(owner, at_once=2) == 0


def test_a_database_with_other_collections_is_left_alone(
    own_database_url: str, tmp_path: Path
) -> None:
    settings = settings_at(own_database_url, tmp_path)
    upgrade(settings)
    asked(
        settings,
        "INSERT INTO archive.collection (name, title, definition) VALUES ('ours', 'Ours', '{}') "
        "RETURNING name",
    )
    with pytest.raises(ConfigError, match="bench works in an empty one only"):
        fill(settings, Synthetic(100), progress=lambda *_: None)


@pytest.mark.parametrize(
    ("target", "value", "reference", "reached"),
    [
        (Target("ratio", 1.3), 1.3, 1.0, True),
        (Target("ratio", 1.3), 1.31, 1.0, False),
        (Target("over", 4), 5.0, 1.0, True),
        (Target("over", 4), 5.1, 1.0, False),
        (Target("value", 500, at_least=True), 499.0, None, False),
        (Target("value", 500, at_least=True), 500.0, None, True),
    ],
)
def test_a_target_bounds_value_ratio_or_excess(
    target: Target, value: float, reference: float | None, reached: bool
) -> None:
    assert Figure("g", "n", value, "", reference, target).reached is reached


def asked(settings: Settings, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(settings.database_url or "") as connection:
        return connection.execute(statement.encode()).fetchall()
