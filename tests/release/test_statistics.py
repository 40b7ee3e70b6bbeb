"""Counts that everybody may query, and the outlook of the operator."""

from __future__ import annotations

from datetime import date
from typing import Any

import psycopg
import pytest

from tests.release.archive import Made, Product, make_archive
from vo_service.db.connect import Role, conninfo
from vo_service.services.outlook import look_out, transfers
from vo_service.services.release import release_due

#: A Wednesday.
_TODAY = date(2024, 5, 1)


def _as_reader(made: Made, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(conninfo(made.settings, Role.READER)) as reader:
        return reader.execute(statement.encode()).fetchall()


@pytest.fixture
def archive(made: Made) -> Made:
    make_archive(
        made,
        {"days": 100_000, "exceptions": [{"proposals": "CAL", "days": 0}]},
        [
            Product("1", date(2024, 1, 1), "CAL", "X"),
            Product("2", date(2024, 1, 1), "P", "X"),
            Product("3", date(2024, 1, 1), "P", "Y"),
            Product("4", date(2024, 1, 2), "P", None),
            Product("5", None, "CAL", "X"),
        ],
    )
    release_due(made.settings, _TODAY)
    return made


def test_nights_count_files_and_bytes_and_those_that_are_public(archive: Made) -> None:
    columns = "night, instrument_name, files, volume, public_files, public_volume"
    statement = f"SELECT collection, {columns} FROM archive_stats.night ORDER BY 2, 3"
    assert _as_reader(archive, statement) == [
        ("c", "2024-01-01", "X", 2, 16, 1, 8),
        ("c", "2024-01-01", "Y", 1, 8, 0, 0),
        ("c", "2024-01-02", None, 1, 8, 0, 0),
    ]


def test_frames_that_nobody_may_know_of_are_not_counted(archive: Made) -> None:
    archive.connection.execute("UPDATE archive.product SET closed = true WHERE path IN ('2', '4')")
    statement = "SELECT night, instrument_name, files FROM archive_stats.night ORDER BY 1, 2"
    assert _as_reader(archive, statement) == [("2024-01-01", "X", 1), ("2024-01-01", "Y", 1)]
    weeks = "SELECT sum(files)::int FROM archive_stats.release_week"
    assert _as_reader(archive, weeks) == [(1,)]


def test_frames_that_were_withdrawn_or_replaced_are_not_counted(archive: Made) -> None:
    archive.connection.execute("UPDATE archive.product SET state = 'withdrawn' WHERE path = '1'")
    archive.connection.execute(
        "UPDATE archive.product SET state = 'replaced', current = false WHERE path = '2'"
    )
    archive.connection.execute("DELETE FROM archive.product WHERE path = '4'")
    statement = "SELECT night, instrument_name, files FROM archive_stats.night"
    assert _as_reader(archive, statement) == [("2024-01-01", "Y", 1)]


@pytest.mark.parametrize(
    "condition",
    ["1 / (length(night) - 10) = 1", "1 / length(replace(instrument_name, 'Z', '')) = 2"],
)
def test_an_expression_that_fails_tells_nothing_of_what_is_closed(
    archive: Made, condition: str
) -> None:
    archive.connection.execute("UPDATE archive.product SET closed = true, instrument = 'Z'")
    assert _as_reader(archive, f"SELECT * FROM archive_stats.night WHERE {condition}") == []


def test_the_reader_sees_the_views_and_nothing_behind_them(archive: Made) -> None:
    for table in ("volume", "release_list", "decided", "release_run"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            _as_reader(archive, f"SELECT * FROM archive.{table}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        _as_reader(archive, "SELECT archive.fold_volume()")


@pytest.fixture
def coming(made: Made) -> Made:
    """Releases on Sunday, on Monday, a week later, in seven weeks, and never."""
    days = [date(2024, 5, 5), date(2024, 5, 6), date(2024, 5, 13), date(2024, 6, 23)]
    late = [date(2024, 6, 24), date(2030, 1, 1)]
    make_archive(
        made,
        {"days": 0, "lists": []},
        [*(Product(f"{day}", day, "P", "X") for day in [*days, *late]),
         Product("held", date(2024, 1, 1), "P", "X")],
    )  # fmt: skip
    made.connection.execute(
        "WITH l AS (INSERT INTO archive.release_list (collection, name, kind, by_file, digest, "
        "lines, actor) VALUES ('c', 'l', 'holds', false, '', 1, '') RETURNING list_id) "
        "INSERT INTO archive.hold SELECT list_id, 1, '2024-01-01', '2024-01-01' FROM l"
    )
    release_due(made.settings, _TODAY)
    return made


def test_weeks_begin_on_monday_and_what_has_no_day_comes_last(coming: Made) -> None:
    found = look_out(coming.settings, _TODAY, nights=2, weeks=8)
    assert [(w.week, w.files, w.size, w.later) for w in found.weeks] == [
        (date(2024, 4, 29), 1, 8, False),
        (date(2024, 5, 6), 1, 8, False),
        (date(2024, 5, 13), 1, 8, False),
        (date(2024, 6, 17), 1, 8, False),
        (date(2024, 6, 24), 2, 16, True),
        (None, 1, 8, False),
    ]
    assert [(n.night, n.files) for n in found.nights] == [
        (date(2030, 1, 1), 1), (date(2024, 6, 24), 1),
    ]  # fmt: skip
    [line] = found.collections
    assert (line.files, line.size, line.public, line.waiting) == (7, 56, 0, 7)
    assert found.last_release is not None
    assert (found.last_release.day, found.last_release.planned) == (_TODAY, 7)
    assert found.warnings == []


def test_a_week_above_the_set_volume_is_warned_of(coming: Made) -> None:
    make_archive(coming, {"days": 0}, [Product("a", date(2024, 5, 8))], "d")
    release_due(coming.settings, _TODAY)
    coming.connection.execute("UPDATE archive.product SET size = 8000000000000")
    settings = coming.settings.model_copy(update={"release_week_bytes": 15 * 10**12})
    assert look_out(settings, _TODAY, nights=1, weeks=8).warnings == [
        "week of 2024-05-06: 16 TB are to be released, more than the 15 TB of release_week_bytes"
    ]
    settings = coming.settings.model_copy(update={"release_week_bytes": 16 * 10**12})
    assert look_out(settings, _TODAY, nights=1, weeks=8).warnings == []


def test_an_empty_archive_has_an_empty_outlook(made: Made) -> None:
    found = look_out(made.settings, _TODAY, nights=5, weeks=8)
    assert (found.collections, found.nights, found.weeks, found.warnings) == ([], [], [], [])
    assert found.last_release is None


def test_counts_stay_right_while_several_write_and_one_folds(archive: Made) -> None:
    url = archive.settings.database_url
    assert url is not None
    with psycopg.connect(url) as one, psycopg.connect(url) as two:
        one.execute("UPDATE archive.product SET state = 'withdrawn' WHERE path = '1'")
        two.execute("UPDATE archive.product SET state = 'withdrawn' WHERE path = '2'")
        archive.connection.execute("SELECT archive.fold_volume()")
        one.commit()
        archive.connection.execute("SELECT archive.fold_volume()")
        two.rollback()
    archive.connection.execute("SELECT archive.fold_volume()")
    rows = archive.connection.execute(
        "SELECT state, sum(files)::int FROM archive.volume GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert rows == [("arrived", 3), ("public", 1), ("withdrawn", 1)]


def test_the_transfer_table_says_where_from_and_why_when(archive: Made) -> None:
    archive.connection.execute("UPDATE archive.product SET origin = 'kiso' WHERE path = '1'")
    with transfers(archive.settings, night=date(2024, 1, 1), limit=10) as found:
        lines = {line.path: line for line in found}
    assert set(lines) == {"1", "2", "3"}
    line = lines["1"]
    assert (line.origin, line.size, line.release_date) == ("kiso", 8, date(2024, 1, 1))
    assert line.release_rule == "proposals CAL: at once"
    with transfers(archive.settings, limit=2) as found:
        assert [line.path for line in found] == ["5", "4"]
