"""OAI-PMH arguments: pairs of strings in, one checked `Harvest` out, or the error codes.

Source: OAI-PMH 2.0, "HTTP Request Format", "Selective Harvesting", "Error and Exception
Conditions". Times are UTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

from vo_service.errors import UsageError

__all__ = ["PREFIXES", "Fault", "Harvest", "OaiError", "Prefix", "parse_harvest"]

Prefix: TypeAlias = Literal["ivo_vor", "oai_dc"]
PREFIXES: tuple[Prefix, ...] = ("ivo_vor", "oai_dc")

#: Arguments of each verb: those that must be there, and those that may.
_VERBS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "Identify": (frozenset(), frozenset()),
    "ListMetadataFormats": (frozenset(), frozenset({"identifier"})),
    "ListSets": (frozenset(), frozenset()),
    "ListIdentifiers": (frozenset({"metadataPrefix"}), frozenset({"from", "until", "set"})),
    "ListRecords": (frozenset({"metadataPrefix"}), frozenset({"from", "until", "set"})),
    "GetRecord": (frozenset({"identifier", "metadataPrefix"}), frozenset()),
}
_LISTS = frozenset({"ListSets", "ListIdentifiers", "ListRecords"})
_TOKEN = "resumptionToken"  # noqa: S105 - the name of an argument

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_SECOND = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)
_SET = re.compile(r"[A-Za-z0-9\-_.!~*'()]+(:[A-Za-z0-9\-_.!~*'()]+)*", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z0-9\-_.!~*'()]+", re.ASCII)
#: RFC 3986, "Collected ABNF for URI", loosely: what xs:anyURI takes.
_URI = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+"
    r"(#([A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)?",
    re.ASCII,
)
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a request, by OAI-PMH's code."""

    code: str
    message: str


class OaiError(UsageError):
    """A request that OAI-PMH answers with error elements.

    *arguments* are those that the answer may echo; none where they, or the verb, are bad.
    """

    def __init__(self, faults: Sequence[Fault], arguments: Mapping[str, str] | None = None) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = faults
        self.arguments = arguments or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvest:
    """A request without a mistake of form; *arguments* as they were given, verb first."""

    verb: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    prefix: Prefix | None = None
    identifier: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    set_name: str | None = None
    token: str | None = None


def parse_harvest(pairs: Sequence[tuple[str, str]]) -> Harvest:
    """Check the arguments of a request.

    Raises
    ------
    OaiError
        With every mistake that was found.
    """
    verb = _verb(pairs)
    given = dict(pairs)
    required, optional = _VERBS[verb]
    faults = list(_argument_faults(verb, pairs, required, optional))
    since, until = (_moment(given, name, faults) for name in ("from", "until"))
    set_name = given.get("set")
    if set_name is not None and not _SET.fullmatch(set_name):
        faults.append(_bad(f"set={set_name[:_SHOWN]!r}: expected the name of a set"))
    for name, form, wanted in (
        ("metadataPrefix", _PREFIX, " or ".join(PREFIXES)),
        ("identifier", _URI, "an identifier, ivo://authority/path"),
    ):
        if name in given and given[name] and not form.fullmatch(given[name]):
            faults.append(_bad(f"{name}={given[name][:_SHOWN]!r}: expected {wanted}"))
    if since and until and not faults:
        if len(given["from"]) != len(given["until"]):
            faults.append(_bad("from and until have different granularities: expected the same"))
        elif since > until:
            faults.append(_bad("from is later than until"))
    if any("\0" in value for value in given.values()):
        faults.append(_bad("an argument holds a NUL character"))
    if faults:
        raise OaiError(faults)
    prefix: Prefix | None = None
    if "metadataPrefix" in given:
        prefix = next((known for known in PREFIXES if known == given["metadataPrefix"]), None)
        if prefix is None:
            said = f"metadataPrefix: there is {' and '.join(PREFIXES)} here"
            raise OaiError([Fault("cannotDisseminateFormat", said)], given)
    if until is not None and _DAY.fullmatch(given["until"]):
        until += timedelta(days=1, seconds=-1)  # the whole day
    return Harvest(
        verb=verb, arguments=given, prefix=prefix, identifier=given.get("identifier"),
        since=since, until=until, set_name=set_name, token=given.get(_TOKEN),
    )  # fmt: skip


def _verb(pairs: Sequence[tuple[str, str]]) -> str:
    verbs = [value for name, value in pairs if name == "verb"]
    if len(verbs) == 1 and verbs[0] in _VERBS:
        return verbs[0]
    if not verbs:
        said = "there is no verb"
    elif len(verbs) > 1:
        said = "the verb was given more than once"
    else:
        said = f"verb={verbs[0][:_SHOWN]!r} is none"
    raise OaiError([Fault("badVerb", f"{said}: expected one of {', '.join(_VERBS)}")])


def _argument_faults(
    verb: str,
    pairs: Sequence[tuple[str, str]],
    required: frozenset[str],
    optional: frozenset[str],
) -> list[Fault]:
    names = [name for name, _ in pairs if name != "verb"]
    faults = [_bad(f"{name} was given more than once") for name in _repeated(names)]
    if _TOKEN in names and verb in _LISTS:
        if others := sorted(set(names) - {_TOKEN}):
            faults.append(_bad(f"{_TOKEN} excludes other arguments, found {others[0][:_SHOWN]}"))
        return faults
    for name in dict.fromkeys(names):
        if name not in required | optional:
            faults.append(_bad(f"{name[:_SHOWN]} is no argument of {verb}"))
    faults += [_bad(f"{verb} needs {name}") for name in sorted(required - set(names))]
    faults += [
        _bad(f"{name[:_SHOWN]} is empty")
        for name, value in pairs
        if name in required | optional and not value
    ]
    return faults


def _repeated(names: Sequence[str]) -> list[str]:
    return [name[:_SHOWN] for name in dict.fromkeys(names) if names.count(name) > 1]


def _moment(given: Mapping[str, str], name: str, faults: list[Fault]) -> datetime | None:
    text = given.get(name)
    if not text:
        return None
    try:
        if _DAY.fullmatch(text):
            return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        if _SECOND.fullmatch(text):
            return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        pass  # a day that no calendar has
    faults.append(
        _bad(f"{name}={text[:_SHOWN]!r}: expected YYYY-MM-DD or YYYY-MM-DDThh:mm:ssZ (UTC)")
    )
    return None


def _bad(message: str) -> Fault:
    return Fault("badArgument", message)
