"""Headers in, what a file was made of out.

Keywords are looked up in all HDUs in their order, the first that has a value counts. Values with
names of files may hold several, with commas, semicolons or blanks between them.
Source: MISSION A7; the rules are those of `model.provenance`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

from vo_service.errors import HeaderError
from vo_service.ingest.cards import CardValue
from vo_service.model.collection import Collection
from vo_service.model.dates import mjd
from vo_service.model.frame_name import stem
from vo_service.model.observation import HDUHeader
from vo_service.model.provenance import Activity, Fact, Provenance, Reference

__all__ = ["NAME_LIMIT", "moment", "provenance_of", "reference"]

#: Characters of a name of a file, a run or a software.
NAME_LIMIT = 500

_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)


def provenance_of(collection: Collection, hdus: Sequence[HDUHeader]) -> Provenance | None:
    """What headers say of how a file was made; None where the collection does not look.

    Raises
    ------
    HeaderError
        A value is no date, or too long: keyword and reason.
    """
    rules = collection.provenance
    if rules is None:
        return None
    values: dict[str, CardValue] = {}
    for hdu in hdus:
        for keyword, value, _ in hdu.cards:
            if value is not None and str(value).strip():
                values.setdefault(keyword, value)
    activity = Activity(
        _fact(values, rules.run), _fact(values, rules.software), _fact(values, rules.version)
    )
    made = any((activity.run, activity.software, activity.version))
    used = [
        reference(role, files.collection or collection.name, name)
        for role, files in rules.used.items()
        for keyword in _found(values, files.keyword)
        for name in _names(keyword, values[keyword])
    ]
    return Provenance(
        activity if made else None, _time(values, rules.time), tuple(dict.fromkeys(used))
    )


def reference(role: str, collection: str, name: str) -> Reference:
    """A file as it is written in headers and tables.

    An identifier begins with ``ivo:``. What has a slash is a path below the collection; an
    absolute one is that of another machine, and of it, as of everything else, the name without
    its suffix is the frame.
    """
    if name.startswith("ivo:"):
        return Reference(role, "did", collection, name)
    if "/" in name and not name.startswith(("/", "~")):
        return Reference(role, "path", collection, name.removeprefix("./"))
    return Reference(role, "frame", collection, stem(PurePosixPath(name)) or name)


def moment(text: str) -> datetime:
    """A date as FITS headers write them, UTC.

    Raises
    ------
    ValueError
        Names the text and what was expected.
    """
    return _MJD_EPOCH + timedelta(milliseconds=round(mjd(text) * 86_400_000))


def _found(values: Mapping[str, CardValue], keywords: Sequence[str]) -> Iterator[str]:
    """The keywords that are there, those of a series in the order of their numbers."""
    for wanted in keywords:
        if not wanted.endswith("*"):
            yield from [wanted] if wanted in values else []
            continue
        begin = re.escape(wanted[:-1])
        series = [k for k in values if re.fullmatch(rf"{begin}\d*", k, re.ASCII)]
        yield from sorted(series, key=lambda keyword: (len(keyword), keyword))


def _names(keyword: str, value: CardValue) -> list[str]:
    names = [name for name in re.split(r"[\s,;]+", str(value)) if name]
    for name in names:
        if len(name) > NAME_LIMIT:
            raise HeaderError(f"expected names of at most {NAME_LIMIT} characters", None, keyword)
    return names


def _fact(values: Mapping[str, CardValue], fact: Fact | None) -> str | None:
    if fact is None or fact.constant is not None:
        return fact.constant if fact else None
    for keyword in _found(values, fact.keyword):
        text = str(values[keyword]).strip()
        if len(text) > NAME_LIMIT:
            raise HeaderError(f"expected at most {NAME_LIMIT} characters", None, keyword)
        return text
    return None


def _time(values: Mapping[str, CardValue], fact: Fact | None) -> datetime | None:
    text = _fact(values, fact)
    if text is None or fact is None:
        return None
    try:
        return moment(text)
    except (ValueError, OverflowError) as error:
        raise HeaderError(str(error), None, next(iter(fact.keyword), None)) from error
