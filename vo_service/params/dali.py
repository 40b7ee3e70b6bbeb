"""Values of DALI as parameters give them: numbers, intervals, regions of the sky.

Source: DALI 1.1, "Parameters", xtypes interval, circle, polygon; SODA 1.0 and SIA 2.0, "POS".
Angles are ICRS degrees. Every function takes the parameter's name, for the message, and its text;
a `UsageError` names both and what was expected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

from vo_service.errors import MultiValuedError, UsageError
from vo_service.model.region import Circle, Point, Polygon
from vo_service.model.stencil import Bounds, Range, Shape
from vo_service.params.tap import Pairs

__all__ = [
    "given_values",
    "read_circle",
    "read_interval",
    "read_number",
    "read_numbers",
    "read_polygon",
    "read_position",
    "read_shape",
    "short",
    "single",
    "wrong",
]

_VERTICES = 1000

_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")


def single(name: str, given: Mapping[str, Sequence[str]]) -> str | None:
    """The one value of a parameter, None where there is none."""
    values = given[name]
    if len(values) > 1:
        raise MultiValuedError(f"{name} is given more than once: expected one value")
    return values[0] if values else None


def read_numbers(name: str, text: str, *, infinite: bool = False) -> list[float]:
    """Numbers between blanks; ``-Inf`` and ``+Inf`` where they may be *infinite*."""
    numbers = []
    for word in text.split():
        try:
            number = float(word) if word.isascii() and "_" not in word else math.nan
        except ValueError:
            number = math.nan
        if math.isnan(number) or (math.isinf(number) and not infinite):
            raise wrong(name, text, f"numbers, not {short(word)}")
        numbers.append(number)
    return numbers


def read_interval(name: str, text: str) -> Bounds:
    """Two numbers, the lower one first."""
    numbers = read_numbers(name, text, infinite=True)
    if len(numbers) != 2:
        raise wrong(name, text, "two numbers, such as '55 56' or '55 +Inf'")
    low, high = numbers
    if low > high:
        raise wrong(name, text, "the lower end first")
    return low, high


def read_shape(name: str, text: str) -> Shape:
    """The shape's name, then its numbers: CIRCLE, RANGE or POLYGON."""
    word, _, rest = text.partition(" ")
    readers: dict[str, Callable[[str, str], Shape]] = {
        "CIRCLE": read_circle,
        "RANGE": _range,
        "POLYGON": read_polygon,
    }
    if (read := readers.get(word.upper())) is None:
        raise UsageError(f"{name}={short(text)}: expected CIRCLE, RANGE or POLYGON, then numbers")
    return read(f"{name} {word.upper()}", rest)


def read_circle(name: str, text: str) -> Circle:
    """Longitude and latitude of the centre, and radius."""
    numbers = read_numbers(name, text)
    if len(numbers) != 3:
        raise wrong(name, text, "three numbers: longitude, latitude, radius")
    ra, dec, radius = numbers
    _check_position(name, text, ra, dec)
    if not 0.0 <= radius <= 180.0:
        raise wrong(name, text, "a radius of 0 to 180 degrees")
    return Circle(ra % 360.0, dec, radius)


def read_polygon(name: str, text: str) -> Polygon:
    """Longitude and latitude of each vertex."""
    numbers = read_numbers(name, text)
    if len(numbers) < 6 or len(numbers) % 2:
        raise wrong(name, text, "at least three pairs of longitude and latitude")
    if len(numbers) > 2 * _VERTICES:
        raise wrong(name, text, f"at most {_VERTICES} vertices")
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    for ra, dec in pairs:
        _check_position(name, text, ra, dec)
    return Polygon(tuple(Point(ra % 360.0, dec) for ra, dec in pairs))


def _range(name: str, text: str) -> Range:
    numbers = read_numbers(name, text, infinite=True)
    if len(numbers) != 4:
        raise wrong(name, text, "four numbers: two longitudes, then two latitudes")
    west, east, low, high = numbers
    if west > east or low > high:
        raise wrong(
            name,
            text,
            "the lower end of each pair first (across 0h: one range up to 360, one from 0)",
        )
    for end in (west, east):
        _check_position(name, text, end if math.isfinite(end) else 0.0, 0.0)
    for end in (low, high):
        _check_position(name, text, 0.0, end if math.isfinite(end) else 0.0)
    return Range(
        (0.0 if math.isinf(west) else west, 360.0 if math.isinf(east) else east), (low, high)
    )


def _check_position(name: str, text: str, ra: float, dec: float) -> None:
    if not (0.0 <= ra <= 360.0 and -90.0 <= dec <= 90.0):
        raise wrong(name, text, "a longitude of 0 to 360 and a latitude of -90 to 90 degrees")


def wrong(name: str, text: str, expected: str) -> UsageError:
    """The error of a value, with what was expected instead."""
    return UsageError(f"{name} {short(text)}: expected {expected}")


def short(text: str) -> str:
    """A value as a message repeats it."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def read_position(name: str, text: str, separator: str = ",") -> Point:
    """Longitude and latitude of the protocols before DALI: ``lon,lat``."""
    words = text.split(separator)
    if len(words) != 2:
        raise wrong(name, text, f"longitude and latitude in degrees, as 149.38{separator}69.65")
    numbers = [number for word in words for number in read_numbers(name, word)]
    if len(numbers) != 2:
        raise wrong(name, text, f"longitude and latitude in degrees, as 149.38{separator}69.65")
    _check_position(name, text, *numbers)
    return Point(numbers[0] % 360.0, numbers[1])


def read_number(name: str, text: str, low: float, high: float) -> float:
    """One number between two, both included."""
    numbers = read_numbers(name, text)
    if len(numbers) != 1 or not low <= numbers[0] <= high:
        raise wrong(name, text, f"a number of {low:g} to {high:g}")
    return numbers[0]


def given_values(pairs: Pairs, names: Sequence[str]) -> dict[str, list[str]]:
    """Values of the parameters that are known, by name; empty ones count as none.

    Raises
    ------
    UsageError
        If a value holds a character that no XML document could repeat (or NUL, which PostgreSQL
        does not store).
    """
    given: dict[str, list[str]] = {name: [] for name in names}
    for name, value in pairs:
        key = name.upper()
        if value.strip() and key in given:
            if found := _UNWRITABLE.search(value):
                raise UsageError(
                    f"{key} holds the character U+{ord(found[0]):04X}: expected readable text"
                )
            given[key].append(value.strip())
    return given
