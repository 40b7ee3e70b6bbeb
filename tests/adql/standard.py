"""The tables of the standard as tests: each row has cases, each case is named after its row.

A row is ``section.number``: the number counts the rows of all tables of that section of
``../shared/standards/adql.md``, our checklist of ADQL 2.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.adql.sky import Sky
from vo_service.errors import QueryError

__all__ = ["Case", "Refused", "Typed", "check", "refused", "rows_of_section", "value"]

CHECKLIST = Path(__file__).parents[3] / "shared" / "standards" / "adql.md"


@dataclass(frozen=True)
class Refused:
    """An error at a column of the first line, with words of its message."""

    column: int
    words: str


@dataclass(frozen=True)
class Typed:
    """Datatype, arraysize and xtype of the first field."""

    datatype: str
    arraysize: str | None = None
    xtype: str | None = None


@dataclass(frozen=True)
class Case:
    """A query and the rows that it gives, or how it is refused."""

    row: str
    query: str
    expected: list[tuple[Any, ...]] | Refused | Typed

    def __str__(self) -> str:
        return f"{self.row} {self.query.replace(' FROM test.bands', '').strip()[:70]}"


def value(row: str, expression: str, expected: Any) -> Case:
    """The value of an expression of constants."""
    return Case(row, f"SELECT {expression} FROM test.bands WHERE band = 'B'", [(expected,)])


def refused(row: str, expression: str, column: int, words: str) -> Case:
    """An expression that is not allowed; the column counts from its first character."""
    return Case(row, f"SELECT {expression} FROM test.bands", Refused(column + 7, words))


def check(sky: Sky, case: Case) -> None:
    """Ask, and compare: in order where the query has an order."""
    match case.expected:
        case Refused(column, words):
            with pytest.raises(QueryError) as caught:
                sky.translated(case.query)
            assert words in caught.value.message
            assert (caught.value.line, caught.value.column) == (1, column)
        case Typed() as typed:
            field = sky.field(case.query)
            assert Typed(field.datatype, field.arraysize, field.xtype) == typed
            sky.rows(case.query)
        case expected:
            found = sky.rows(case.query)
            if "ORDER BY" not in case.query.upper():
                found, expected = sorted(found, key=repr), sorted(expected, key=repr)
            assert len(found) == len(expected), found
            for got, wanted in zip(found, expected, strict=True):
                assert [*map(type, got)] == [*map(type, wanted)], (got, wanted)
                assert [*map(_close, wanted)] == [*got]


def _close(wanted: Any) -> Any:
    return pytest.approx(wanted, abs=1e-9) if isinstance(wanted, float | list) else wanted


def rows_of_section(section: int) -> Iterable[str]:
    """The rows that the tables of a section have."""
    if not CHECKLIST.is_file():
        pytest.skip(f"no checklist: {CHECKLIST} is not there")
    (text,) = re.findall(rf"^## {section}\..*?(?=^## )", CHECKLIST.read_text(), re.M | re.S)
    tables = re.findall(r"^\|[-|: ]+\|\n((?:\|.*\n)+)", text, re.M)
    count = sum(table.count("\n") for table in tables)
    return (f"{section}.{number:02}" for number in range(1, count + 1))
