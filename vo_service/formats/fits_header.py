"""Headers of a FITS file with one binary table.

``TUCDn``, ``TUTYPn``, ``TXTYPn`` and ``TCOMMn`` are the conventions of STILTS for what VOTable says
of a column; ``QSTATUS`` (OK, OVERFLOW, ERROR) and ``QMESSAGE`` tell how the result ended.

Source: FITS 4.0, "Headers", "Binary table extension".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from astropy.io.fits import Header, PrimaryHDU

from vo_service.formats.columns import unique_names
from vo_service.formats.encoder import Ending, Heading
from vo_service.formats.fits_columns import FitsColumn

__all__ = ["fits_headers"]

_LONGEST = 10_000  # characters of one value: a header is no place for a megabyte of query
_NO_TEXT = re.compile("[^ -~]")
_TABLE = "query result"


def fits_headers(
    heading: Heading, columns: Sequence[FitsColumn], size: tuple[int, int, int], ending: Ending
) -> bytes:
    """The primary header and that of the table, in whole blocks.

    *size* is the bytes in a row, the rows, and the bytes in the heap.
    """
    width, rows, heap = size
    header = Header(
        [
            ("XTENSION", "BINTABLE", "binary table extension"),
            ("BITPIX", 8),
            ("NAXIS", 2),
            ("NAXIS1", width, "bytes in a row"),
            ("NAXIS2", rows, "rows"),
            ("PCOUNT", heap, "bytes in the heap"),
            ("GCOUNT", 1),
            ("TFIELDS", len(columns), "columns"),
            ("EXTNAME", _TABLE),
            ("QSTATUS", ending.status, "OK, OVERFLOW (cut by MAXREC) or ERROR"),
        ]
    )
    if ending.sentence:
        header["QMESSAGE"] = _text(ending.sentence)
    names = unique_names(heading.fields)
    for number, (name, column) in enumerate(zip(names, columns, strict=True), 1):
        _describe(header, number, name, column)
    for info in heading.infos:
        header.add_comment(_text(f"{info.name}: {info.value}"))
    altered = [name for name, column in zip(names, columns, strict=True) if column.altered]
    if altered:
        header.add_comment(
            _text(f"'?' stands for what FITS text cannot hold: {', '.join(altered)}")
        )
    text: str = PrimaryHDU().header.tostring() + header.tostring()
    return text.encode("ascii")


def _describe(header: Header, number: int, name: str, column: FitsColumn) -> None:
    field = column.field
    header[f"TTYPE{number}"] = _text(name)
    header[f"TFORM{number}"] = column.form
    if column.null is not None:
        header[f"TNULL{number}"] = column.null
    if field.arraysize and "x" in field.arraysize and "*" not in field.arraysize:
        header[f"TDIM{number}"] = f"({field.arraysize.replace('x', ',')})"
    said = {
        "TUNIT": field.unit,
        "TUCD": field.ucd,
        "TUTYP": field.utype,
        "TXTYP": field.xtype,
        "TCOMM": field.description,
    }
    for keyword, value in said.items():
        if value:
            header[f"{keyword}{number}"] = _text(value)


def _text(text: str) -> str:
    """What a card can hold: printable ASCII, of bounded length."""
    flat = " ".join(text.split())
    short = flat if len(flat) <= _LONGEST else flat[: _LONGEST - 3] + "..."
    return _NO_TEXT.sub("?", short)
