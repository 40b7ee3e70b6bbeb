"""SODA parameters: pairs of strings in, one `CutoutQuery` out.

Source: SODA 1.0, "Parameters"; DALI 1.1, "Parameters", xtypes interval, circle, polygon.
Angles are ICRS degrees, wavelengths metres, times MJD (UTC). Names are compared without case;
parameters that SODA and this service do not define are ignored. A list of positions comes as an
UPLOAD (DALI 1.1, "UPLOAD") and is put into the query by `with_positions`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vo_service.errors import UsageError
from vo_service.model.obscore import POL_STATES
from vo_service.model.region import Circle
from vo_service.model.stencil import Bounds, PixelStencil, Stencil
from vo_service.params.dali import (
    read_circle,
    read_interval,
    read_number,
    read_numbers,
    read_polygon,
    read_shape,
    short,
    single,
    wrong,
)
from vo_service.params.tap import Pairs
from vo_service.params.upload import UploadSpec, parse_uploads

__all__ = [
    "FORMATS",
    "HEADERS",
    "MEF",
    "TAR",
    "CutoutQuery",
    "Picture",
    "Position",
    "parse_cutout_query",
    "with_positions",
]

#: RESPONSEFORMAT, in lower case, to the media type of the answer.
FORMATS = {
    "fits": "application/fits",
    "application/fits": "application/fits",
    "image/fits": "image/fits",
    "png": "image/png",
    "image/png": "image/png",
    "webp": "image/webp",
    "image/webp": "image/webp",
}
_FITS = "application/fits"

#: All cutouts of a job in one archive, or in one FITS file with an extension for each image.
TAR, MEF = "application/x-tar", "application/fits;extensions=all"

#: Values of HEADER: cards as they stand in the file, or with the archive's corrections.
HEADERS = ("original", "corrected")

#: Degrees around an uploaded position where neither its row nor RADIUS tells them.
_RADIUS = 10 / 3600
_LARGEST_RADIUS = 180.0

_STRETCHES = ("linear", "sqrt", "asinh", "log")
_NAMES = (
    *("ID", "POS", "CIRCLE", "POLYGON", "BAND", "TIME", "POL", "PIXEL"),
    *("RESPONSEFORMAT", "HEADER", "RADIUS", "STRETCH", "LIMITS", "SIZE"),
)
_LONGEST_SIDE = 16_383  # of a WebP
_DIGITS = 18

# No FITS header and no log line should repeat them, and PostgreSQL stores no NUL.
_UNWRITABLE = re.compile("[\x00-\x1f\x7f\ufffe\uffff]")
_PIXEL = re.compile(r"(?:\[(?P<hdu>[^\[\]]{1,70})\])?\[(?P<axes>[^\[\]]*)\]")
_AXIS = re.compile(r"(\d{1,18}):(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Picture:
    """How pixels become grey: *stretch*, *limits* (None: chosen by zscale), longest side."""

    stretch: str = "asinh"
    limits: Bounds | None = None
    size: int = 1024


@dataclass(frozen=True, slots=True)
class Position:
    """A row of an uploaded list: *said* tells which, *radius* is degrees, None where not told."""

    ra: float
    dec: float
    radius: float | None
    said: str


@dataclass(frozen=True, slots=True)
class CutoutQuery:
    """Identifiers and stencils, each with each; how to answer.

    *corrected* wants headers with the archive's corrections. *uploads* are the lists of positions
    (one at most), and *radius* the degrees around each that does not tell its own.
    """

    ids: tuple[str, ...]
    stencils: tuple[Stencil, ...]
    media_type: str = _FITS
    picture: Picture = Picture()
    corrected: bool = False
    uploads: tuple[UploadSpec, ...] = ()
    radius: float = _RADIUS

    @property
    def is_picture(self) -> bool:
        """Whether the answer is no FITS."""
        return self.media_type in ("image/png", "image/webp")


def parse_cutout_query(pairs: Pairs, *, limit: int, job: bool = False) -> CutoutQuery:
    """Check the parameters of a request for cutouts.

    Parameters
    ----------
    pairs
        Names and values in the order in which they came.
    limit
        Cutouts at most, of all identifiers with all stencils.
    job
        Whether it is a job's: its answer may be `TAR` and `MEF`, and it takes a list of positions.

    Raises
    ------
    UsageError
        Names the parameter, what was given and what was expected.
    """
    pairs = list(pairs)
    given: dict[str, list[str]] = {name: [] for name in _NAMES}
    for name, value in pairs:
        if value.strip() and (values := given.get(name.upper())) is not None:
            values.append(value.strip())
    ids = tuple(dict.fromkeys(given["ID"]))
    if not ids:
        raise UsageError("ID is missing: expected the obs_publisher_did of a dataset")
    for identifier in ids:
        if _UNWRITABLE.search(identifier):
            raise UsageError("ID holds a control character: expected an identifier")
    asked = math.prod(
        max(1, len(values))
        for values in (
            ids,
            given["POS"] + given["CIRCLE"] + given["POLYGON"],
            *(given[name] for name in ("BAND", "TIME", "PIXEL")),
        )
    )
    _check_number(asked, limit)
    return CutoutQuery(
        ids=ids,
        stencils=_stencils(given),
        media_type=_media_type(single("RESPONSEFORMAT", given), job=job),
        picture=_picture(given),
        corrected=_header(single("HEADER", given)) == "corrected",
        uploads=_uploads(pairs, given, job=job),
        radius=_radius(single("RADIUS", given)),
    )


def with_positions(query: CutoutQuery, positions: Sequence[Position], *, limit: int) -> CutoutQuery:
    """The query about each of *positions*, in their order, with each of its stencils.

    Raises
    ------
    UsageError
        If that is more than *limit* cutouts.
    """
    _check_number(len(query.ids) * len(positions) * len(query.stencils), limit)
    stencils = []
    for position in positions:
        radius = query.radius if position.radius is None else position.radius
        said = f"{position.said}: CIRCLE={position.ra!r} {position.dec!r} {radius!r}"
        shape = Circle(position.ra % 360.0, position.dec, radius)
        stencils += [
            replace(stencil, shape=shape, text=f"{said} {stencil.text}".rstrip())
            for stencil in query.stencils
        ]
    return replace(query, stencils=tuple(stencils), uploads=())


def _check_number(asked: int, limit: int) -> None:
    if asked > limit:
        raise UsageError(f"the request is for {asked} cutouts: expected at most {limit}")


def _header(text: str | None) -> str:
    said = (text or HEADERS[0]).lower()
    if said not in HEADERS:
        raise UsageError(f"HEADER={short(said)}: expected {' or '.join(HEADERS)}")
    return said


def _uploads(pairs: Pairs, given: dict[str, list[str]], *, job: bool) -> tuple[UploadSpec, ...]:
    uploads = parse_uploads(pairs, 1)
    if uploads and not job:
        raise UsageError("UPLOAD: a list of positions is cut by a job: expected it at /soda/async")
    if uploads and (given["POS"] or given["CIRCLE"] or given["POLYGON"]):
        raise UsageError("UPLOAD: the list has the positions: expected no POS, CIRCLE, POLYGON")
    if given["RADIUS"] and not uploads:
        raise UsageError("RADIUS is that of uploaded positions: expected UPLOAD, or CIRCLE")
    return uploads


def _radius(text: str | None) -> float:
    return _RADIUS if text is None else read_number("RADIUS", text, 0.0, _LARGEST_RADIUS)


def _stencils(given: dict[str, list[str]]) -> tuple[Stencil, ...]:
    """Each combination of a place, a band, a time and a section; all have the same states."""
    places = [
        (f"{name}={value}", parse(name, value))
        for name, parse in (("POS", read_shape), ("CIRCLE", read_circle), ("POLYGON", read_polygon))
        for value in given[name]
    ]
    bands = [(f"BAND={value}", _band("BAND", value)) for value in given["BAND"]]
    times = [(f"TIME={value}", read_interval("TIME", value)) for value in given["TIME"]]
    sections = [(f"PIXEL={value}", _pixels("PIXEL", value)) for value in given["PIXEL"]]
    states = _states(given["POL"])
    shown = " ".join(f"POL={state}" for state in sorted(states))
    nothing = [("", None)]
    return tuple(
        Stencil(
            shape=place[1],
            band=band[1],
            time=time[1],
            states=states,
            pixels=section[1],
            text=" ".join(filter(None, (place[0], band[0], time[0], shown, section[0]))),
        )
        for place, band, time, section in itertools.product(
            places or nothing, bands or nothing, times or nothing, sections or nothing
        )
    )


def _band(name: str, text: str) -> Bounds:
    low, high = read_interval(name, text)
    if high <= 0.0:
        raise wrong(name, text, "wavelengths in metres, above 0")
    return low, high


def _pixels(name: str, text: str) -> PixelStencil:
    """``[hdu][x1:x2,y1:y2,...]``: the section of CFITSIO, with ``*`` for a whole axis."""
    found = _PIXEL.fullmatch("".join(text.split()))
    if found is None:
        raise wrong(name, text, "[x1:x2,y1:y2] or [hdu][x1:x2,y1:y2], such as [1][1:100,*]")
    axes = []
    for part in found["axes"].split(","):
        ends = _AXIS.fullmatch(part)
        if part != "*" and ends is None:
            raise wrong(name, text, "first and last pixel of each axis as 1:100, or *")
        axes.append((int(ends[1]), int(ends[2])) if ends else None)
        if ends and not 1 <= int(ends[1]) <= int(ends[2]):
            raise wrong(name, text, "pixels counted from 1, the lower one first")
    hdu = found["hdu"]
    number = int(hdu) if hdu and hdu.isascii() and hdu.isdigit() and len(hdu) < _DIGITS else hdu
    return PixelStencil(number, tuple(axes))


def _states(values: Sequence[str]) -> frozenset[str]:
    states = frozenset(word.upper() for value in values for word in value.split("/"))
    if unknown := states - set(POL_STATES):
        raise UsageError(
            f"POL={short(min(unknown))} is not known: expected one of {' '.join(POL_STATES)}"
        )
    return states


def _picture(given: dict[str, list[str]]) -> Picture:
    picture = Picture()
    stretch = (single("STRETCH", given) or picture.stretch).lower()
    if stretch not in _STRETCHES:
        raise UsageError(
            f"STRETCH={short(stretch)} is not known: expected one of {', '.join(_STRETCHES)}"
        )
    limits = None
    text = single("LIMITS", given)
    if text is not None and text.lower() != "zscale":
        numbers = read_numbers("LIMITS", text)
        if len(numbers) != 2 or numbers[0] >= numbers[1]:
            raise wrong("LIMITS", text, "the values of black and white, or zscale")
        limits = (numbers[0], numbers[1])
    size = picture.size
    if (text := single("SIZE", given)) is not None:
        if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= _LONGEST_SIDE):
            raise wrong("SIZE", text, f"the pixels of the longer side, 1 to {_LONGEST_SIDE}")
        size = int(text)
    return Picture(stretch, limits, size)


def _media_type(asked: str | None, *, job: bool) -> str:
    # What is asked for at once is one file in any case.
    known = FORMATS | ({"mef": MEF, "tar": TAR, TAR: TAR} if job else {"mef": _FITS})
    key = "".join((asked or _FITS).lower().split())
    answer = known.get(key) or known.get(key.partition(";")[0])
    if answer is None:
        names = ", ".join(known)
        raise UsageError(
            f"RESPONSEFORMAT={short(asked or '')} is not known here: expected one of {names}"
        )
    return answer
