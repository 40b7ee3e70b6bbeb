"""The output formats of a table: one table, read by the protocols and by capabilities.

Source: TAP 1.1, "RESPONSEFORMAT"; DALI 1.1, "RESPONSEFORMAT"; TAPRegExt 1.0, "Output formats".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial

from vo_service.errors import UsageError
from vo_service.formats.arrow import ArrowEncoder
from vo_service.formats.encoder import EncoderOf, Heading, Info, ServiceDescriptor, encoded
from vo_service.formats.fits import FitsEncoder
from vo_service.formats.jsontable import JsonEncoder
from vo_service.formats.parquet import ParquetEncoder
from vo_service.formats.plaintext import PlainTextEncoder
from vo_service.formats.separated import CsvEncoder, TsvEncoder
from vo_service.formats.sqlite import SqliteEncoder
from vo_service.formats.votable import Serialization, VOTableEncoder
from vo_service.formats.webpage import HtmlEncoder
from vo_service.model.table import Rows

__all__ = ["FORMATS", "OutputFormat", "file_disposition", "output_format"]

_VOTABLE = "application/x-votable+xml"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFormat:
    """A way to write a table.

    Parameters
    ----------
    media_type, aliases
        What RESPONSEFORMAT may say, without case and spaces; aliases are in lower case.
    answer
        The media type of the answer to a short name.
    suffix
        Of a file with such a result, without the dot.
    shown
        Whether a browser shows it; the others it is told to keep.
    tells
        Whether it has a place to say that a result is not whole.
    encoder
        Makes the encoder of one result.
    ivo_id
        Identifier in TAPRegExt.
    """

    media_type: str
    aliases: tuple[str, ...]
    suffix: str
    encoder: EncoderOf
    answer: str
    shown: bool = False
    tells: bool = True
    ivo_id: str | None = None

    def write(
        self, rows: Rows, infos: Sequence[Info], services: Sequence[ServiceDescriptor] = ()
    ) -> AsyncIterator[bytes]:
        """The bytes of a result, while it arrives; see `encoded`."""
        return encoded(rows, self.encoder(Heading(rows.fields, infos, services)))

    def answer_to(self, asked: str) -> str:
        """The media type of an answer: what was asked for, but for short names.

        A plain type may get parameters (DALI 1.1, "RESPONSEFORMAT"), such as ``header=present``.
        """
        if "/" not in asked or asked.lower().startswith("votable/"):
            return self.answer
        return self.answer if self.answer.startswith(f"{asked.lower()};") else asked

    @property
    def disposition(self) -> str:
        """The Content-Disposition of an answer."""
        kind = "inline" if self.shown else "attachment"
        return f'{kind}; filename="result.{self.suffix}"'


def _votable(serialization: Serialization, label: str, *aliases: str) -> OutputFormat:
    return OutputFormat(
        media_type=f"{_VOTABLE};serialization={serialization}",
        aliases=aliases,
        suffix="vot",
        encoder=partial(VOTableEncoder, serialization=serialization),
        answer=_VOTABLE,
        shown=True,
        ivo_id=f"ivo://ivoa.net/std/TAPRegExt#output-votable-{label}",
    )


#: The first is what a client gets that does not ask.
FORMATS: tuple[OutputFormat, ...] = (
    _votable("BINARY2", "binary2", _VOTABLE, "votable", "votable/b2"),
    _votable("TABLEDATA", "td", "text/xml", "votable/td"),
    _votable("BINARY", "binary", "votable/b"),
    OutputFormat(
        media_type="text/csv;header=present",
        aliases=("text/csv", "csv"),
        suffix="csv",
        encoder=CsvEncoder,
        tells=False,
        answer="text/csv;header=present",
    ),
    OutputFormat(
        media_type="text/tab-separated-values",
        aliases=("tsv",),
        suffix="tsv",
        encoder=TsvEncoder,
        tells=False,
        answer="text/tab-separated-values",
    ),
    OutputFormat(
        media_type="application/fits",
        aliases=("fits",),
        suffix="fits",
        encoder=FitsEncoder,
        answer="application/fits",
    ),
    OutputFormat(
        media_type="application/vnd.apache.parquet",
        aliases=("parquet", "application/x-parquet"),
        suffix="parquet",
        encoder=ParquetEncoder,
        answer="application/vnd.apache.parquet",
    ),
    OutputFormat(
        media_type="application/vnd.apache.arrow.stream",
        aliases=("arrow",),
        suffix="arrows",
        encoder=ArrowEncoder,
        answer="application/vnd.apache.arrow.stream",
    ),
    OutputFormat(
        media_type="application/json",
        aliases=("json",),
        suffix="json",
        encoder=JsonEncoder,
        answer="application/json",
        shown=True,
    ),
    OutputFormat(
        media_type="text/plain",
        aliases=("text",),
        suffix="txt",
        encoder=PlainTextEncoder,
        answer="text/plain;charset=utf-8",
        shown=True,
    ),
    OutputFormat(
        media_type="text/html",
        aliases=("html",),
        suffix="html",
        encoder=HtmlEncoder,
        answer="text/html;charset=utf-8",
        shown=True,
    ),
    OutputFormat(
        media_type="application/vnd.sqlite3",
        aliases=("sqlite", "application/x-sqlite3"),
        suffix="sqlite",
        encoder=SqliteEncoder,
        answer="application/vnd.sqlite3",
    ),
)


def output_format(requested: str | None) -> tuple[OutputFormat, str]:
    """The format for a RESPONSEFORMAT, and the media type to answer with.

    Raises
    ------
    UsageError
        If the format is unknown; names those that are known.
    """
    if requested is None or not requested.strip():
        return FORMATS[0], FORMATS[0].answer
    wanted = " ".join(requested.split())  # it goes into a header: no line breaks
    if wanted.isascii() and (found := _known(wanted)):
        return found, found.answer_to(wanted)
    names = ", ".join(name for known in FORMATS for name in (known.media_type, *known.aliases))
    raise UsageError(f"RESPONSEFORMAT={wanted[:80]!r} is not known here: expected one of {names}")


def file_disposition(media_type: str, suffix: str) -> str:
    """The Content-Disposition of a stored result; what is no table is kept, not shown."""
    found = _known(media_type)
    return found.disposition if found else f'attachment; filename="result.{suffix}"'


def _known(media_type: str) -> OutputFormat | None:
    key = "".join(media_type.lower().split()).removesuffix(";charset=utf-8")
    return next((f for f in FORMATS if key in (f.media_type.lower(), *f.aliases)), None)
