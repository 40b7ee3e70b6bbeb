"""Numbers of bytes for people."""

from __future__ import annotations

__all__ = ["amount"]

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def amount(size: float) -> str:
    """Bytes with a unit: ``2.64 TB``."""
    for unit in _UNITS:
        # What is rounded to a thousand has the next unit.
        if size < 999.5 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == _UNITS[0] else f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError  # the last unit takes all
