"""A result as a page for browsers: no scripts, addresses as links, notices first.

The number of rows and an overflow are known last and wanted first: the closing paragraph is
written after the table and shown before it (CSS ``order``). Nothing from the data can become
markup or an address other than http(s); the policy in the head forbids scripts all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from string import Template

import pyarrow as pa
import pyarrow.compute as pc

from vo_service.formats.cells import CellStyle, RowWriter
from vo_service.formats.columns import TEXT, is_array
from vo_service.formats.encoder import Encoder, Ending, Heading
from vo_service.formats.tabledata import xml_text
from vo_service.formats.xmltext import legal
from vo_service.model.table import Field

__all__ = ["HtmlEncoder"]

_ADDRESS = "^(https?://[^\\s\"'<>]+)$"
_HEAD = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>$title</title>
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --link: #2563eb;
  --page: #fff; --warn: #b45309; }
@media (prefers-color-scheme: dark) { :root { --link: #8ab4ff; --page: #121212;
  --warn: #fbbf24; } }
body { font: 1rem/1.55 system-ui, sans-serif; margin: 0; padding: 1.5rem 1rem;
  background: var(--page); display: flex; flex-direction: column; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; order: -3; }
#about { order: -2; } #ending { order: -1; margin: .6rem 0; }
.notice { border-left: .3rem solid var(--warn); padding: .2rem .7rem; background: var(--soft);
  font-weight: 600; }
a { color: var(--link); }
pre { font: .9rem/1.45 ui-monospace, monospace; background: var(--soft); padding: .6rem .8rem;
  border: 1px solid var(--line); border-radius: .4rem; white-space: pre-wrap; margin: .4rem 0; }
dl { display: grid; grid-template-columns: max-content auto; gap: 0 1rem; font-size: .9rem; }
dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums;
  width: max-content; }
th { position: sticky; top: 0; background: var(--page); text-align: left; vertical-align: bottom;
  box-shadow: inset 0 -2px var(--line), inset 0 99rem var(--soft); cursor: help; }
th span { display: block; font-weight: normal; opacity: .7; min-height: 1.5em; }
th, td { padding: .2rem .7rem; max-width: 32rem; }
td { border-bottom: 1px solid var(--line); white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
td:hover { white-space: normal; overflow-wrap: anywhere; }
tbody tr:hover { background: var(--soft); }
$numbers { text-align: right; }
</style>
</head>
<body>
<h1>$title</h1>
<div id="about">$query<details><summary>About this result</summary>
<dl>$about</dl></details></div>
<table>
<thead><tr>
$names</tr></thead>
<tbody>
""")


def _links(column: pa.Array) -> pa.Array:
    # An address with a quote stays text: the quote would end the attribute.
    link = '<a href="\\1" rel="noreferrer">\\1</a>'
    return pc.replace_substring_regex(xml_text(column), _ADDRESS, link)


_STYLE = CellStyle(text=xml_text)
_LINK_STYLE = CellStyle(text=_links)


class HtmlEncoder(Encoder):
    """Record batches to the rows of an HTML table."""

    def __init__(self, heading: Heading) -> None:
        fields = heading.fields
        links = {field.name: _LINK_STYLE for field in fields if _holds_addresses(field)}
        frame = ("<tr><td>", "</td><td>", "</td></tr>\n")
        self._writer = RowWriter(fields, _STYLE, frame, special=links)
        self._heading = heading
        self._rows = 0

    def begin(self) -> bytes:
        """The page down to the names of the columns."""
        said = {info.name: info.value for info in self._heading.infos}
        query = said.pop("query", None)
        about = "".join(f"<dt>{_text(name)}</dt><dd>{_text(said[name])}</dd>" for name in said)
        page = _HEAD.substitute(
            title=_text(said.get("publisher", "Result")),
            query=f"<pre>{_text(query)}</pre>\n" if query else "",
            about=about,
            numbers=_selector(self._heading.fields),
            names="\n".join(map(_name, self._heading.fields)),
        )
        return page.encode()

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """Rows, each on its own line."""
        self._rows += batch.num_rows
        return self._writer.rows(batch).tobytes()

    def end(self, ending: Ending) -> Iterable[bytes]:
        """The number of rows, how it ended, and the end of the page."""
        count = f"{self._rows:,} row" if self._rows == 1 else f"{self._rows:,} rows"
        ended = f"<p>{count}</p></div>\n</body></html>\n"
        if ending.sentence:
            told = _text(f"{ending.status}: {ending.sentence}.")
            ended = f'<p class="notice">{told}</p>{ended}'
        return [f'</tbody>\n</table>\n<div id="ending">{ended}'.encode()]


def _holds_addresses(field: Field) -> bool:
    return field.datatype in TEXT and (
        (field.ucd or "").lower().startswith("meta.ref") or (field.xtype or "") == "uri"
    )


def _selector(fields: tuple[Field, ...]) -> str:
    """CSS that finds the columns of numbers."""
    numbers = [
        f":is(th, td):nth-child({place})"
        for place, field in enumerate(fields, 1)
        if field.datatype not in TEXT and not is_array(field)
    ]
    return ", ".join(numbers or [".number"])


def _name(field: Field) -> str:
    described = [field.description, field.ucd, field.xtype, field.utype]
    tip = escape(legal("\n".join(filter(None, described))))
    unit = f"<span>{_text(field.unit or '')}</span>"
    return f'<th scope="col" title="{tip}">{_text(field.name)}{unit}</th>'


def _text(text: str) -> str:
    return escape(legal(text))
