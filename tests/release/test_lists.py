"""Lists are taken whole or not at all, and a mistake is told with file, line and field."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.release.archive import Made, Product, make_archive
from vo_service.errors import ConfigError, NotFoundError
from vo_service.model.release_lists import FrameDecision, Hold, Kind, Prolongation
from vo_service.model.release_lists import read_release_list as read
from vo_service.services.lists import forget_list, import_list, imported_lists
from vo_service.services.release import preview, release_due

_TODAY = date(2024, 6, 1)


def _file(place: Path, content: str | bytes, name: str = "list.csv") -> Path:
    file = place / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def test_kinds_are_told_apart_by_their_columns(tmp_path: Path) -> None:
    found = read(_file(tmp_path, "until,proposal_id\n2024-02-29,21B-N-CN05\n"))
    assert found.kind is Kind.PROLONGATIONS
    assert found.entries == [Prolongation(2, "21B-N-CN05", date(2024, 2, 29))]
    found = read(_file(tmp_path, "night\tinstrument\treason\n2022-12-08\tTriCCS\tmirrored, a\n"))
    night = date(2022, 12, 8)
    assert found.entries == [Hold(2, night, night, "TriCCS", None, "mirrored, a")]
    found = read(_file(tmp_path, "frame\nTRCS1\n"), state="public", since="2024-01-01")
    assert found.entries == [FrameDecision(2, "TRCS1", "public", date(2024, 1, 1))]


def test_comments_blank_lines_quotes_crlf_and_a_mark_at_the_start_are_read(tmp_path: Path) -> None:
    text = (
        "\N{ZERO WIDTH NO-BREAK SPACE}# from the observatory\r\n\r\nproposal_id,until,reason\r\n"
        '"A, B",2024-01-01,"said ""so"""\r\n  \r\n\N{GREEK SMALL LETTER ALPHA},2024-01-02,\r\n'
    )
    assert read(_file(tmp_path, text)).entries == [
        Prolongation(4, "A, B", date(2024, 1, 1), 'said "so"'),
        Prolongation(6, "\N{GREEK SMALL LETTER ALPHA}", date(2024, 1, 2)),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("proposal_id,until\nA,2024-02-30\n",
         "line 2: until: there is no such day in the calendar, found '2024-02-30'"),
        ("proposal_id,until\nA,01/02/2024\n",
         "line 2: until: expected a date as YYYY-MM-DD, found '01/02/2024'"),
        ("proposal_id,until\nA,２０２４-01-01\n", "line 2: until: expected a date as YYYY-MM-DD"),
        ("proposal_id,until\nA,\n", "line 2: until: is empty"),
        ("proposal_id,until\n,2024-01-01\n", "line 2: proposal_id: is empty"),
        ("proposal_id,until\nA\n", "line 2: expected 2 fields, found 1"),
        ("proposal_id,until\nA,2024-01-01,x\n", "line 2: expected 2 fields, found 3"),
        ("proposal_id,until\nA,2024-01-01\n#\nA,2024-01-02\n", "line 4: says again what line 2"),
        ("night,last_night\n2024-01-02,2024-01-01\n",
         "line 2: last_night: expected a night that is not before night"),
        ("night\n2024-01-02\n2024-01-02\n", "line 3: says again what line 2 says"),
        ("frame,state,since\nf,open,2024-01-01\n",
         "line 2: state: expected public or private, found 'open'"),
        ("frame,state,since\n../f,public,2024-01-01\n",
         "line 2: frame: expected a file's name or its path below the collection, found '../f'"),
        ("frame,state,since\nf,public,2024-01-01\nf,private,2024-01-01\n", "line 3: says again"),
        ("frame,state,since\n\x1b[31m,public,2024-01-01\n", "line 2: frame: expected printable"),
        ("A,2024-01-01\n", "line 1: found the columns A, 2024-01-01; expected a first line with"),
        ("proposal_id,until,until\nA,2024-01-01,2024-01-01\n",
         "line 1: the column until is given twice"),
        ("proposal_id;until\nA;2024-01-01\n", "line 1: found the columns proposal_id;until"),
        ("", "is empty; expected a first line with proposal_id, until [reason] (prolongations)"),
        ("# nothing\n", "is empty"),
        ("proposal_id,until\nA,2024\0-01-01\n", "line 2: expected text, found a NUL character"),
        ("proposal_id,until\n\N{HIRAGANA LETTER A},2024-01-01\n".encode("euc-jp"),
         "line 2: expected text in UTF-8, found the byte 0xa4"),
        ("proposal_id,until\nA,2024-01-01\n".encode("utf-16"),
         "line 1: expected text in UTF-8, found the byte 0xff"),
        ("proposal_id,until\nA,2024-01-01\n" + "x" * 300_000, "line 3: expected 2 fields, found 1"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(tmp_path: Path, content: str | bytes, said: str) -> None:
    file = _file(tmp_path, content)
    with pytest.raises(ConfigError) as told:
        read(file)
    assert str(told.value).startswith(f"{file}: ")
    assert said in str(told.value)


def test_all_mistakes_are_told_at_once_but_no_more_than_ten(tmp_path: Path) -> None:
    lines = "".join(f"P{n},tomorrow\n" for n in range(25))
    with pytest.raises(ConfigError) as told:
        read(_file(tmp_path, f"proposal_id,until\n{lines}"))
    said = str(told.value).splitlines()
    assert len(said) == 11
    assert said[-1] == "... and 15 more mistakes"


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: f"frame,state,since\n{t}"))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_file_holds_it_is_a_list_or_a_mistake(
    tmp_path: Path, content: str | bytes
) -> None:
    raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    with suppress(ConfigError):
        assert all(entry.line > 1 for entry in read(_file(tmp_path, raw)).entries)


