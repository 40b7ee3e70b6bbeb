"""SIA 1.0 parameters: pairs of strings in, one `OldImageSearch` out.

Source: SIA 1.0, "Image Query Input". Angles are ICRS degrees. Names are compared without case,
parameters that SIA does not define are ignored. ``MAXREC`` is DALI's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from vo_service.errors import UsageError
from vo_service.model.region import Point
from vo_service.params.dali import given_values, read_number, read_position, short, single, wrong
from vo_service.params.tap import Pairs, parse_maxrec

__all__ = ["Intersect", "OldImageSearch", "parse_old_image_search"]

Intersect = Literal["COVERS", "ENCLOSED", "CENTER", "OVERLAPS"]

_INTERSECTS: tuple[Intersect, ...] = get_args(Intersect)
_NAMES = ("POS", "SIZE", "INTERSECT", "FORMAT", "VERB", "MAXREC")

#: Words of FORMAT to media types; GRAPHIC-ALL and GRAPHIC-image/png begin with the second.
_FITS = ("image/fits", "application/fits")
_GRAPHIC = ("image/png", "image/jpeg", "image/gif", "image/webp")


@dataclass(frozen=True, slots=True, kw_only=True)
class OldImageSearch:
    """Images at a place.

    *centre* is None where only the *metadata* are asked for. *size* is width along right
    ascension and height, both angles on the sky. *formats* are media types, None for all.
    """

    centre: Point | None
    size: tuple[float, float] = (0.0, 0.0)
    intersect: Intersect = "OVERLAPS"
    formats: tuple[str, ...] | None = None
    verbosity: int = 2
    maxrec: int
    metadata: bool = False


def parse_old_image_search(
    pairs: Pairs, *, maxrec_default: int, maxrec_limit: int
) -> OldImageSearch:
    """Check the parameters of a search.

    Raises
    ------
    UsageError
        Names the parameter, what was given and what was expected.
    """
    given = given_values(pairs, _NAMES)
    formats = single("FORMAT", given) or "ALL"
    maxrec = min(parse_maxrec(single("MAXREC", given), maxrec_default), maxrec_limit)
    if formats.upper() == "METADATA":
        return OldImageSearch(centre=None, maxrec=0, metadata=True)
    position, size = single("POS", given), single("SIZE", given)
    if position is None or size is None:
        missing = "POS" if position is None else "SIZE"
        raise UsageError(f"{missing} is missing: expected POS=149.38,69.65 and SIZE=0.2")
    return OldImageSearch(
        centre=read_position("POS", position),
        size=_size(size),
        intersect=_intersect(single("INTERSECT", given)),
        formats=_formats(formats),
        verbosity=int(read_number("VERB", single("VERB", given) or "2", 0, 3)),
        maxrec=maxrec,
    )


def _size(text: str) -> tuple[float, float]:
    sides = [read_number("SIZE", word, 0.0, 360.0) for word in text.split(",")]
    if len(sides) > 2:
        raise wrong("SIZE", text, "an angle, or width and height")
    return sides[0], sides[-1]


def _intersect(text: str | None) -> Intersect:
    for word in _INTERSECTS:
        if word == (text or "OVERLAPS").upper():
            return word
    raise UsageError(f"INTERSECT={short(text or '')}: expected one of {', '.join(_INTERSECTS)}")


def _formats(text: str) -> tuple[str, ...] | None:
    found: list[str] = []
    for word in (word.strip() for word in text.split(",")):
        match word.upper():
            case "ALL":
                return None
            case "GRAPHIC" | "GRAPHIC-ALL":
                found += _GRAPHIC
            case "IMAGE/FITS" | "APPLICATION/FITS" | "FITS":
                found += _FITS
            case _:
                found.append(word.lower().removeprefix("graphic-"))
    return tuple(dict.fromkeys(found))
