"""Parameters of a bundle: pairs of strings in, one `BundleQuery` out.

Not a standard of the IVOA; names follow DALI 1.1 and ObsCore 1.1. Names are compared without
case, and names that do not belong here are ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from vo_service.errors import MultiValuedError, UsageError
from vo_service.params.tap import Pairs

__all__ = ["BundleQuery", "parse_bundle_query"]

_FORMATS = ("tar", "urls", "aria2", "curl", "manifest", "md5", "python")
_HEADERS = ("original", "corrected")
_SINGLE = ("QUERY", "LANG", "HEADER", "RESPONSEFORMAT")
_MANY = ("ID", "PATH", "OBS_ID")

# No XML document could repeat them, and PostgreSQL stores no NUL.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class BundleQuery:
    """What is to be bundled: the union of all that is named, each file once.

    *ids* are publisher DIDs, *paths* places below ``/data/``, *exposures* values of obs_id,
    *query* is ADQL whose result has publisher DIDs. *response_format* is what a synchronous
    request is answered with.
    """

    ids: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    exposures: tuple[str, ...] = ()
    query: str | None = None
    corrected: bool = False
    response_format: str = "tar"


def parse_bundle_query(pairs: Pairs, *, members_limit: int, query_length: int) -> BundleQuery:
    """Check the parameters of a bundle.

    Parameters
    ----------
    pairs
        Names and values in the order in which they came. ID, PATH and OBS_ID may come any
        number of times, and each may have several lines with one value each.
    members_limit
        How many may be named.
    query_length
        Characters that QUERY may have.

    Raises
    ------
    UsageError
        Names the parameter, what was given and what was expected.
    """
    many: dict[str, list[str]] = {name: [] for name in _MANY}
    single: dict[str, str] = {}
    for name, value in pairs:
        key = name.upper()
        if key in many:
            many[key] += [line.strip() for line in value.splitlines() if line.strip()]
        elif key in _SINGLE and value.strip():
            if key in single:
                raise MultiValuedError(f"{key} is given more than once: expected one value")
            single[key] = value
    count = sum(map(len, many.values()))
    if count > members_limit:
        raise UsageError(
            f"{count} files or exposures are named: a bundle may have at most {members_limit} "
            "(bundle_members_limit)"
        )
    query = single.get("QUERY")
    if not count and query is None:
        raise UsageError("nothing is selected: expected ID, PATH, OBS_ID or QUERY")
    if query is not None and len(query) > query_length:
        raise UsageError(f"QUERY has {len(query)} characters; at most {query_length} are taken")
    if single.get("LANG", "ADQL").upper() not in {"ADQL", "ADQL-2.0", "ADQL-2.1"}:
        raise UsageError(f"LANG={single['LANG'][:60]!r}: expected ADQL, ADQL-2.0 or ADQL-2.1")
    for name, values in many.items():
        for value in values:
            if found := _UNWRITABLE.search(value):
                raise UsageError(
                    f"{name}={value[:60]!r} holds the character U+{ord(found[0]):04X}: expected "
                    "what an identifier may hold"
                )
    return BundleQuery(
        ids=tuple(dict.fromkeys(many["ID"])),
        paths=tuple(dict.fromkeys(map(_path, many["PATH"]))),
        exposures=tuple(dict.fromkeys(many["OBS_ID"])),
        query=query,
        corrected=_choice("HEADER", single.get("HEADER", "original"), _HEADERS) == "corrected",
        response_format=_choice("RESPONSEFORMAT", single.get("RESPONSEFORMAT", "tar"), _FORMATS),
    )


def _path(text: str) -> str:
    """A place below ``/data/``; addresses, as access_url has them, are understood too."""
    if not text.startswith(("http://", "https://")):
        return text.removeprefix("/data/")
    try:
        _, mark, rest = urlsplit(text).path.partition("/data/")
    except ValueError:
        mark = rest = ""
    if not mark or not rest:
        raise UsageError(f"PATH={text[:80]!r}: expected an address below /data/")
    return unquote(rest)


def _choice(name: str, text: str, choices: tuple[str, ...]) -> str:
    key = text.strip().lower()
    if key not in choices:
        raise UsageError(f"{name}={text[:60]!r}: expected one of {', '.join(choices)}")
    return key