@pytest.fixture
def archive(made: Made) -> Made:
    nights = (date(2022, 1, 1), date(2022, 1, 2))
    make_archive(
        made,
        {"days": 365},
        [
            Product("a/f1.fits", nights[0], "P1", "X"),
            Product("a/f2.fits", nights[1], "P2", "X"),
            Product("b/f2.fits", nights[1], "P2", "X"),
        ],
    )
    return made


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("proposal_id,until\nP1,2025-01-01\nP3,2025-01-01\n",
         "line 3: no frame here belongs to the proposal 'P3'"),
        ("night,instrument\n2022-01-01,Y\n", "line 2: no frame here is of the instrument 'Y'"),
        ("frame,state,since\nf3,private,2022-01-01\n", "line 2: there is no frame 'f3'"),
        ("frame,state,since\nf2,public,2022-01-01\n",
         "line 2: 2 files are called 'f2': expected the path of one"),
    ],
)  # fmt: skip
def test_names_that_nobody_knows_are_told_and_nothing_is_taken(
    archive: Made, content: str, said: str
) -> None:
    file = archive.put_list("list.csv", content)
    with pytest.raises(ConfigError) as told:
        import_list(archive.settings, "c", file)
    assert said in str(told.value)
    assert "--allow-unknown" in str(told.value)
    assert imported_lists(archive.settings) == []
    taken = import_list(archive.settings, "c", file, allow_unknown=True)
    assert [item.lines for item in imported_lists(archive.settings)] == [len(taken.entries)]


def test_a_wrong_list_leaves_the_one_before_it_in_place(archive: Made) -> None:
    file = archive.put_list("list.csv", "proposal_id,until\nP1,2025-01-01\n")
    import_list(archive.settings, "c", file)
    file.write_text("proposal_id,until\nP1,2023-01-01\nP2,soon\n")
    with pytest.raises(ConfigError, match="line 3: until"):
        import_list(archive.settings, "c", file)
    release_due(archive.settings, _TODAY)
    assert archive.public() == {"a/f2.fits", "b/f2.fits"}


def test_a_list_of_the_same_name_replaces_the_one_before_it(archive: Made) -> None:
    file = archive.put_list("list.csv", "proposal_id,until\nP1,2025-01-01\nP2,2025-01-01\n")
    import_list(archive.settings, "c", file)
    file.write_text("proposal_id,until\nP2,2025-01-01\n")
    import_list(archive.settings, "c", file)
    release_due(archive.settings, _TODAY)
    assert archive.public() == {"a/f1.fits"}


def test_a_list_of_a_collection_that_is_not_here_is_refused(archive: Made) -> None:
    file = archive.put_list("list.csv", "proposal_id,until\nP1,2025-01-01\n")
    with pytest.raises(NotFoundError, match="nothing of a collection 'd' has been ingested"):
        import_list(archive.settings, "d", file)
    with pytest.raises(NotFoundError, match=r"no list 'list\.csv' was imported"):
        forget_list(archive.settings, "c", "list.csv")


def test_a_name_of_several_files_closes_all_and_opens_none(archive: Made) -> None:
    early = archive.put_list("early.csv", "frame,state,since\nf2,public,2022-02-01\n")
    import_list(archive.settings, "c", early, allow_unknown=True)
    release_due(archive.settings, date(2022, 3, 1))
    assert archive.public() == set()
    early.write_text("frame,state,since\nb/f2.fits,public,2022-02-01\n")
    import_list(archive.settings, "c", early)
    release_due(archive.settings, date(2022, 3, 1))
    assert archive.public() == {"b/f2.fits"}
    back = archive.put_list("back.csv", "frame,state,since\nf2,private,2022-02-01\n")
    import_list(archive.settings, "c", back, allow_unknown=True)
    release_due(archive.settings, _TODAY)
    assert archive.public() == {"a/f1.fits"}


_COLLECTION = """
name: c
title: C
facility: F
instrument: I
obscore: {calib_level: 1, obs_id: {keyword: A}}
release:
  days: 365
  lists: [LISTS]
"""


def _by_file(archive: Made, lists: str) -> Path:
    file = archive.settings.home / "c.yaml"
    file.write_text(_COLLECTION.replace("LISTS", lists))
    archive.connection.execute(
        "UPDATE archive.collection SET file = %s WHERE name = 'c'", (str(file),)
    )
    return file


