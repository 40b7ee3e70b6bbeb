"""Whatever the rules and lists, a run does what an evaluator frame by frame would do.

The evaluator below was written from docs/release.md alone: it knows neither groups nor SQL, and
goes through the rules for one frame after the other, from the strongest down.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.release.archive import Made, Product, make_archive
from vo_service.services.lists import import_list
from vo_service.services.release import preview, release_due

_PATHS = [f"{place}{name}" for place in ("", "a/", "b/") for name in ("f1.fits", "f2.fits", "g.fz")]
_PROPOSALS = ["P1", "P2", "CAL", "LP-1"]
_INSTRUMENTS = ["X", "Y"]
_FIRST = date(2023, 12, 25)


def _days(reach: int = 60) -> st.SearchStrategy[date]:
    """Few enough days that rules meet each other on them, month ends and 29 February among them."""
    return st.integers(0, reach).map(lambda n: _FIRST + timedelta(n))


@dataclass(frozen=True)
class Lists:
    """Lists in the order in which they are imported; each a kind and its lines."""

    prolonged: dict[str, date]
    held: list[tuple[date, date, str | None, date | None]]
    frames: list[list[tuple[str, str, date]]]


_EMBARGO = st.one_of(
    st.builds(lambda n: {"days": n}, st.integers(0, 40)),
    st.builds(lambda n: {"months": n}, st.integers(1, 2)),
)


@st.composite
def _exceptions(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = dict(draw(_EMBARGO))
    patterns = st.lists(st.sampled_from(["P1", "P*", "CAL", "LP-?", "*"]), min_size=1, max_size=2)
    nights = st.tuples(_days(40), _days(40)).map(sorted)
    kind = draw(st.sampled_from(["proposals", "nights", "both"]))
    if kind != "nights":
        made["proposals"] = draw(patterns)
    if kind != "proposals":
        made["nights"] = draw(nights)
    return made


_RELEASES = st.builds(
    lambda embargo, exceptions: {**embargo, "exceptions": exceptions},
    _EMBARGO,
    st.lists(_exceptions(), max_size=3),
)


@st.composite
def _products(draw: st.DrawFn) -> list[Product]:
    return [
        Product(
            path,
            draw(st.one_of(_days(40), st.none())),
            draw(st.sampled_from([*_PROPOSALS, None])),
            draw(st.sampled_from([*_INSTRUMENTS, None])),
        )
        for path in draw(st.lists(st.sampled_from(_PATHS), min_size=1, unique=True))
    ]


_HOLDS = st.tuples(
    st.tuples(_days(40), _days(40)).map(sorted),
    st.sampled_from([*_INSTRUMENTS, None]),
    st.one_of(_days(), st.none()),
).map(lambda t: (t[0][0], t[0][1], t[1], t[2]))
_NAMED = st.sampled_from([*_PATHS, "f1", "f2", "g", "f2.fits", "absent"])
_FRAME_LISTS = st.lists(
    st.tuples(_NAMED, st.sampled_from(["public", "private"]), _days()),
    max_size=5,
    unique_by=lambda line: (line[0], line[2]),
)
_LISTS = st.builds(
    Lists,
    st.dictionaries(st.sampled_from(_PROPOSALS), _days(), max_size=2),
    st.lists(_HOLDS, max_size=2, unique_by=lambda hold: hold[:3]),
    st.lists(_FRAME_LISTS, max_size=2),
)


def _stem(path: str) -> str:
    return PurePosixPath(path).name.partition(".")[0]


def _end(embargo: dict[str, Any], night: date | None) -> date | None:
    if embargo.get("days") == 0 and night is None:
        return date(1970, 1, 1)
    if night is None:
        return None
    if "days" in embargo:
        return night + timedelta(embargo["days"])
    months = night.month - 1 + embargo["months"]
    year, month = night.year + months // 12, months % 12 + 1
    return date(year, month, min(night.day, calendar.monthrange(year, month)[1]))


def _decisions(lists: Lists, product: Product, all_paths: Sequence[str]) -> list[tuple[date, str]]:
    """What lists of frames say of a product, in the order of day, list and line."""
    said = []
    for number, lines in enumerate(lists.frames):
        for place, (frame, state, since) in enumerate(lines):
            if frame in all_paths:
                named = [frame]
            elif "/" in frame:
                named = []
            else:
                named = [path for path in all_paths if _stem(path) == _stem(frame)]
            if product.path in named and (len(named) == 1 or state == "private"):
                said.append((since, number, place, state))
    return [(since, state) for since, _, _, state in sorted(said)]


def _is_public(
    release: dict[str, Any], lists: Lists, product: Product, paths: Sequence[str], today: date
) -> bool:
    decisions = [d for d in _decisions(lists, product, paths) if d[0] <= today]
    newest = decisions[-1][1] if decisions else None
    if newest == "private":
        return False
    for first, last, instrument, until in lists.held:
        if (
            product.night is not None
            and first <= product.night <= last
            and (instrument is None or instrument == product.instrument)
            and (until is None or until > today)
        ):
            return False
    if newest == "public":
        return True
    end = None
    for rule in (*release["exceptions"], release):
        patterns, nights = rule.get("proposals"), rule.get("nights")
        fits = patterns is None or (
            product.proposal is not None and any(fnmatchcase(product.proposal, p) for p in patterns)
        )
        within = nights is None or (
            product.night is not None and nights[0] <= product.night <= nights[1]
        )
        if fits and within:
            end = _end(rule, product.night)
            break
    prolonged = lists.prolonged.get(product.proposal or "")
    if prolonged is not None and prolonged > today:
        return False
    return end is not None and end <= today


def _take_in(made: Made, lists: Lists) -> None:
    if lists.prolonged:
        lines = [f"{proposal},{until}" for proposal, until in lists.prolonged.items()]
        made.put_list("prolonged.csv", "\n".join(["proposal_id,until", *lines]))
        import_list(
            made.settings, "c", made.settings.home / "prolonged.csv", allow_unknown=True
        )  # fmt: skip
    if lists.held:
        lines = [f"{a}\t{b}\t{i or ''}\t{u or ''}" for a, b, i, u in lists.held]
        head = "night\tlast_night\tinstrument\tuntil"
        file = made.put_list("held.tsv", "\n".join([head, *lines]))
        import_list(made.settings, "c", file, allow_unknown=True)
    for number, frames in enumerate(lists.frames):
        text = "\n".join(["frame,state,since", *(",".join(map(str, line)) for line in frames)])
        file = made.put_list(f"frames{number}.csv", text)
        import_list(made.settings, "c", file, allow_unknown=True)


@given(_RELEASES, _products(), _LISTS, st.lists(_days(80), min_size=1, max_size=2))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_run_does_what_the_rules_say_frame_by_frame(
    made: Made, release: dict[str, Any], products: list[Product], lists: Lists, days: list[date]
) -> None:
    made.clear()
    make_archive(made, release, products)
    _take_in(made, lists)
    paths = [product.path for product in products]
    before: set[str] = set()
    for today in days:
        wanted = {p.path for p in products if _is_public(release, lists, p, paths, today)}
        with preview(made.settings, today) as found:
            [told] = [(one.actions, list(one.steps)) for one in found]
        actions, steps = told
        said = {kind: {s.path for s in steps if s.action == kind} for kind in ("publish", "close")}
        assert said == {"publish": wanted - before, "close": before - wanted}
        assert sum(action.files for action in actions) == len(steps)
        done = release_due(made.settings, today)
        assert done.problems == []
        assert (done.count, done.closed) == (len(wanted - before), len(before - wanted))
        assert made.public() == made.linked() == wanted
        planned = {path for path, (_, day) in made.states().items() if day and day <= today}
        assert planned == wanted
        assert _volumes(made) == _counted(made)
        again = release_due(made.settings, today)
        assert (again.count, again.closed, again.planned) == (0, 0, 0)
        before = wanted


_KEY = "collection, night, proposal_id, instrument, state, closed, release_date, release_rule"


def _volumes(made: Made) -> set[tuple[Any, ...]]:
    return set(
        made.connection.execute(
            f"SELECT {_KEY}, sum(files)::bigint, sum(size)::bigint FROM archive.volume "
            f"GROUP BY {_KEY} HAVING sum(files) <> 0".encode()
        )
    )


def _counted(made: Made) -> set[tuple[Any, ...]]:
    return set(
        made.connection.execute(
            f"SELECT {_KEY}, count(*), sum(size)::bigint FROM archive.product WHERE current "
            f"GROUP BY {_KEY}".encode()
        )
    )
