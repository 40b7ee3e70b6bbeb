"""Apache Arrow IPC stream: the batches themselves, in the types of their fields.

Fields carry what VOTable says of them as metadata (``unit``, ``ucd`` ...), the schema what is
said of the result. Its message comes first, so an overflow or failure is the metadata of a
last batch without rows, ``QUERY_STATUS`` and ``message``: readers that do not know it see the
rows alone. Source: Apache Arrow columnar format 1.5, "IPC Streaming Format".
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from vo_service.formats.columns import ELEMENTS, as_declared, described, is_array
from vo_service.formats.encoder import Encoder, Ending, Heading
from vo_service.formats.sink import Sink
from vo_service.model.table import Field

__all__ = ["ArrowEncoder", "arrow_schema", "declared_batch"]


def arrow_schema(fields: tuple[Field, ...]) -> pa.Schema:
    """The schema of batches that agree with *fields*."""
    return pa.schema([_arrow_field(field) for field in fields])


def declared_batch(
    batch: pa.RecordBatch, fields: tuple[Field, ...], schema: pa.Schema
) -> pa.RecordBatch:
    """*batch* in the types of its fields.

    Raises
    ------
    VOError
        If a value does not fit its field.
    """
    columns = [as_declared(c, f) for c, f in zip(batch.columns, fields, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


class ArrowEncoder(Encoder):
    """Record batches to an IPC stream."""

    slice_rows = 65536

    def __init__(self, heading: Heading) -> None:
        self._fields = heading.fields
        said = {info.name: info.value for info in heading.infos}
        self._schema = arrow_schema(heading.fields).with_metadata(said or None)
        self._sink = Sink()
        self._writer = pa.ipc.new_stream(self._sink, self._schema)

    def begin(self) -> bytes:
        """The schema."""
        return self._sink.take()

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """A message for each batch."""
        self._writer.write_batch(declared_batch(batch, self._fields, self._schema))
        return self._sink.take()

    def end(self, ending: Ending) -> Iterable[bytes]:
        """How it ended, where it did not end well, and the mark of the end."""
        if ending.sentence:
            said = {"QUERY_STATUS": ending.status, "message": ending.sentence}
            nothing = pa.RecordBatch.from_pylist([], schema=self._schema)
            self._writer.write_batch(nothing, custom_metadata=said)
        self._writer.close()
        return [self._sink.take()]


def _arrow_field(field: Field) -> pa.Field:
    element = ELEMENTS[field.datatype]
    kind = pa.list_(element) if is_array(field) else element
    said = {key: value for key, value in described(field).items() if key != "name"}
    return pa.field(field.name, kind, metadata=said)
