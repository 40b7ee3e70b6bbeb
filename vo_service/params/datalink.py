"""DataLink parameters: pairs of strings in, one `LinksQuery` out.

Source: DataLink 1.1, "Input"; DALI 1.1, "Parameters". Names are compared without case;
parameters that DataLink does not define are ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vo_service.errors import MultiValuedError, UsageError
from vo_service.params.tap import Pairs, parse_maxrec

__all__ = ["LINKS_TYPE", "LinksQuery", "parse_header_query", "parse_links_query"]

#: Clients compare it letter by letter: no blank before ``content``.
LINKS_TYPE = "application/x-votable+xml;content=datalink"

#: RESPONSEFORMAT, and the media type to answer with.
_ANSWERS = {
    "votable": LINKS_TYPE,
    LINKS_TYPE: LINKS_TYPE,
    "application/x-votable+xml": "application/x-votable+xml",
    "text/xml": "text/xml",
}

# No XML document could repeat them, and PostgreSQL stores no NUL.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class LinksQuery:
    """Identifiers, each once, in the order in which they came; and how to answer."""

    ids: tuple[str, ...]
    maxrec: int
    media_type: str = LINKS_TYPE


def parse_links_query(pairs: Pairs, *, maxrec_limit: int) -> LinksQuery:
    """Check the parameters of {links}.

    Parameters
    ----------
    pairs
        Names and values in the order in which they came.
    maxrec_limit
        Rows at most, and where MAXREC is absent.

    Raises
    ------
    UsageError
        Names the parameter, what was given and what was expected.
    """
    given: dict[str, list[str]] = {"ID": [], "MAXREC": [], "RESPONSEFORMAT": []}
    for name, value in pairs:
        if value.strip() and (values := given.get(name.upper())) is not None:
            values.append(value)
    for number, identifier in enumerate(given["ID"], 1):
        _check_writable(number, identifier)
    maxrec = parse_maxrec(_single("MAXREC", given["MAXREC"]), maxrec_limit)
    return LinksQuery(
        ids=tuple(dict.fromkeys(given["ID"])),  # all rows of an ID stand together
        maxrec=min(maxrec, maxrec_limit),
        media_type=_media_type(_single("RESPONSEFORMAT", given["RESPONSEFORMAT"])),
    )


def parse_header_query(pairs: Pairs) -> str:
    """The identifier whose headers are asked for.

    Raises
    ------
    UsageError
        If it is not exactly one, or no identifier.
    """
    values = [value for name, value in pairs if name.upper() == "ID" and value.strip()]
    identifier = _single("ID", values)
    if identifier is None:
        raise UsageError("ID is missing: expected an identifier (obs_publisher_did)")
    _check_writable(1, identifier)
    return identifier


def _check_writable(number: int, identifier: str) -> None:
    if found := _UNWRITABLE.search(identifier):
        raise UsageError(
            f"ID number {number} holds the character U+{ord(found[0]):04X}: "
            "expected what an identifier may hold"
        )


def _single(name: str, values: list[str]) -> str | None:
    if len(values) > 1:
        raise MultiValuedError(f"{name} is given more than once: expected one value")
    return values[0] if values else None


def _media_type(asked: str | None) -> str:
    """The media type of the answer; parameters that say nothing here are left out of account."""
    key = "".join((asked or "votable").lower().split())
    answer = _ANSWERS.get(key) or _ANSWERS.get(key.partition(";")[0])
    if answer is None:
        names = ", ".join(_ANSWERS)
        raise UsageError(
            f"RESPONSEFORMAT={(asked or '')[:80]!r} is not known here: expected one of {names}"
        )
    return answer
