"""Coverage of the sky as a MOC that a record can hold, of one collection or of several.

Source: VODataService 1.2, "Coverage": order 6 at least, no more than a few dozen kB.
"""

from __future__ import annotations

from collections.abc import Sequence

from mocpy import MOC

from vo_service.registry.archive import Coverage

__all__ = ["joined", "short_moc"]

_FINEST = 8
_COARSEST = 6
_LENGTH = 30_000


def short_moc(text: str) -> str | None:
    """An ASCII MOC made coarse enough for a record; None where it covers nothing."""
    moc = MOC.from_string(text)
    if moc.empty():
        return None
    short = ""
    for order in range(min(_FINEST, moc.max_order), _COARSEST - 1, -1):
        moc = moc.degrade_to_order(order) if order < moc.max_order else moc
        short = " ".join(str(moc.to_string("ascii")).split())
        if len(short) <= _LENGTH:
            break
    return short or " ".join(text.split())


def joined(coverages: Sequence[Coverage]) -> Coverage:
    """What several collections cover together: gaps in time and energy that none fills stay."""
    skies = [MOC.from_string(one.spatial) for one in coverages if one.spatial]
    sky = skies[0].union(*skies[1:]) if len(skies) > 1 else next(iter(skies), None)
    return Coverage(
        spatial=short_moc(sky.to_string("ascii")) if sky is not None else None,
        temporal=_merged([span for one in coverages for span in one.temporal]),
        spectral=_merged([span for one in coverages for span in one.spectral]),
    )


def _merged(spans: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Spans in order, with those that touch joined."""
    found: list[tuple[float, float]] = []
    for low, high in sorted(spans):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)
