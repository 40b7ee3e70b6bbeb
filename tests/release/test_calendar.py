"""The rules of the two archives, day by day: which day is the first that is public.

Days are worked out by hand with a calendar. TriCCS: 18 months, calibration at once, prolonged
proposals, nights on hold. Tomo-e Gozen: 1095 days, 730 days for nights 2019-10-01 to 2020-03-31
of the three large programmes.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.release.archive import Made, Product, make_archive
from vo_service.model.release import Group, Release, plan_group
from vo_service.model.release_lists import Hold, Prolongation
from vo_service.services.ingest import find_collection
from vo_service.services.lists import forget_list, import_list
from vo_service.services.release import release_due
from vo_service.settings import Settings

_ANYWHERE = Settings(home=Path("/nowhere"))
TRICCS = find_collection(_ANYWHERE, "triccs").release
TOMOE = find_collection(_ANYWHERE, "tomoe").release
LARGE = Release.model_validate(
    {
        "days": 1095,
        "exceptions": [
            {
                "name": "early data of the large programmes",
                "proposals": ["LP-1", "LP-2", "LP-3"],
                "nights": ["2019-10-01", "2020-03-31"],
                "days": 730,
            }
        ],
    }
)


@pytest.mark.parametrize(
    ("night", "proposal", "first_day"),
    [
        # 18 months end on the same day of the month, or on its last.
        ("2021-11-09", "21B-N-CN05", "2023-05-09"),
        ("2021-08-31", "21B-N-CN05", "2023-02-28"),
        ("2022-08-31", "22B-N-CN05", "2024-02-29"),  # a leap year
        ("2022-08-30", "22B-N-CN05", "2024-02-29"),
        ("2022-08-29", "22B-N-CN05", "2024-02-29"),
        ("2022-08-28", "22B-N-CN05", "2024-02-28"),
        ("2022-12-31", "22B-N-CN05", "2024-06-30"),
        ("2024-02-29", "24A-N-CN05", "2025-08-29"),
        ("2022-06-30", "22A-N-CN05", "2023-12-30"),
        # Calibration at once, whatever is like its name is not.
        ("2021-11-09", "CAL", "2021-11-09"),
        ("2021-11-09", "CAL2", "2023-05-09"),
        ("2021-11-09", "cal", "2023-05-09"),
        ("2021-11-09", None, "2023-05-09"),
    ],
)
def test_triccs_is_public_after_18_months_and_calibration_at_once(
    night: str, proposal: str | None, first_day: str
) -> None:
    planned = TRICCS.plan(date.fromisoformat(night), proposal)
    assert planned.day == date.fromisoformat(first_day)


@pytest.mark.parametrize(
    ("night", "proposal", "first_day"),
    [
        ("2020-06-17", "Supernova Survey", "2023-06-17"),
        # 2020-04-01 was the first night of the rule that has held since 2023-04-01.
        ("2020-04-01", "LP-1", "2023-04-01"),
        ("2020-03-31", "LP-1", "2022-03-31"),
        ("2020-03-01", "LP-2", "2022-03-01"),
        ("2020-02-29", "LP-2", "2022-02-28"),  # 730 days, and 2020 had one more
        ("2019-10-01", "LP-3", "2021-09-30"),
        ("2019-09-30", "LP-3", "2022-09-29"),
        ("2019-12-01", "somebody else", "2022-11-30"),
        ("2021-03-01", "LP-1", "2024-02-29"),
    ],
)
def test_tomoe_is_public_after_three_years_and_large_programmes_after_two(
    night: str, proposal: str, first_day: str
) -> None:
    planned = LARGE.plan(date.fromisoformat(night), proposal)
    assert planned.day == date.fromisoformat(first_day)
    is_early = proposal.startswith("LP-") and "2019-10-01" <= night <= "2020-03-31"
    said = "early data of the large programmes: 730 days after the night"
    assert planned.rule == (said if is_early else "1095 days after the night")


def test_the_shipped_tomoe_rules_are_those_of_the_large_programmes() -> None:
    assert TOMOE.days == 1095
    [exception] = TOMOE.exceptions
    assert exception.nights == (date(2019, 10, 1), date(2020, 3, 31))
    assert exception.days == 730
    assert exception.holds(date(2020, 3, 31), "Supernova Survey")
    assert not exception.holds(date(2020, 4, 1), "Supernova Survey")
    assert not exception.holds(date(2020, 3, 31), "another")


def test_a_prolongation_lasts_until_its_day_and_never_shortens() -> None:
    group = Group(date(2021, 11, 9), "21B-N-CN05", "TriCCS")
    longer = Prolongation(2, "21B-N-CN05", date(2024, 1, 1), "thesis")
    shorter = Prolongation(3, "21B-N-CN05", date(2023, 1, 1))
    plan = plan_group(group, TRICCS, [longer, shorter], [], date(2023, 6, 1)).result
    assert (plan.day, plan.rule) == (
        date(2024, 1, 1),
        "proposal 21B-N-CN05 prolonged until 2024-01-01 (thesis)",
    )
    plan = plan_group(group, TRICCS, [shorter], [], date(2023, 6, 1)).result
    assert (plan.day, plan.rule) == (date(2023, 5, 9), "18 months after the night")


@pytest.mark.parametrize(
    ("night", "instrument", "today", "is_held"),
    [
        ("2022-12-07", "TriCCS", "2024-07-01", False),
        ("2022-12-08", "TriCCS", "2024-07-01", True),
        ("2022-12-10", "TriCCS", "2024-07-01", True),
        ("2022-12-11", "TriCCS", "2024-07-01", False),
        ("2022-12-08", "KOOLS-IFU", "2024-07-01", False),
        ("2022-12-08", None, "2024-07-01", False),
        ("2022-12-08", "TriCCS", "2024-12-31", True),
        ("2022-12-08", "TriCCS", "2025-01-01", False),
        (None, "TriCCS", "2024-07-01", False),
    ],
)
def test_a_hold_is_for_its_nights_and_instrument_and_ends_on_its_day(
    night: str | None, instrument: str | None, today: str, is_held: bool
) -> None:
    hold = Hold(2, date(2022, 12, 8), date(2022, 12, 10), "TriCCS", date(2025, 1, 1), "mirrored")
    when = date.fromisoformat(night) if night else None
    assert hold.holds(when, instrument, date.fromisoformat(today)) is is_held


def _is_public_on(made: Made, path: str, day: date) -> bool:
    done = release_due(made.settings, day)
    assert done.problems == []
    assert made.linked() == made.public()
    return path in made.public()


def _boundary(made: Made, path: str, first_day: date) -> None:
    """Closed the day before, public on the day and on the day after; and back again."""
    for offset, expected in ((-1, False), (0, True), (1, True), (-1, False)):
        day = first_day + timedelta(offset)
        assert _is_public_on(made, path, day) is expected, (path, day)


_RULES = {"months": 18, "exceptions": [{"proposals": "CAL", "days": 0}]}
_NIGHT = date(2022, 8, 31)


@pytest.fixture
def triccs(made: Made) -> Made:
    make_archive(
        made,
        _RULES,
        [
            Product("a/TRCS1.fits", _NIGHT, "P1", "TriCCS"),
            Product("a/TRCS2.fits.fz", _NIGHT, "P2", "TriCCS"),
            Product("a/dark.fits", _NIGHT, "CAL", "TriCCS"),
            Product("b/TRCS1.fits", date(2022, 9, 1), "P1", "TriCCS"),
            Product("b/other.fits", date(2022, 9, 1), "P2", "Other"),
        ],
    )
    return made


def test_boundary_days_of_the_rule_and_of_calibration(triccs: Made) -> None:
    _boundary(triccs, "a/TRCS1.fits", date(2024, 2, 29))
    _boundary(triccs, "b/TRCS1.fits", date(2024, 3, 1))
    _boundary(triccs, "a/dark.fits", _NIGHT)


def test_boundary_days_of_a_prolongation(triccs: Made) -> None:
    file = triccs.put_list("prolonged.csv", "proposal_id,until,reason\nP1,2025-04-01,thesis\n")
    import_list(triccs.settings, "c", file)
    _boundary(triccs, "a/TRCS1.fits", date(2025, 4, 1))
    _boundary(triccs, "a/TRCS2.fits.fz", date(2024, 2, 29))
    forget_list(triccs.settings, "c", "prolonged.csv")
    _boundary(triccs, "a/TRCS1.fits", date(2024, 2, 29))


def test_boundary_days_of_a_hold_over_calibration_too(triccs: Made) -> None:
    file = triccs.put_list(
        "holds.tsv",
        "night\tlast_night\tinstrument\tuntil\n2022-08-30\t2022-08-31\tTriCCS\t2026-01-01\n",
    )
    import_list(triccs.settings, "c", file)
    _boundary(triccs, "a/dark.fits", date(2026, 1, 1))
    _boundary(triccs, "a/TRCS1.fits", date(2026, 1, 1))
    _boundary(triccs, "b/TRCS1.fits", date(2024, 3, 1))


def test_a_hold_without_an_end_lasts_until_it_is_forgotten(triccs: Made) -> None:
    file = triccs.put_list("holds.csv", "night,reason\n2022-09-01,test night\n")
    assert _is_public_on(triccs, "b/other.fits", date(2030, 1, 1))
    import_list(triccs.settings, "c", file)
    assert not _is_public_on(triccs, "b/other.fits", date(2030, 1, 1))
    assert triccs.states()["b/other.fits"] == ("arrived", None)
    forget_list(triccs.settings, "c", "holds.csv")
    assert _is_public_on(triccs, "b/other.fits", date(2030, 1, 1))


def test_early_release_and_private_again_by_list(triccs: Made) -> None:
    file = triccs.put_list(
        "frames.csv",
        "frame,state,since\n"
        "TRCS2,public,2023-03-01\nb/TRCS1.fits,public,2023-03-01\n"
        "TRCS2,private,2023-06-01\nTRCS2,public,2023-09-01\n",
    )
    import_list(triccs.settings, "c", file)
    _boundary(triccs, "b/TRCS1.fits", date(2023, 3, 1))
    days = {date(2023, 2, 28): False, date(2023, 3, 1): True, date(2023, 5, 31): True,
            date(2023, 6, 1): False, date(2023, 8, 31): False, date(2023, 9, 1): True}  # fmt: skip
    for day, expected in days.items():
        assert _is_public_on(triccs, "a/TRCS2.fits.fz", day) is expected, day
    assert "a/TRCS1.fits" not in triccs.public()


def test_what_is_private_again_stays_so_after_its_embargo(triccs: Made) -> None:
    file = triccs.put_list("back.csv", "frame\nTRCS2.fits.fz\n")
    import_list(triccs.settings, "c", file, state="private", since="2024-06-01")
    assert _is_public_on(triccs, "a/TRCS2.fits.fz", date(2024, 5, 31))
    assert not _is_public_on(triccs, "a/TRCS2.fits.fz", date(2024, 6, 1))
    assert not _is_public_on(triccs, "a/TRCS2.fits.fz", date(2040, 1, 1))


def test_a_later_list_overrules_an_earlier_one_of_the_same_day(triccs: Made) -> None:
    for name, state in (("one.csv", "public"), ("two.csv", "private"), ("three.csv", "public")):
        file = triccs.put_list(name, f"frame,state,since\nTRCS2,{state},2023-01-01\n")
        import_list(triccs.settings, "c", file)
        is_public = _is_public_on(triccs, "a/TRCS2.fits.fz", date(2023, 1, 1))
        assert is_public is (state == "public")


def test_a_hold_wins_over_early_release(triccs: Made) -> None:
    early = triccs.put_list("early.csv", "frame,state,since\nTRCS2,public,2023-01-01\n")
    held = triccs.put_list("held.csv", "night,until\n2022-08-31,2023-07-01\n")
    import_list(triccs.settings, "c", early)
    import_list(triccs.settings, "c", held)
    _boundary(triccs, "a/TRCS2.fits.fz", date(2023, 7, 1))
    _boundary(triccs, "a/TRCS1.fits", date(2024, 2, 29))


def test_an_early_release_wins_over_a_prolongation(triccs: Made) -> None:
    early = triccs.put_list("early.csv", "frame,state,since\nTRCS2,public,2023-01-01\n")
    prolonged = triccs.put_list("prolonged.csv", "proposal_id,until\nP2,2030-01-01\n")
    import_list(triccs.settings, "c", early)
    import_list(triccs.settings, "c", prolonged)
    _boundary(triccs, "a/TRCS2.fits.fz", date(2023, 1, 1))
    _boundary(triccs, "b/other.fits", date(2030, 1, 1))


def test_every_change_of_state_tells_when_by_which_rule_and_by_whom(triccs: Made) -> None:
    release_due(triccs.settings, date(2024, 2, 29))
    held = triccs.put_list("held.csv", "night,reason\n2022-08-31,fault of the shutter\n")
    import_list(triccs.settings, "c", held)
    release_due(triccs.settings, date(2024, 2, 29))
    rows = triccs.connection.execute(
        "SELECT p.path, old_state, new_state, rule, actor <> '' FROM archive.state_change "
        "JOIN archive.product p USING (product_id) WHERE p.path IN ('a/TRCS1.fits', 'a/dark.fits') "
        "ORDER BY p.path, change_id"
    ).fetchall()
    hold = "hold of night 2022-08-31 (fault of the shutter)"
    assert rows == [
        ("a/TRCS1.fits", "arrived", "public", "18 months after the night", True),
        ("a/TRCS1.fits", "public", "arrived", hold, True),
        ("a/dark.fits", "arrived", "public", "proposals CAL: at once", True),
        ("a/dark.fits", "public", "arrived", hold, True),
    ]
