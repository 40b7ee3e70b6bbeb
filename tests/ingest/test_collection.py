"""Collection files: what is accepted, what is said of a mistake, when a frame is public."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vo_service.errors import ConfigError
from vo_service.model.collection import Collection, load_collection

_SHIPPED = Path(__file__).parents[2] / "vo_service" / "collections"

_LEAST: dict[str, Any] = {
    "name": "tomoe",
    "title": "A collection",
    "facility": "F",
    "instrument": "I",
    "obscore": {"calib_level": 2, "obs_id": {"keyword": "EXP_ID"}},
    "release": {"months": 18},
}


def _load(tmp_path: Path, changes: dict[str, Any]) -> Collection:
    values = {key: value for key, value in (_LEAST | changes).items() if value is not ...}
    file = tmp_path / "tomoe.yaml"
    file.write_text(yaml.safe_dump(values), "utf-8")
    return load_collection(file)


@pytest.mark.parametrize("name", ["tomoe", "triccs", "subaru"])
def test_the_shipped_collections_load_under_their_names(name: str) -> None:
    collection = load_collection(_SHIPPED / f"{name}.yaml")
    assert collection.name == name
    assert {"s_ra", "s_dec", "s_fov", "s_region", "t_min", "t_max"} <= collection.obscore.keys()


def test_the_example_of_the_documentation_loads(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "collections.md").read_text("utf-8")
    file = tmp_path / "mycam.yaml"
    file.write_text(page.split("```yaml\n")[1].split("```")[0], "utf-8")
    collection = load_collection(file)
    assert collection.release.plan(date(2019, 10, 1), "LP-7").day == date(2021, 9, 30)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"release": {"months": "x"}},
            'release.months: expected a whole number above 0, found "x"',
        ),
        ({"release": {"months": 0}}, "release.months: expected a whole number above 0, found 0"),
        ({"release": {"days": -1}}, "release.days: expected a whole number of days, 0 or more"),
        ({"release": {}}, "release: expected either months or days"),
        ({"release": {"days": 1, "months": 1}}, "release: expected either months or days"),
        ({"release": ...}, "release: is missing"),
        ({"release": {"days": 1, "exceptions": [{"days": 0}]}}, "expected proposals, nights or"),
        (
            {"release": {"days": 1, "exceptions": [{"days": 0, "nights": ["2020-02-01", 3]}]}},
            "release.exceptions.0.nights.1:",
        ),
        ({"title": ...}, "title: is missing"),
        ({"colour": "red"}, "colour: there is no such field"),
        ({"name": "Tomoe"}, "name: expected a lower-case letter"),
        ({"did": "ivo://{authority}"}, "did: expected ivo://... with {path}"),
        ({"did": "ivo://{authority.x}?{path}"}, "did: expected ivo://... with {path}"),
        ({"did": "ivo://{path"}, "did: expected a template"),
        ({"roots": ["data"]}, "roots: expected absolute directories, found data"),
        ({"utc_offset": 24}, "utc_offset: expected hours ahead of UTC"),
        ({"position": "maybe"}, "position: expected 'required', 'optional' or 'none'"),
        ({"obscore": {"calib_level": 2}}, "obscore: obs_id must be mapped"),
        (
            {"obscore": _LEAST["obscore"] | {"ra": 1}},
            "obscore: ra is no column to be mapped",
        ),
        (
            {"obscore": _LEAST["obscore"] | {"access_url": "x"}},
            "obscore: access_url is no column to be mapped",
        ),
        (
            {"obscore": _LEAST["obscore"] | {"t_min": {"expression": "1 +* 2"}}},
            "obscore.t_min.0.expression: column 4: cannot be understood here",
        ),
        (
            {"obscore": _LEAST["obscore"] | {"t_min": {"expression": "mjd(DATE)"}}},
            "obscore: t_min.expression: DATE is not known here; a keyword is written {DATE}",
        ),
        (
            {"obscore": _LEAST["obscore"] | {"t_min": {"expression": "t_max - 1"}}},
            "obscore: t_min.expression: t_max is not known here",
        ),
        (
            {"obscore": _LEAST["obscore"] | {"em_min": {"keyword": "F", "unit": "kg"}}},
            "obscore: em_min.unit: expected a unit that converts to m, found 'kg'",
        ),
        (
            {"obscore": _LEAST["obscore"] | {"target_name": {"keyword": "F", "unit": "m"}}},
            "obscore: target_name.unit: this column has no unit",
        ),
        (
            {"obscore": _LEAST["obscore"] | {"s_ra": {"keyword": "A", "wcs": True}}},
            "obscore.s_ra.0: expected exactly one of constant, keyword, expression and wcs",
        ),
        ({"obscore": _LEAST["obscore"] | {"o_ucd": "wcs"}}, "o_ucd: the WCS says nothing of"),
        ({"obscore": _LEAST["obscore"] | {"s_region": "box"}}, "s_region: expected wcs or circle"),
        ({"product": {"moon": "full"}}, "product: moon is not one of night, proposal_id"),
        ({"allow": {"X": []}}, "allow.X: expected a list of values, or pattern"),
        ({"allow": {"X": {"pattern": "("}}}, "allow.X.pattern: expected a regular expression"),
        ({"rules": [{"name": "a", "when": "filename +"}]}, "rules.0.when: column"),
        ({"rules": [{"name": "a", "when": "t_min > 3"}]}, "rules.0: when: t_min is not known"),
    ],
)
def test_a_mistake_is_reported_with_file_field_and_expectation(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, changes)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/tomoe.yaml: ")
    assert sentence in message


@pytest.mark.parametrize(
    "text",
    ["", "- 1\n", "a: [", "a: !!python/object/apply:os.system ['x']", "\x00", "a: 2020-02-31"],
)
def test_a_file_that_is_no_mapping_is_reported_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"x\.yaml: "):
        load_collection(file)


def test_a_file_that_is_not_there_is_reported_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        load_collection(tmp_path / "none.yaml")


def test_a_collection_may_be_written_in_toml(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text(
        'name = "t"\ntitle = "T"\nfacility = "F"\ninstrument = "I"\n'
        'obscore = { calib_level = 1, obs_id = { keyword = "A" } }\nrelease = { days = 3 }\n'
    )
    assert load_collection(file).release.days == 3


def test_names_and_paths_choose_the_files(tmp_path: Path) -> None:
    files = _load(tmp_path, {"files": {"take": ["*.fits"], "leave": ["test/*", ".*"]}}).files
    assert files.takes(PurePosixPath("2020/a.fits"))
    assert not files.takes(PurePosixPath("2020/a.txt"))
    assert not files.takes(PurePosixPath("test/a.fits"))
    assert not files.takes(PurePosixPath("2020/.a.fits"))
    assert files.takes(PurePosixPath("a.hdr"), headers_only=True)


@pytest.mark.parametrize(
    ("night", "proposal", "expected"),
    [
        (date(2021, 11, 9), "21B-N-CN05", date(2023, 5, 9)),
        (date(2021, 8, 31), "21B-N-CN05", date(2023, 2, 28)),  # there is no 31 February
        (date(2022, 8, 31), None, date(2024, 2, 29)),
        (date(2021, 11, 9), "CAL", date(2021, 11, 9)),
        (date(2020, 1, 1), "S19-big", date(2021, 12, 31)),
        (date(2020, 4, 1), "S19-big", date(2021, 10, 1)),  # a day after the nights end
        (date(2020, 3, 31), "S19-big", date(2022, 3, 31)),
        (date(2019, 9, 30), "S19-big", date(2021, 3, 30)),
        (None, "CAL", date(1970, 1, 1)),
        (None, "S19-big", None),
    ],
)
def test_the_first_exception_that_holds_sets_the_date(
    tmp_path: Path, night: date | None, proposal: str | None, expected: date | None
) -> None:
    exceptions = [
        {"proposals": "CAL", "days": 0},
        {"proposals": ["S19-*"], "nights": [date(2019, 10, 1), date(2020, 3, 31)], "days": 730},
    ]
    collection = _load(tmp_path, {"release": {"months": 18, "exceptions": exceptions}})
    assert collection.release.plan(night, proposal).day == expected


@given(st.dates(date(1900, 1, 1), date(2200, 1, 1)), st.integers(1, 600))
def test_months_end_on_the_same_day_or_the_last_of_the_month(night: date, months: int) -> None:
    values = _LEAST | {"release": {"months": months}}
    end = Collection.model_validate(values).release.plan(night, None).day
    assert end is not None
    assert (end.year - night.year) * 12 + end.month - night.month == months
    assert end.day == night.day or (end.day < night.day and (end + timedelta(1)).day == 1)


def test_a_date_beyond_the_calendar_is_its_last_day() -> None:
    values = _LEAST | {"release": {"days": 99_999}}
    assert Collection.model_validate(values).release.plan(date(9990, 1, 1), None).day == date.max
