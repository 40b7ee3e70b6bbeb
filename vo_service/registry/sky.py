"""Coverage of the sky as a MOC that a record can hold.

Source: VODataService 1.2, "Coverage": order 6 at least, no more than a few dozen kB.
"""

from __future__ import annotations

from mocpy import MOC

__all__ = ["short_moc"]

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
        moc = moc.degrade_to_order(order)
        short = " ".join(str(moc.to_string("ascii")).split())
        if len(short) <= _LENGTH:
            break
    return short or " ".join(text.split())
