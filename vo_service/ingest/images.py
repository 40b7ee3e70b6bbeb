"""The images of a file as WCS sees them: axis lengths and an `astropy.wcs.WCS` each.

Tile-compressed images (a BINTABLE with ZIMAGE = T) are described by their ZNAXISn and are
images here. Only the cards that WCS reads are handed to astropy: quicker, and a broken card
elsewhere does no harm. Distortions kept in tables (CPDISj or D2IMDISj = 'LOOKUP') cannot be
read from headers and are left out: the linear WCS and SIP stay.
Source: FITS 4.0, "Tiled image compression", "World coordinate systems"; the INHERIT
convention.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning, Wcsprm

from vo_service.errors import HeaderError
from vo_service.ingest.cards import CardValue
from vo_service.ingest.headers import first_values
from vo_service.model.observation import HDUHeader

__all__ = ["Image", "image_values", "images_of"]

_WCS_KEYWORD = re.compile(
    r"WCSAXES|(?:CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA)\d{1,2}|(?:CD|PC|PV|PS)\d{1,2}_\d{1,2}"
    r"|(?:CD|PC)\d{6}|LONPOLE|LATPOLE|PROJP\d{1,2}|RADE(?:SYS|CSYS)|EQUINOX|EPOCH|SPECSYS"
    r"|REST(?:FRQ|FREQ|WAV)|VELREF|(?:A|B)_(?:ORDER|\d_\d)|WAT\d_\d{3}",
    re.ASCII,
)
_CD = re.compile(r"CD\d{1,2}_\d{1,2}", re.ASCII)
_AXIS_LIMIT = 32
_SIP_LIMIT = 9
_DISTANCE_LIMIT = 10**9

_Z_KEYWORD = re.compile(r"Z(BITPIX|NAXIS\d*)", re.ASCII)


@dataclass(frozen=True)
class Image:
    """One image HDU: *values* of its keywords, and *shape*, the axis lengths, NAXIS1 first."""

    hdu: int
    values: Mapping[str, CardValue]
    shape: tuple[int, ...]

    @cached_property
    def wcs(self) -> WCS | None:
        """The WCS, of as many axes as the header says; None where no axis has a CTYPE.

        Raises
        ------
        HeaderError
            If there is one and wcslib cannot make sense of it.
        """
        if not any(_has_text(self.values.get(f"CTYPE{axis}")) for axis in range(1, _AXIS_LIMIT)):
            return None
        self._check()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FITSFixedWarning)
                warnings.simplefilter("ignore", fits.verify.VerifyWarning)
                wcs = _wcs(self._wcs_cards())
            wcs.wcs.set()
        except Exception as error:  # wcslib and astropy have over a dozen kinds
            reason = " ".join(str(error).split()) or type(error).__name__
            raise HeaderError(f"the WCS cannot be used: {reason}", self.hdu, "CTYPE1") from error
        if any(length > _DISTANCE_LIMIT for length in self.shape):
            raise HeaderError(f"expected axes of at most {_DISTANCE_LIMIT} pixels", self.hdu)
        return wcs

    def length(self, axis: int) -> int:
        """Pixels along an axis (counted from 0); 1 for an axis that only the WCS has."""
        return self.shape[axis] if axis < len(self.shape) else 1

    def _check(self) -> None:
        """Refuse what would make wcslib or the SIP reader take memory without end."""
        axes = self.values.get("WCSAXES", 0)
        if isinstance(axes, bool) or not isinstance(axes, int) or not 0 <= axes <= _AXIS_LIMIT:
            raise HeaderError(f"expected at most {_AXIS_LIMIT} axes", self.hdu, "WCSAXES")
        for keyword in ("A_ORDER", "B_ORDER"):
            order = self.values.get(keyword, 0)
            if not isinstance(order, int) or not 0 <= order <= _SIP_LIMIT:
                raise HeaderError(
                    f"expected an order of 0 to {_SIP_LIMIT}, found {order!r}", self.hdu, keyword
                )

    def _wcs_cards(self) -> str:
        return "".join(_formatted(*card) for card in self._wcs_values())

    def _wcs_values(self) -> Iterator[tuple[str, CardValue]]:
        for keyword, value in self.values.items():
            if value is None or not _WCS_KEYWORD.fullmatch(keyword):
                continue
            if keyword in ("RADESYS", "RADECSYS", "EQUINOX", "EPOCH"):
                continue  # `sky` reads these; wcslib would refuse a number in quotes
            if _index_beyond(keyword):
                continue
            if keyword.startswith("CTYPE") and _has_text(value) and "-TAB" in str(value):
                # The coordinates are in a table: the axis stays, with nothing known of it.
                yield keyword, ""
                continue
            yield keyword, value
        yield from self._missing_steps()

    def _missing_steps(self) -> Iterator[tuple[str, CardValue]]:
        """CDELTi as CDi_i for an axis that was left out of the CD matrix.

        The standard gives such an axis no step at all; everybody means CDELTi.
        """
        axes = {k[2:].partition("_")[0] for k in self.values if _CD.fullmatch(k)}
        for axis in range(1, len(self.shape) + 1) if axes else ():
            step = self.values.get(f"CDELT{axis}")
            if str(axis) not in axes and isinstance(step, (int, float)):
                yield f"CD{axis}_{axis}", step


def images_of(hdus: tuple[HDUHeader, ...]) -> tuple[Image, ...]:
    """All HDUs that hold an image of at least one pixel.

    Raises
    ------
    HeaderError
        If an image does not say how large it is.
    """
    found = []
    primary = first_values(hdus[0].cards) if hdus else {}
    for hdu in hdus:
        values = image_values(hdu)
        if hdu.index and values.get("INHERIT") is True and primary.get("NAXIS") == 0:
            values = primary | values
        if hdu.kind not in ("PRIMARY", "IMAGE") and values.get("ZIMAGE") is not True:
            continue
        if hdu.kind == "PRIMARY" and values.get("GROUPS") is True:
            continue
        shape = _shape(values, hdu.index)
        if shape and min(shape) > 0:
            found.append(Image(hdu=hdu.index, values=values, shape=shape))
    return tuple(found)


def image_values(hdu: HDUHeader) -> dict[str, CardValue]:
    """Keywords of an HDU; those of the image itself where it is tile-compressed."""
    values = first_values(hdu.cards)
    if values.get("ZIMAGE") is True:
        values = (
            {k: v for k, v in values.items() if not re.fullmatch(r"NAXIS\d*|BITPIX", k)}
            | {
                keyword[1:]: value
                for keyword, value in values.items()
                if _Z_KEYWORD.fullmatch(keyword)
            }
            | {"ZIMAGE": True}
        )
    return values


def _shape(values: Mapping[str, CardValue], hdu: int) -> tuple[int, ...]:
    axes = values.get("NAXIS")
    if isinstance(axes, bool) or not isinstance(axes, int) or not 0 <= axes <= 999:
        raise HeaderError(f"expected the number of axes, found {axes!r}", hdu, "NAXIS")
    shape = []
    for axis in range(1, axes + 1):
        length = values.get(f"NAXIS{axis}")
        if isinstance(length, bool) or not isinstance(length, int) or length < 0:
            raise HeaderError(
                f"expected the length of an axis, found {length!r}", hdu, f"NAXIS{axis}"
            )
        shape.append(length)
    return tuple(shape)


def _wcs(cards: str) -> WCS:
    # SIP, and the PV of SCAMP (TAN written for TPV), are understood by astropy only.
    if "-SIP" in cards or "_ORDER" in cards or "PV1_" in cards or "PV2_" in cards:
        return WCS(fits.Header.fromstring(cards))
    # Otherwise wcslib itself reads the cards, ten times quicker than by way of a Header.
    parameters = Wcsprm(header=cards.encode("ascii"), relax=True)
    wcs = WCS(naxis=parameters.naxis)
    wcs.wcs = parameters
    wcs.fix()
    return wcs


def _has_text(value: CardValue) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _index_beyond(keyword: str) -> bool:
    numbers = re.findall(r"\d+", keyword)
    if keyword.startswith(("A_", "B_", "WAT", "PV", "PS", "PROJP")) or len(numbers) == 0:
        return False
    return any(int(number) > _AXIS_LIMIT for number in numbers if len(number) < 3)


def _formatted(keyword: str, value: CardValue) -> str:
    """One card of 80 characters; a text too long for it is cut."""
    if isinstance(value, bool):
        text = "T" if value else "F"
    elif isinstance(value, str):
        quoted = value.encode("ascii", "replace").decode("ascii").replace("'", "''")
        text = f"'{quoted[:67]:<8}'"
    else:
        text = repr(value).upper()
    return f"{keyword:<8}= {text:>20}"[:80].ljust(80)
