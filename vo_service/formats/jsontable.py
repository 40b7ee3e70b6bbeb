"""JSON: one object that describes its columns, holds the rows, and says how it ended.

.. code-block:: json

    {"info": {"publisher": "...", "query": "..."},
     "metadata": [{"name": "s_ra", "datatype": "double", "unit": "deg", "ucd": "pos.eq.ra"}],
     "data": [[149.38, null, "text", [1.5, 2.5]]],
     "status": {"value": "OVERFLOW", "message": "..."}}

``metadata`` and ``data`` are as other TAP services write them (VizieR, Gaia); ``status`` comes
last, when it is known: OK, OVERFLOW or ERROR. JSON (RFC 8259) knows neither NaN nor infinity:
both are null. Integers are written with all their digits; JavaScript keeps 53 bits of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from vo_service.formats.cells import CellStyle, RowWriter, has_any, suspects
from vo_service.formats.columns import described
from vo_service.formats.encoder import Encoder, Ending, Heading

__all__ = ["JsonEncoder"]

_SUSPECT = suspects(bytes(range(32)) + b'"\\')
_CONTROLS = [(code, suspects(bytes([code]))) for code in range(32)]
_QUOTE = pa.scalar('"')


def _string(column: pa.Array) -> pa.Array:
    if has_any(column, _SUSPECT):
        column = pc.replace_substring(column, "\\", "\\\\")
        column = pc.replace_substring(column, '"', '\\"')
        for code, alone in _CONTROLS:
            if has_any(column, alone):
                escape = json.dumps(chr(code))[1:-1]
                column = pc.replace_substring(column, chr(code), escape)
    return pc.binary_join_element_wise(_QUOTE, column, _QUOTE, "")


_STYLE = CellStyle(
    text=_string,
    nan="null",
    infinity="null",
    minus_infinity="null",
    null="null",
    array=("[", ",", "]"),
)


class JsonEncoder(Encoder):
    """Record batches to the rows of a JSON object."""

    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._writer = RowWriter(heading.fields, _STYLE, (",\n[", ",", "]"))
        self._first = True

    def begin(self) -> bytes:
        """All that is known before the rows."""
        info = json.dumps({info.name: info.value for info in self._heading.infos})
        columns = ",\n".join(json.dumps(described(field)) for field in self._heading.fields)
        return f'{{"info": {info},\n"metadata": [\n{columns}],\n"data": ['.encode()

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """Rows, each an array on its own line; the first has no comma before it."""
        rows = self._writer.rows(batch)
        if self._first:
            self._first = False
            rows = rows[1:]
        return rows.tobytes()

    def end(self, ending: Ending) -> Iterable[bytes]:
        """How it ended."""
        status: dict[str, str] = {"value": ending.status}
        if ending.sentence:
            status["message"] = ending.sentence
        return [f'],\n"status": {json.dumps(status)}}}\n'.encode()]
