"""Shards: which part of the sky, and which collections, are kept in which PostgreSQL.

A part is one table of observations: right ascensions (ICRS, degrees) from *low* up to but not
with *high*, of all collections, of one, or of the rest where some have a table of their own. Rows
without a position, and rows that not everybody may know of, stay with the centre.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vo_service.errors import UsageError

__all__ = [
    "CENTRE",
    "Part",
    "by_collection",
    "chosen_parts",
    "joined",
    "kept",
    "sky",
    "unavailable",
    "unplaced",
]

#: What commands call the archive's own PostgreSQL.
CENTRE = "centre"


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """A table, its bounds in RA (degrees), and the shard where it is (None: the centre).

    *collection* is that of a table made for one. *within* is the partition that is divided into
    such tables and one for the rest; None where it is not divided.
    """

    low: float
    high: float
    partition: str
    shard: str | None = None
    collection: str | None = None
    within: str | None = None


def unplaced(parts: Iterable[Part]) -> list[Part]:
    """The parts of no one collection, in order: they cover the sky once."""
    return sorted(part for part in parts if part.collection is None)


def by_collection(parts: Iterable[Part]) -> dict[str, list[Part]]:
    """The parts of single collections, by name."""
    found: dict[str, list[Part]] = {}
    for part in sorted(parts):
        if part.collection is not None:
            found.setdefault(part.collection, []).append(part)
    return dict(sorted(found.items()))


def chosen_parts(parts: Iterable[Part], text: str) -> list[Part]:
    """The parts within a range of RA written ``LOW:HIGH``, which may go over 0h (``350:10``).

    Those of single collections are not among them.

    Raises
    ------
    UsageError
        If the range cannot be read, or does not begin and end where parts do.
    """
    known = unplaced(parts)
    try:
        low, high = (float(end) for end in text.split(":"))
    except ValueError:
        raise UsageError(f"--ra: {text!r}: expected two numbers of degrees: 0:180") from None
    bounds = {part.low for part in known} | {part.high for part in known}
    for end in (low, high):
        if end not in bounds:
            raise UsageError(
                f"--ra: no partition begins or ends at {end:g} deg: expected two of "
                f"{', '.join(f'{bound:g}' for bound in sorted(bounds))}"
            )
    if low < high:
        return [part for part in known if low <= part.low and part.high <= high]
    found = [part for part in known if part.low >= low or part.high <= high]
    if low == high or not found:
        raise UsageError(f"--ra: {text!r} is empty: expected a range such as 0:180 or 350:10")
    return found


def joined(parts: Iterable[Part]) -> list[tuple[float, float]]:
    """Ranges of RA that parts cover, neighbours as one, in order."""
    ranges: list[tuple[float, float]] = []
    for part in sorted(parts):
        if ranges and ranges[-1][1] >= part.low:
            ranges[-1] = (ranges[-1][0], part.high)
        else:
            ranges.append((part.low, part.high))
    return ranges


def sky(ranges: Sequence[tuple[float, float]]) -> str:
    """Ranges of RA for people: ``RA 0..90 deg and 200..210 deg``."""
    return "RA " + " and ".join(f"{low:g}..{high:g} deg" for low, high in ranges)


def kept(parts: Sequence[Part]) -> str:
    """Parts for people: ``RA 0..90 deg and collection tomoe``."""
    ranges, collections = joined(unplaced(parts)), list(by_collection(parts))
    what = [sky(ranges)] if ranges else []
    if collections:
        word = "collection" if len(collections) == 1 else "collections"
        what.append(f"{word} {' and '.join(collections)}")
    return " and ".join(what)


def unavailable(missing: Sequence[Part]) -> str:
    """What is said to those who need parts whose shards do not answer."""
    things = bool(unplaced(missing)) + len(by_collection(missing))
    what = ("the part of the sky at " if unplaced(missing) else "") + kept(missing)
    names = sorted({part.shard or "" for part in missing})
    which = f"shard {names[0]} does" if len(names) == 1 else f"shards {', '.join(names)} do"
    return (
        f"{what} {'is' if things == 1 else 'are'} not available now: {which} not answer; "
        "the rest can be searched"
    )