def test_lists_beside_the_collection_file_are_read_again_when_they_change(archive: Made) -> None:
    beside = archive.put_list("held.csv", "night\n2022-01-01\n")
    _by_file(archive, "held.csv")
    release_due(archive.settings, _TODAY)
    assert archive.public() == {"a/f2.fits", "b/f2.fits"}
    [listed] = imported_lists(archive.settings)
    assert (listed.name, listed.by_file) == (str(beside), True)
    beside.write_text("night\n2022-01-02\n")
    release_due(archive.settings, _TODAY)
    assert archive.public() == {"a/f1.fits"}
    _by_file(archive, "")
    release_due(archive.settings, _TODAY)
    assert len(archive.public()) == 3
    assert imported_lists(archive.settings) == []


@pytest.mark.parametrize(
    "content", ["night\nsoon\n", "night,instrument\n2022-01-01,Y\n", b"night\n\xff\n", None]
)
def test_a_wrong_list_beside_the_file_stops_what_it_is_about_and_nothing_else(
    archive: Made, content: str | bytes | None
) -> None:
    make_archive(archive, {"days": 0}, [Product("g.fits", date(2024, 1, 1))], "other")
    if content is not None:
        _file(archive.settings.home, content, "held.csv")
    _by_file(archive, "held.csv")
    with preview(archive.settings, _TODAY) as found:
        problems = [one.problem for one in found]
    done = release_due(archive.settings, _TODAY)
    assert len(done.problems) == 1
    assert str(archive.settings.home / "held.csv") in done.problems[0]
    assert problems == [done.problems[0], None]
    assert archive.public() == set()
    assert archive.public("other") == {"g.fits"}
    _file(archive.settings.home, "night\n2022-01-01\n", "held.csv")
    assert release_due(archive.settings, _TODAY).problems == []
    assert archive.public() == {"a/f2.fits", "b/f2.fits"}


def test_what_is_public_stays_public_while_rules_cannot_be_read(archive: Made) -> None:
    file = _by_file(archive, "")
    release_due(archive.settings, _TODAY)
    file.write_text("name: c\nrelease: {days: soon}\n")
    done = release_due(archive.settings, date(2000, 1, 1))
    assert len(done.problems) == 1
    assert "release.days" in done.problems[0]
    assert len(archive.public()) == 3


def test_a_collection_file_that_has_gone_leaves_its_rules(archive: Made) -> None:
    file = _by_file(archive, "")
    file.write_text(file.read_text().replace("days: 365", "days: 1"))
    release_due(archive.settings, date(2022, 1, 2))
    assert archive.public() == {"a/f1.fits"}
    file.unlink()
    release_due(archive.settings, date(2022, 1, 3))
    assert len(archive.public()) == 3


def test_a_dry_run_may_be_left_before_its_end(archive: Made) -> None:
    make_archive(archive, {"days": 0}, [Product("g.fits", date(2024, 1, 1))], "other")
    with preview(archive.settings, _TODAY) as found:
        assert next(next(found).steps).path == "a/f1.fits"
    assert release_due(archive.settings, _TODAY).count == 4


def test_a_dry_run_changes_nothing_and_tells_all(archive: Made) -> None:
    release_due(archive.settings, date(2023, 1, 1))  # P1 is public
    archive.put_list("held.csv", "night,until,reason\n2022-01-01,2025-01-01,fault\n")
    _by_file(archive, "held.csv")
    before = archive.states()
    with preview(archive.settings, _TODAY) as found:
        [(actions, steps)] = [(one.actions, list(one.steps)) for one in found]
    told = [(a.action, a.rule, a.files, a.size, a.examples) for a in actions]
    assert told == [
        ("close", "hold of night 2022-01-01 until 2025-01-01 (fault)", 1, 8, ["a/f1.fits"]),
        ("publish", "365 days after the night", 2, 16, ["a/f2.fits", "b/f2.fits"]),
    ]
    assert [(s.action, s.path, s.old_day, s.day) for s in steps] == [
        ("close", "a/f1.fits", date(2023, 1, 1), date(2025, 1, 1)),
        ("publish", "a/f2.fits", date(2023, 1, 2), date(2023, 1, 2)),
        ("publish", "b/f2.fits", date(2023, 1, 2), date(2023, 1, 2)),
    ]
    assert archive.states() == before
    assert imported_lists(archive.settings) == []
    done = release_due(archive.settings, _TODAY)
    assert (done.count, done.closed, done.planned) == (2, 1, 1)


def test_new_frames_of_a_list_that_came_before_them_are_not_published(archive: Made) -> None:
    file = archive.put_list("later.csv", "frame,state,since\nf9,private,2020-01-01\n")
    import_list(archive.settings, "c", file, allow_unknown=True)
    release_due(archive.settings, _TODAY)
    archive.connection.execute(
        "INSERT INTO archive.product (collection, path, did, source, size, modified, media_type, "
        "night, headers, release_date, release_rule, frame_id) SELECT collection, 'a/f9.fits', "
        "'ivo://9', source, size, modified, media_type, night, headers, release_date, "
        "release_rule, 'f9' "
        "FROM archive.product WHERE path = 'a/f1.fits'"
    )
    release_due(archive.settings, _TODAY)
    assert archive.states()["a/f9.fits"] == ("arrived", None)
