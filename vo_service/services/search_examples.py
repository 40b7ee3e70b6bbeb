"""Searches that a newcomer should try first, as addresses; the tests ask each of them.

Source: DALI 1.1, "DALI-examples": generic parameters, for SIA and SODA.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from vo_service.formats.examples import Example
from vo_service.settings import Settings

__all__ = ["sia2_examples", "soda_examples"]


def sia2_examples(settings: Settings) -> Sequence[Example]:
    """Of SIA 2.0."""
    base = f"{settings.root_url}/sia2/query"
    return (
        _example(
            base,
            "circle",
            "Images that reach into a circle of 15 arcsec",
            POS="CIRCLE 149.38 69.65 0.00417",
        ),
        _example(
            base,
            "range",
            "Images of one instrument in a box of coordinates, as a list in CSV",
            POS="RANGE 149 150 69 70",
            INSTRUMENT="Tomo-e Gozen",
            RESPONSEFORMAT="csv",
        ),
        _example(
            base,
            "time",
            "Cubes of a night, taken through some filter that passes 500 nm",
            DPTYPE="cube",
            TIME="59527.5 59528.5",
            BAND="5e-7",
        ),
    )


def soda_examples(settings: Settings) -> Sequence[Example]:
    """Of SODA 1.0; the identifiers are those of the demonstration archive."""
    base = f"{settings.root_url}/soda/sync"
    did = f"ivo://{settings.authority}/triccs?2021/11/09/TRCS00112231.fits"
    return (
        _example(
            base,
            "circle",
            "What a circle of 0.01 degrees holds of a cube",
            ID=did,
            CIRCLE="325.678446 43.586074 0.01",
        ),
    )


def _example(base: str, identifier: str, name: str, **parameters: str) -> Example:
    return Example(
        id=identifier,
        name=name,
        query=f"{base}?{urlencode(parameters)}",
        parameters=tuple(parameters.items()),
    )
