"""TAP parameters: pairs of strings in, one `TapQuery` out.

Source: TAP 1.1, "Parameters for queries"; DALI 1.1, "Parameters". Names are compared
without case; parameters that TAP does not define are ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vo_service.errors import MultiValuedError, UsageError
from vo_service.params.upload import UploadSpec, parse_uploads

__all__ = ["LANGUAGES", "Pairs", "TapQuery", "parse_maxrec", "parse_tap_query"]

Pairs = Iterable[tuple[str, str]]

#: Values of LANG, in lower case; one parser serves both versions.
LANGUAGES = ("adql", "adql-2.0", "adql-2.1")

_SINGLE = ("LANG", "QUERY", "RESPONSEFORMAT", "FORMAT", "MAXREC", "RUNID")
_RUNID_LENGTH = 64


@dataclass(frozen=True, slots=True)
class TapQuery:
    """A query with its defaults filled in; *response_format* is what the client asked for."""

    query: str
    maxrec: int
    response_format: str | None = None
    run_id: str | None = None
    uploads: tuple[UploadSpec, ...] = ()


def parse_tap_query(
    pairs: Pairs,
    *,
    maxrec_default: int,
    maxrec_limit: int,
    query_length: int,
    uploads_limit: int = 10,
) -> TapQuery:
    """Check the parameters of a query.

    Parameters
    ----------
    pairs
        Names and values in the order in which they came.
    maxrec_default, maxrec_limit
        Rows where MAXREC is absent, and at most.
    query_length
        Characters that QUERY may have.
    uploads_limit
        Tables that may be uploaded.

    Raises
    ------
    UsageError
        Names the parameter, what was given and what was expected.
    """
    pairs = list(pairs)
    given = _single(pairs)
    language = given.get("LANG")
    if language is None:
        raise UsageError("LANG is missing: expected LANG=ADQL")
    if language.lower() not in LANGUAGES:
        raise UsageError(
            f"unknown query language LANG={_short(language)}: expected ADQL, ADQL-2.0 or ADQL-2.1"
        )
    query = given.get("QUERY", "")
    if not query.strip():
        raise UsageError("QUERY is missing: expected the text of an ADQL query")
    if len(query) > query_length:
        raise UsageError(f"QUERY has {len(query)} characters; at most {query_length} are taken")
    run_id = given.get("RUNID")
    if run_id is not None and len(run_id) > _RUNID_LENGTH:
        raise UsageError(f"RUNID has {len(run_id)} characters: expected at most {_RUNID_LENGTH}")
    # FORMAT is TAP 1.0's name; where both are given the newer one counts.
    return TapQuery(
        query=query,
        maxrec=min(parse_maxrec(given.get("MAXREC"), maxrec_default), maxrec_limit),
        response_format=given.get("RESPONSEFORMAT") or given.get("FORMAT"),
        run_id=run_id,
        uploads=parse_uploads(pairs, uploads_limit),
    )


def _single(pairs: Pairs) -> Mapping[str, str]:
    given: dict[str, str] = {}
    for name, value in pairs:
        key = name.upper()
        if key not in _SINGLE:
            continue
        if key in given:
            raise MultiValuedError(f"{key} is given more than once: expected one value")
        given[key] = value
    return given


def parse_maxrec(text: str | None, default: int) -> int:
    """MAXREC as a number, *default* where it is absent.

    Raises
    ------
    UsageError
        If it is no whole number, 0 or larger.
    """
    if text is None or not text.strip():
        return default
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit()):
        raise UsageError(f"MAXREC={_short(text)}: expected a whole number, 0 or larger")
    return int(digits) if len(digits) < 19 else 10**18


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
