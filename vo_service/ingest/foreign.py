"""Rows of another site's ObsCore, checked before they stand beside ours.

A row that cannot be right is refused as a whole, with a reason that is the same for all rows of
its kind. Columns are found by name, whatever their case and order; those that are missing are
null, but for the few without which a row says nothing. Source: ObsCore 1.1, Table 4; units are
those that it prescribes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from vo_service.errors import UsageError
from vo_service.ingest.foreign_region import WIDEST, Footprint, read_footprint
from vo_service.model.crawl import ForeignRow
from vo_service.model.obscore import CALIB_LEVELS, OBSCORE
from vo_service.model.region import Point
from vo_service.model.table import Field

__all__ = ["ForeignReader", "RowError"]

_NAMES = tuple(column.name for column in OBSCORE)
_PLACE = {name: place for place, name in enumerate(_NAMES)}
_REQUIRED = ("obs_publisher_did", "calib_level", "s_ra", "s_dec", "t_min")

#: Characters of a text at most.
_LONGEST = {"access_url": 4000, "s_region": 65_536}
_LONG = 1000
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")
_ADDRESS = re.compile(r"https?://[^\s\"'<>\\]+", re.IGNORECASE)
_PRODUCT = re.compile(r"[a-z][a-z ._-]{0,60}")

#: MJD of years 0 and 2217: what is beyond is no MJD (a Julian date, say).
_DATES = (-678_941.0, 131_072.0)
_NOT_NEGATIVE = (
    *("access_estsize", "s_resolution", "s_xel1", "s_xel2", "t_exptime", "t_resolution", "t_xel"),
    *("em_min", "em_max", "em_res_power", "em_xel", "pol_xel"),
)
#: What numbers may be, both ends included.
_RANGES = {
    "s_dec": (-90.0, 90.0),
    "s_fov": (0.0, 360.0),
    "t_min": _DATES,
    "t_max": _DATES,
    **dict.fromkeys(_NOT_NEGATIVE, (0.0, math.inf)),
}
_ORDERED = (("t_min", "t_max"), ("em_min", "em_max"))
_INTEGER = {"int": 2**31, "long": 2**63}


class RowError(Exception):
    """A row is refused: *reason*, alike for all of its kind, and the value at fault."""

    def __init__(self, reason: str, value: object = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.value = value


class ForeignReader:
    """Reads rows of a table with these columns.

    Raises
    ------
    UsageError
        A column is missing without which no row can be taken.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        places = {field.name.lower(): place for place, field in reversed([*enumerate(fields)])}
        if missing := [name for name in _REQUIRED if name not in places]:
            raise UsageError(
                f"the table has no column {', '.join(missing)}: expected those of ObsCore 1.1"
            )
        self._places = [places.get(name) for name in _NAMES]
        self._readers = [_reader(column.name, column.datatype) for column in OBSCORE]
        region = places.get("s_region")
        self._xtype = None if region is None else fields[region].xtype

    def read(self, cells: Sequence[Any]) -> ForeignRow:
        """The row of *cells*, in the order of the fields.

        Raises
        ------
        RowError
            It cannot be right.
        """
        raw = [None if place is None else cells[place] for place in self._places]
        values = [read(cell) for read, cell in zip(self._readers, raw, strict=True)]
        said = dict(zip(_NAMES, values, strict=True))
        did = said["obs_publisher_did"]
        if did is None:
            raise RowError("obs_publisher_did: expected an identifier")
        _check_together(said)
        position = None if said["s_ra"] is None else Point(said["s_ra"], said["s_dec"])
        footprint, reach = self._footprint(said["s_region"], position)
        values[_PLACE["s_region"]] = footprint.text if footprint else None
        return ForeignRow(
            did, tuple(values), position, footprint.region if footprint else None, reach
        )

    def did(self, cells: Sequence[Any]) -> str:
        """What a row that was refused calls itself, for people."""
        place = self._places[_PLACE["obs_publisher_did"]]
        said = "" if place is None or cells[place] is None else str(cells[place])
        return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", said)

    def _footprint(self, value: Any, position: Point | None) -> tuple[Footprint | None, float]:
        if value is None:
            return None, 0.0
        try:
            footprint = read_footprint(value, self._xtype)
        except ValueError as error:
            raise RowError("s_region: expected a footprint (STC-S or DALI)", error) from error
        if position is None:
            raise RowError("s_region without s_ra and s_dec: expected the middle of the footprint")
        reach = footprint.reach(position)
        if reach > WIDEST:
            raise RowError(f"s_region: expected it within {WIDEST:g} degrees of its position")
        return footprint, reach


def _check_together(said: dict[str, Any]) -> None:
    if said["calib_level"] not in CALIB_LEVELS:
        raise RowError("calib_level: expected 0 to 4", said["calib_level"])
    if (said["s_ra"] is None) != (said["s_dec"] is None):
        raise RowError("s_ra, s_dec: expected both or neither")
    if said["s_ra"] is not None and not 0.0 <= said["s_ra"] < 360.0:
        raise RowError("s_ra: expected 0 to less than 360", said["s_ra"])
    for low, high in _ORDERED:
        if None not in (said[low], said[high]) and said[low] > said[high]:
            raise RowError(f"{low}, {high}: expected the lower first", (said[low], said[high]))


def _reader(name: str, datatype: str) -> Callable[[Any], Any]:
    if name == "s_region":
        return _region
    if datatype == "char":
        return lambda cell: _text(name, cell)
    limits = _RANGES.get(name, (-math.inf, math.inf))
    return lambda cell: _number(name, cell, limits, _INTEGER.get(datatype))


def _region(cell: Any) -> Any:
    return _text("s_region", cell) if isinstance(cell, str) else cell or None


def _text(name: str, cell: Any) -> str | None:
    if cell is None:
        return None
    text = " ".join(str(cell).split())
    if not text:
        return None
    longest = _LONGEST.get(name, _LONG)
    if len(text) > longest:
        raise RowError(f"{name}: expected at most {longest} characters", text)
    if _CONTROL.search(text):
        raise RowError(f"{name}: expected text without control characters", text)
    if name == "access_url" and not _ADDRESS.fullmatch(text):
        raise RowError("access_url: expected http:// or https://", text)
    if name == "dataproduct_type":
        text = text.lower()
        if not _PRODUCT.fullmatch(text):
            raise RowError("dataproduct_type: expected a word such as image", text)
    return text


def _number(
    name: str, cell: Any, limits: tuple[float, float], below: int | None
) -> float | int | None:
    if isinstance(cell, list) and len(cell) == 1:
        (cell,) = cell
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    try:
        number = float(cell)
    except (TypeError, ValueError, OverflowError):
        raise RowError(f"{name}: expected a number", cell) from None
    if math.isnan(number):
        return None
    low, high = limits
    if not low <= number <= high or math.isinf(number):
        upper = "more" if math.isinf(high) else f"{high:g}"
        wanted = "a finite number" if math.isinf(low) else f"{low:g} to {upper}"
        raise RowError(f"{name}: expected {wanted}", cell)
    if below is None:
        return number
    if not number.is_integer() or not abs(number) < below:
        raise RowError(f"{name}: expected a whole number", cell)
    return int(cell) if isinstance(cell, int) else int(number)
