"""A collection: what an operator writes about one instrument, in one YAML or TOML file.

It says where files lie, which of them are taken, how header keywords become ObsCore columns,
and when a frame becomes public. `docs/collections.md` is the page for the one who writes it.
Source: MISSION A1, A2, A9, E1-E4; ObsCore 1.1.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from astropy import units
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from vo_service.model.data_server import DataServer
from vo_service.model.expression import parse_expression
from vo_service.model.frame_name import FrameName
from vo_service.model.obscore import OBSCORE
from vo_service.model.provenance import ProvenanceRules
from vo_service.model.release import Release, Words, Written
from vo_service.model.written_file import read_written

__all__ = [
    "COLUMN_UNITS",
    "PRODUCT_FIELDS",
    "WCS_COLUMNS",
    "Allowed",
    "Collection",
    "Rule",
    "Source",
    "load_collection",
]

#: Columns that the product or the server gives; a collection has no say in them.
_NOT_MAPPED = ("obs_publisher_did", "access_url", "access_format", "access_estsize")

#: Columns that a collection maps, in the order in which they are worked out, and their units.
COLUMN_UNITS: Mapping[str, str | None] = {
    column.name: column.unit for column in OBSCORE if column.name not in _NOT_MAPPED
}

PRODUCT_FIELDS = ("night", "proposal_id", "data_typ", "obs_mod", "observer", "object_name")

#: Columns for which ``wcs`` may be written.
WCS_COLUMNS = frozenset(
    (
        *("s_ra", "s_dec", "s_fov", "s_region", "s_xel1", "s_xel2", "t_min", "t_max", "t_xel"),
        *("em_min", "em_max", "em_xel", "pol_states", "pol_xel"),
    )
)

Scalar = str | int | float | bool | None


def _expression(text: str) -> str:
    parse_expression(text)
    return text


ExpressionText = Annotated[str, AfterValidator(_expression)]


class Source(Written):
    """One way to a value: exactly one of *constant*, *keyword*, *expression* and *wcs*.

    *keyword* names one or more FITS keywords, the first that is there counts. *unit* is the
    unit in which the value comes (to be converted to the column's); *values* translates
    value by value; *default* stands for what is missing or not among *values*.
    """

    constant: Scalar = None
    keyword: Words = ()
    expression: ExpressionText | None = None
    wcs: bool = False
    unit: str | None = None
    values: dict[str, Scalar] | None = None
    default: Scalar = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = {"constant", "keyword", "expression", "wcs"} & self.model_fields_set
        if len(ways) != 1:
            raise ValueError("expected exactly one of constant, keyword, expression and wcs")
        if ways <= {"constant", "wcs"} and {"unit", "values"} & self.model_fields_set:
            raise ValueError("unit and values go with keyword or expression only")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Only what was given: a null that was written is another thing than none."""
        return {key: value for key, value in write(self).items() if key in self.model_fields_set}

    @property
    def has_default(self) -> bool:
        """Whether a default was written, be it null."""
        return "default" in self.model_fields_set


def _sources(value: object) -> object:
    """Short forms: ``wcs`` is the WCS, any other bare value a constant, a list alternatives."""
    return [
        item
        if isinstance(item, dict | Source)
        else ({"wcs": True} if item == "wcs" else {"constant": item})
        for item in (value if isinstance(value, list | tuple) else [value])
    ]


#: Alternatives for one column: the first that gives a value counts.
Sources = Annotated[tuple[Source, ...], BeforeValidator(_sources)]


def _columns(mapping: dict[str, tuple[Source, ...]]) -> dict[str, tuple[Source, ...]]:
    order = list(COLUMN_UNITS)
    for name, sources in mapping.items():
        if name not in COLUMN_UNITS:
            raise ValueError(f"{name} is no column to be mapped; those are {', '.join(order)}")
        for source in sources:
            if source.wcs and name not in WCS_COLUMNS:
                raise ValueError(f"{name}: the WCS says nothing of this column")
            if name == "s_region" and not (source.wcs or source.constant == "circle"):
                raise ValueError("s_region: expected wcs or circle")
            _check_unit(name, source)
            _check_names(name, source, {"filename", "path"} | set(order[: order.index(name)]))
    return mapping


def _check_unit(name: str, source: Source) -> None:
    if source.unit is None:
        return
    try:
        (1.0 * units.Unit(source.unit)).to(COLUMN_UNITS[name], units.spectral())
    except (ValueError, TypeError) as error:
        wanted = COLUMN_UNITS[name]
        raise ValueError(
            f"{name}.unit: expected a unit that converts to {wanted}, found {source.unit!r}"
            if wanted
            else f"{name}.unit: this column has no unit"
        ) from error


def _check_names(name: str, source: Source, known: set[str]) -> None:
    if source.expression is None:
        return
    if unknown := sorted(parse_expression(source.expression).names - known):
        raise ValueError(
            f"{name}.expression: {unknown[0]} is not known here; a keyword is written"
            f" {{{unknown[0].upper()}}}, and a column must stand before {name} in ObsCore"
        )


def _product(mapping: dict[str, tuple[Source, ...]]) -> dict[str, tuple[Source, ...]]:
    for name, sources in mapping.items():
        if name not in PRODUCT_FIELDS:
            raise ValueError(f"{name} is not one of {', '.join(PRODUCT_FIELDS)}")
        for source in sources:
            if source.wcs or source.unit:
                raise ValueError(f"{name}: neither wcs nor unit can be used here")
            _check_names(name, source, {"filename", "path", *COLUMN_UNITS})
    return mapping


ColumnMap = Annotated[dict[str, Sources], AfterValidator(_columns)]
ProductMap = Annotated[dict[str, Sources], AfterValidator(_product)]


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"expected a regular expression ({error})") from error
    return text


