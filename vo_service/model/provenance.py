"""What a file was made of, and by what: as an operator maps it, and as it is kept.

Written by an operator as ``provenance`` in a collection file; docs/provenance.md explains it.
Source: MISSION A7; Provenance Data Model 1.0; roles are terms of the vocabulary
ivoa.net/rdf/datalink/core.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from vo_service.model.release import Words, Written

__all__ = [
    "ROLES",
    "Activity",
    "Fact",
    "Provenance",
    "ProvenanceRules",
    "Reference",
    "Role",
    "UsedFiles",
]

Role = Literal["progenitor", "calibration", "bias", "dark", "flat"]
ROLES: tuple[Role, ...] = ("progenitor", "calibration", "bias", "dark", "flat")


def _keywords(words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        if not re.fullmatch(r"[A-Z0-9_ -]+\*?", word):
            raise ValueError(f"expected keywords such as DARK or IMCMB*, found {word!r}")
    return words


#: Keywords; one that ends with ``*`` means all that begin so and go on with digits.
Keywords = Annotated[Words, AfterValidator(_keywords)]


class Fact(Written):
    """The first of *keyword* that has a value, or a *constant*."""

    keyword: Keywords = ()
    constant: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.keyword) == bool(self.constant):
            raise ValueError("expected keyword or constant")
        return self


class UsedFiles(Written):
    """Names of files in the values of all of *keyword*; *collection* has them, else the same."""

    keyword: Keywords
    collection: str | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.keyword:
            raise ValueError("expected keyword")
        return self


class ProvenanceRules(Written):
    """How headers tell of the reduction: its *run*, *software*, *version*, *time*; files *used*."""

    run: Fact | None = None
    software: Fact | None = None
    version: Fact | None = None
    time: Fact | None = None
    used: dict[Role, UsedFiles] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Activity:
    """A run of a pipeline; *version* is that of the *software*, be it a release or a commit."""

    run: str | None
    software: str | None = None
    version: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    comment: str | None = None

    def identifier(self, collection: str) -> str:
        """``collection/run@version``: unique in an archive, the same whenever it is told."""
        name = self.run or self.software or ""
        return f"{collection}/{name}" + (f"@{self.version}" if self.version else "")


@dataclass(frozen=True, slots=True)
class Reference:
    """A file that was used; *name* is a publisher DID, a path in *collection*, or a frame there."""

    role: str
    kind: Literal["did", "path", "frame"]
    collection: str
    name: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """What one product came from; *generated* is UTC."""

    activity: Activity | None = None
    generated: datetime | None = None
    used: tuple[Reference, ...] = ()
