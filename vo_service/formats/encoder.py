"""What all writers of tables share: an encoder is given batches, and one loop drives it.

A format is a class with a beginning, an encoding of one slice of rows, and an end that knows
how the result ended. Errors after the beginning are told where the format has a place for
them (DALI 1.1, "Overflow", "Errors").
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, TypeVar

import pyarrow as pa
from anyio.to_thread import run_sync

from vo_service.errors import VOError
from vo_service.formats.columns import slices
from vo_service.model.table import Field, Rows

__all__ = [
    "Encoder",
    "EncoderOf",
    "Ending",
    "Heading",
    "Info",
    "Input",
    "ServiceDescriptor",
    "encoded",
]


_T = TypeVar("_T")

#: Of a result so far: so little is encoded sooner than another thread would begin with it.
_SMALL_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Info:
    """One thing said of a result: *text* is for people (the content of a VOTable's INFO)."""

    name: str
    value: str
    text: str | None = None
    ucd: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A parameter that whoever uses a service may choose.

    *minimum* and *maximum* are the ends of what makes sense, *options* all of it; for a region of
    the sky *maximum* is the whole region (SODA 1.0, "Service Descriptors").
    """

    name: str
    datatype: str = "char"
    arraysize: str | None = "*"
    xtype: str | None = None
    unit: str | None = None
    ucd: str | None = None
    description: str | None = None
    minimum: str | None = None
    maximum: str | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDescriptor:
    """A service that takes values of one column (DataLink 1.1, "Service Descriptors").

    Parameters
    ----------
    identifier
        XML ID of the descriptor, unique in the document.
    access_url, standard_id
        Where the service is, and what it is (``ivo://ivoa.net/std/DataLink#links-1.1``).
    parameter, ucd, column
        The service's parameter, and the name of the field whose values it takes.
    value
        The one value of the parameter, for a service of one row: *column* is then None.
    inputs
        Further parameters.
    description
        For people, in the menus of clients.
    this
        Whether it is the very service that answers, described for those who see only the answer;
        it has *inputs* only.
    """

    identifier: str
    access_url: str
    standard_id: str
    column: str | None = None
    parameter: str = "ID"
    ucd: str | None = None
    value: str = ""
    inputs: tuple[Input, ...] = ()
    description: str | None = None
    this: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """What is known before the first row: columns, and what is said of the result.

    *params* are parameters of the result as a whole (SSAP 1.1, "Service metadata").
    """

    fields: tuple[Field, ...]
    infos: Sequence[Info] = ()
    services: Sequence[ServiceDescriptor] = ()
    params: Sequence[Input] = ()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a result ended: all of it, cut by MAXREC, or with a failure that *message* tells."""

    status: Literal["OK", "OVERFLOW", "ERROR"]
    message: str | None = None

    @property
    def sentence(self) -> str | None:
        """What a person must be told; None where all is well."""
        match self.status:
            case "OK":
                return None
            case "OVERFLOW":
                return self.message or "there are more rows than MAXREC allows; these are the first"
            case "ERROR":
                return f"the result is not complete: {self.message}"


class Encoder(ABC):
    """Record batches to the bytes of one result; used once, by one thread at a time."""

    #: Rows given to `encode` at once: few for text that grows, more where columns are copied.
    slice_rows: ClassVar[int] = 4096

    @abstractmethod
    def begin(self) -> bytes:
        """What comes before the first row; may be nothing."""

    @abstractmethod
    def encode(self, batch: pa.RecordBatch) -> bytes:
        """The bytes that *batch* completes; may be nothing.

        Raises
        ------
        VOError
            If a value does not fit its field.
        """

    @abstractmethod
    def end(self, ending: Ending) -> Iterable[bytes]:
        """The rest, in pieces.

        Raises
        ------
        VOError
            If the result failed and the format has no place to say so.
        """

    def close(self) -> None:
        """Free what the encoder holds; called however the result ends."""
        return


EncoderOf = Callable[[Heading], Encoder]


async def encoded(rows: Rows, encoder: Encoder) -> AsyncIterator[bytes]:
    """Write *rows* while they arrive, a few thousand at a time.

    Parameters
    ----------
    rows
        Read to the end, not closed.
    encoder
        A fresh one; closed here.

    Raises
    ------
    VOError
        Where the format cannot tell a failure: the answer must be cut off.

    Notes
    -----
    The beginning is given before the first batch is asked for. A `VOError` while reading is
    told at the end; any other exception is a defect and cuts the result off.
    """
    try:
        if beginning := encoder.begin():
            yield beginning
        ending = Ending("OK")
        size = 0
        try:
            async for batch in rows.batches():
                size += batch.nbytes
                for part in slices(batch, encoder.slice_rows):
                    if piece := await _done(partial(encoder.encode, part), size):
                        yield piece
            if rows.truncated or rows.missing:
                ending = Ending("OVERFLOW", rows.missing)
        except VOError as error:
            ending = Ending("ERROR", str(error))
        rest = iter(encoder.end(ending))
        while (last := await _done(partial(next, rest, None), size)) is not None:
            yield last
    finally:
        encoder.close()


async def _done(work: Callable[[], _T], size: int) -> _T:
    """What *work* gives, which belongs to a result of *size* bytes so far."""
    return work() if size <= _SMALL_BYTES else await run_sync(work)
