"""The TABLEDATA form of VOTable.

A null is an empty cell in every type (and so the same as an empty string).
Source: VOTable 1.4, "TABLEDATA Serialization".
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from vo_service.formats.cells import CellStyle, RowWriter, has_any, suspects
from vo_service.formats.xmltext import FORBIDDEN, REPLACEMENT
from vo_service.model.table import Field

__all__ = ["TableDataEncoder", "xml_text"]

# A byte of text that may ask for a change: XML's own, controls, and the first of U+FFFE, U+FFFF.
_SUSPECT = suspects(bytes(range(32)) + b"<>&\xef")
_ESCAPES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;"))


def xml_text(column: pa.Array) -> pa.Array:
    """Text that may stand in an element; what XML forbids becomes U+FFFD."""
    if not has_any(column, _SUSPECT):
        return column
    column = pc.replace_substring_regex(column, FORBIDDEN, REPLACEMENT)
    for character, escape in _ESCAPES:
        column = pc.replace_substring(column, character, escape)
    return column


_STYLE = CellStyle(text=xml_text, infinity="+Inf", minus_infinity="-Inf")


class TableDataEncoder:
    """Record batches to ``TR`` elements."""

    opening = b"<TABLEDATA>\n"

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self._writer = RowWriter(fields, _STYLE, ("<TR><TD>", "</TD><TD>", "</TD></TR>\n"))

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """The rows of *batch*, each on its own line."""
        return self._writer.rows(batch).tobytes()

    def end(self) -> bytes:
        """The closing tag."""
        return b"</TABLEDATA>"

    @property
    def altered(self) -> tuple[str, ...]:
        """No column: UTF-8 holds everything."""
        return ()
