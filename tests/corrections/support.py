"""Files to be corrected, corrections for them, and what astropy says of the outcome."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits
from hypothesis import strategies as st

from vo_service.ingest.rewrite import CorrectedHeaders, corrected_headers
from vo_service.model.correction import Correction, Datatype, FrameRange, fits_text

Value = str | int | float | bool | None

ANY_FRAME = FrameRange.of("F1", "")


def fix(
    keyword: str,
    current: str,
    updated: str,
    datatype: Datatype = "float",
    *,
    hdu: str = "",
    comment: str = "",
    frames: FrameRange = ANY_FRAME,
) -> Correction:
    """A correction with its values as a table would have them."""
    return Correction(
        frames=frames,
        keyword=keyword,
        current=fits_text(current, datatype),
        updated=fits_text(updated, datatype),
        datatype=datatype,
        hdu=hdu,
        comment=comment,
    )


def as_csv(corrections: Sequence[Correction]) -> str:
    """The list as the service gives it."""
    lines = ["start_frame,end_frame,hdu,keyword,current,updated,datatype,comment,reference"]
    for c in corrections:
        fields = (c.frames.start, c.frames.end, c.hdu, c.keyword, c.current, c.updated,
                  c.datatype, c.comment, c.reference)  # fmt: skip
        lines.append(",".join('"' + field.replace('"', '""') + '"' for field in fields))
    return "\n".join(lines) + "\n"


def header_of(cards: Sequence[tuple[str, Value, str]]) -> fits.Header:
    header = fits.Header()
    for keyword, value, comment in cards:
        header.append((keyword, fits.card.UNDEFINED if value is None else value, comment))
    return header


def write(path: Path, *hdus: fits.hdu.base._BaseHDU, checksum: bool = True) -> Path:
    """A file whose checksums are right and whose text is the same every time."""
    made = fits.HDUList(list(hdus))
    if checksum:
        for hdu in made:
            hdu.add_checksum(when="when it was made")
    made.writeto(path, overwrite=True)
    return path


def image(cards: Sequence[tuple[str, Value, str]], name: str = "", seed: int = 0) -> fits.ImageHDU:
    data = np.random.default_rng(seed).integers(0, 1000, (7, 11)).astype(np.int16)
    return fits.ImageHDU(data, header_of(cards), name=name or None)


def primary(cards: Sequence[tuple[str, Value, str]]) -> fits.PrimaryHDU:
    return fits.PrimaryHDU(np.arange(30, dtype=np.float32), header_of(cards))


def corrected(path: Path, corrections: Sequence[Correction]) -> tuple[bytes, CorrectedHeaders]:
    """The corrected file as a whole."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        found = corrected_headers(descriptor, path.stat().st_size, corrections)
        parts = [
            part if isinstance(part, bytes) else os.pread(descriptor, part[1] - part[0], part[0])
            for part in found.parts
        ]
    finally:
        os.close(descriptor)
    return b"".join(parts), found


def opened(path: Path) -> fits.HDUList:
    """A file as astropy reads it, any doubt about its checksums being an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=ResourceWarning)
        hdus = fits.open(path, checksum=True, memmap=False, disable_image_compression=True)
        for hdu in hdus:
            hdu.verify("exception")
            assert len(hdu.header.tostring()) % 2880 == 0
        return hdus


def cards_of(header: fits.Header, *, without: Sequence[str] = ()) -> list[str]:
    return [card.image for card in header.cards if card.keyword not in without]


_TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=150)
_NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(lambda x: float(f"{x:.12g}"))
#: A value as a table has it, and its datatype.
VALUES: st.SearchStrategy[tuple[str, Datatype]] = st.one_of(
    st.tuples(st.integers(-(10**17), 10**17).map(str), st.just("int")),
    st.tuples(_NUMBERS.map(repr), st.just("float")),
    st.tuples(st.sampled_from(["T", "F"]), st.just("logical")),
    st.tuples(_TEXTS, st.just("string")),
    st.tuples(st.just(""), st.just("float")),
)
KEYWORDS = ("OBJECT", "EXPTIME", "T_SEEING", "A", "X-Y_Z", "GAIN1", "ESO DET ID", "LONGKEYWORD1")


def value_of(text: str, datatype: Datatype) -> Value:
    """What a reader of the file should find."""
    if datatype == "string":
        return text.rstrip(" ")
    if not text:
        return None
    return text == "T" if datatype == "logical" else int(text) if datatype == "int" else float(text)


def found_in(header: fits.Header, keyword: str) -> Value:
    value = header[keyword]
    return None if isinstance(value, fits.card.Undefined) else value