class Allowed(Written):
    """What a keyword's value may be: one of *values*, or all of it matching *pattern*."""

    values: Words = ()
    pattern: Annotated[str, AfterValidator(_pattern)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"values": value} if isinstance(value, list) else value

    @model_validator(mode="after")
    def _something(self) -> Self:
        if bool(self.values) == bool(self.pattern):
            raise ValueError("expected a list of values, or pattern")
        return self

    def holds(self, value: object) -> bool:
        """Whether *value*, as text, is allowed."""
        if self.pattern is not None:
            return re.fullmatch(self.pattern, str(value)) is not None
        return str(value) in self.values

    def __str__(self) -> str:
        return f"the form {self.pattern}" if self.pattern else f"one of {', '.join(self.values)}"


Position = Literal["required", "optional", "none"]


class Rule(Written):
    """What is different for the frames for which *when* is true; later rules win."""

    name: str
    when: ExpressionText
    refuse: str | None = None
    position: Position | None = None
    require: Words = ()
    allow: dict[str, Allowed] = Field(default_factory=dict)
    obscore: ColumnMap = Field(default_factory=dict)
    product: ProductMap = Field(default_factory=dict)

    @model_validator(mode="after")
    def _condition_reads_keywords(self) -> Self:
        if unknown := sorted(parse_expression(self.when).names - {"filename", "path"}):
            raise ValueError(f"when: {unknown[0]} is not known here; a keyword stands in braces")
        return self


class Files(Written):
    """Shell patterns of names, and of paths below the root, to be taken or left."""

    take: Words = ("*.fits", "*.fit", "*.fts", "*.fits.gz", "*.fit.gz", "*.fits.fz", "*.fz")
    take_headers: Words = ("*.hdr", "*.head", "*.txt")
    leave: Words = (".*", "*/.*")

    def takes(self, path: PurePosixPath, *, headers_only: bool = False) -> bool:
        """Whether a file at *path* (below its root) belongs to the collection."""
        wanted = self.take_headers if headers_only else self.take
        return _matches(path, wanted) and not _matches(path, self.leave)


def _matches(path: PurePosixPath, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path.name, p) or fnmatchcase(str(path), p) for p in patterns)


class Collection(Written):
    """Everything about one collection; the fields are explained in ``docs/collections.md``."""

    name: str
    title: str
    description: str = ""
    facility: str
    instrument: str
    did: str = "ivo://{authority}/{collection}?{path}"
    frame_id: FrameName = FrameName()
    roots: tuple[Path, ...] = ()
    data_server: DataServer | None = None
    files: Files = Files()
    utc_offset: float = 0.0
    metadata: Literal["open", "closed"] = "open"
    position: Position = "optional"
    require: Words = ()
    allow: dict[str, Allowed] = Field(default_factory=dict)
    obscore: ColumnMap
    product: ProductMap = Field(default_factory=dict)
    provenance: ProvenanceRules | None = None
    rules: tuple[Rule, ...] = ()
    release: Release
    withdrawn: Literal["hide", "keep"] = "hide"
    lifetime_days: float | None = Field(None, gt=0, le=36_500, strict=True)
    expired_files: Literal["keep", "delete"] = "keep"

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name):
            raise ValueError("expected a lower-case letter, then letters, digits, - and _")
        return name

    @field_validator("did")
    @classmethod
    def _did_template(cls, did: str) -> str:
        known = ("authority", "collection", "path")
        try:
            fields = [
                field for _, field, _, _ in string.Formatter().parse(did) if field is not None
            ]
        except ValueError as error:
            raise ValueError(f"expected a template ({error})") from error
        if not did.startswith("ivo://") or "path" not in fields or not set(fields) <= set(known):
            raise ValueError("expected ivo://... with {path}, and {authority} and {collection}")
        return did

    @field_validator("roots")
    @classmethod
    def _absolute_roots(cls, roots: tuple[Path, ...]) -> tuple[Path, ...]:
        if relative := [str(root) for root in roots if not root.is_absolute()]:
            raise ValueError(f"expected absolute directories, found {relative[0]}")
        return roots

    @field_validator("utc_offset")
    @classmethod
    def _clock(cls, offset: float) -> float:
        if not -14.0 <= offset <= 14.0:
            raise ValueError("expected hours ahead of UTC, -14 to 14")
        return offset

    @field_validator("obscore")
    @classmethod
    def _needed(cls, mapping: ColumnMap) -> ColumnMap:
        if missing := [name for name in ("calib_level", "obs_id") if name not in mapping]:
            raise ValueError(f"{missing[0]} must be mapped")
        return mapping


def load_collection(path: Path) -> Collection:
    """Read one collection file.

    Raises
    ------
    ConfigError
        Names the file, the field, what was expected and what was found.
    """
    return read_written(
        path,
        Collection,
        whole="collection",
        fields="name, title and obscore",
        context={"place": path.absolute().parent},
    )
