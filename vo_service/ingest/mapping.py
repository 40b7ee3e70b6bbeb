"""Headers and a collection in, the values of one frame out.

Keywords are looked up in the primary header first, then in the extensions in their order; an
empty text counts as absent. Whatever does not fit is refused with HDU, keyword and reason
(MISSION A9). Every value is checked against ObsCore: type, vocabulary, range.
Source: ObsCore 1.1, Table 4; units as in `model.observation`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from astropy import units

from vo_service.errors import HeaderError
from vo_service.ingest.axes import Interval, polarizations, spectral_interval, time_interval
from vo_service.ingest.cards import CardValue
from vo_service.ingest.checks import TEXT_LIMIT, checked, checked_observation
from vo_service.ingest.footprint import Footprint, footprint
from vo_service.ingest.images import Image, image_values, images_of
from vo_service.ingest.sky import sky_of
from vo_service.model.collection import (
    COLUMN_UNITS,
    PRODUCT_FIELDS,
    Collection,
    Rule,
    Source,
)
from vo_service.model.expression import Value, evaluate, parse_expression
from vo_service.model.observation import HDUHeader, Observation
from vo_service.model.region import Circle

__all__ = ["map_headers"]


def map_headers(
    collection: Collection, hdus: tuple[HDUHeader, ...], path: PurePosixPath
) -> tuple[Observation, dict[str, str | None]]:
    """The ObsCore values of a file, and the texts of `PRODUCT_FIELDS`.

    Parameters
    ----------
    collection, hdus
        The rules, and the headers in file order.
    path
        Place below the root; expressions know it as ``path``, its last part as ``filename``.

    Raises
    ------
    HeaderError
        The frame is to be refused: HDU, keyword and reason.
    """
    mapper = _Mapper(collection, hdus, path)
    return mapper.observation(), mapper.product()


class _Mapper:
    """One frame on its way from headers to values; made for a single use."""

    def __init__(
        self, collection: Collection, hdus: tuple[HDUHeader, ...], path: PurePosixPath
    ) -> None:
        self._collection = collection
        self._hdus = hdus
        self._path = path
        self._values = tuple(image_values(hdu) for hdu in hdus)
        self._columns: dict[str, Any] = {}
        rules = [rule for rule in collection.rules if self._applies(rule)]
        for rule in rules:
            if rule.refuse is not None:
                raise HeaderError(f"{rule.refuse} (rule {rule.name})")
        self._position = next(
            (rule.position for rule in reversed(rules) if rule.position), collection.position
        )
        self._obscore = dict(collection.obscore)
        self._product = dict(collection.product)
        for rule in rules:
            self._obscore |= rule.obscore
            self._product |= rule.product
        self._check_keywords(rules)

    def observation(self) -> Observation:
        """All ObsCore values."""
        if self._position == "required" and self._maps_wcs("s_ra"):
            self._require_position()
        region = None
        for column in COLUMN_UNITS:
            sources = self._obscore.get(column, ())
            if column == "s_region":
                region = self._region(sources)
                continue
            value = self._first(column, sources)
            if value is None:
                value = self._fallback(column)
            self._columns[column] = checked(column, value, _keywords(sources))
        if self._position == "required" and self._columns["s_ra"] is None:
            raise HeaderError("the frame has no position", None, _keywords(self._obscore["s_ra"]))
        return checked_observation(Observation(region=region, **self._columns))

    def product(self) -> dict[str, str | None]:
        """The texts of `PRODUCT_FIELDS`; asked after `observation`, whose values it may use."""
        found: dict[str, str | None] = {}
        for field in PRODUCT_FIELDS:
            value = self._first(field, self._product.get(field, ()))
            text = "" if value is None else str(value).strip()
            if len(text) > TEXT_LIMIT:
                raise HeaderError(f"{field}: expected at most {TEXT_LIMIT} characters")
            found[field] = text or None
        return found

    def _applies(self, rule: Rule) -> bool:
        return bool(self._evaluated(rule.when, f"rule {rule.name}"))

    def _check_keywords(self, rules: list[Rule]) -> None:
        required = [*self._collection.require, *(k for rule in rules for k in rule.require)]
        for keyword in required:
            if self._keyword(keyword) is None:
                raise HeaderError(f"{keyword} is missing", None, keyword)
        allowed = dict(self._collection.allow)
        for rule in rules:
            allowed |= rule.allow
        for keyword, choice in allowed.items():
            value = self._keyword(keyword)
            if value is not None and not choice.holds(value):
                raise HeaderError(
                    f"expected {choice}, found {value!r}", self._hdu_of(keyword), keyword
                )

    def _first(self, column: str, sources: tuple[Source, ...]) -> Value:
        """The first alternative that has a value."""
        for source in sources:
            value = self._facts.get(column) if source.wcs else self._given(column, source)
            if value is not None:
                return value
        return None

    def _given(self, column: str, source: Source) -> Value:
        value: Value = source.constant
        if source.keyword:
            value = next((v for v in map(self._keyword, source.keyword) if v is not None), None)
        elif source.expression is not None:
            value = self._evaluated(source.expression, column)
        if source.values is not None and value is not None:
            known = str(value) in source.values
            if not known and not source.has_default:
                raise HeaderError(
                    f"{column}: {value!r} is none of {', '.join(source.values)}",
                    None,
                    _keywords((source,)),
                )
            value = source.values[str(value)] if known else source.default
        if value is None:
            value = source.default
        if source.unit is not None and value is not None:
            value = _converted(column, value, source)
        return value

    def _evaluated(self, text: str, what: str) -> Value:
        expression = parse_expression(text)
        try:
            return evaluate(expression, self._keyword, self._name)
        except ValueError as error:
            at_fault = next(iter(sorted(expression.keywords)), None)
            raise HeaderError(f"{what}: {error}", None, at_fault) from error

    def _keyword(self, keyword: str) -> CardValue:
        for values in self._values:
            value = values.get(keyword)
            if value is not None and (not isinstance(value, str) or value.strip()):
                return value.strip() if isinstance(value, str) else value
        return None

    def _hdu_of(self, keyword: str) -> int | None:
        return next((i for i, v in enumerate(self._values) if v.get(keyword) is not None), None)

    def _name(self, name: str) -> Value:
        if name == "path":
            return str(self._path)
        if name == "filename":
            return self._path.name
        value: Value = self._columns.get(name)
        return value

    def _fallback(self, column: str) -> Value:
        """What needs not be written in every collection file."""
        match column:
            case "obs_collection":
                return self._collection.name
            case "facility_name":
                return self._collection.facility
            case "instrument_name":
                return self._collection.instrument
            case "pol_xel":
                return str(self._columns["pol_states"] or "/").count("/") - 1
        return None

    def _maps_wcs(self, column: str) -> bool:
        return any(source.wcs for source in self._obscore.get(column, ()))

    def _require_position(self) -> None:
        """Say where a position was looked for, if the WCS is the only place."""
        if self._footprint is None and len(self._obscore["s_ra"]) == 1:
            hdu = self._images[0].hdu if self._images else None
            raise HeaderError("the image has no celestial WCS", hdu, "CTYPE1")

    def _region(self, sources: tuple[Source, ...]) -> Any:
        for source in sources:
            if source.wcs and self._footprint is not None and self._footprint.region is not None:
                return self._footprint.region
            if source.constant == "circle":
                ra, dec, fov = (self._columns[name] for name in ("s_ra", "s_dec", "s_fov"))
                if ra is not None and dec is not None and fov and fov <= 180.0:
                    return Circle(ra, dec, fov / 2.0)
        return None

    @cached_property
    def _images(self) -> tuple[Image, ...]:
        return images_of(self._hdus)

    @cached_property
    def _footprint(self) -> Footprint | None:
        if self._position == "none":
            return None
        chips = tuple(sky for sky in map(sky_of, self._images) if sky is not None)
        return footprint(chips) if chips else None

    @cached_property
    def _facts(self) -> Mapping[str, Value]:
        """What the WCS of all images says, by ObsCore column."""
        facts: dict[str, Value] = {}
        if (found := self._footprint) is not None:
            facts |= {"s_ra": found.centre.ra, "s_dec": found.centre.dec, "s_fov": found.fov}
            if found.lengths is not None:
                facts |= {"s_xel1": found.lengths[0], "s_xel2": found.lengths[1]}
        spectral = _joined([spectral_interval(image) for image in self._images])
        if spectral is not None:
            facts |= {"em_min": spectral.low, "em_max": spectral.high, "em_xel": spectral.pixels}
        time = _joined([time_interval(image) for image in self._images])
        if time is not None:
            facts |= {"t_min": time.low, "t_max": time.high, "t_xel": time.pixels}
        states = next(filter(None, map(polarizations, self._images)), None)
        if states is not None:
            facts |= {"pol_states": f"/{'/'.join(states)}/", "pol_xel": len(states)}
        return facts


def _joined(intervals: list[Interval | None]) -> Interval | None:
    """The interval that holds those of all images; the length is that of the first."""
    there = [interval for interval in intervals if interval is not None]
    if not there:
        return None
    lows = [interval.low for interval in there if interval.low is not None]
    highs = [interval.high for interval in there if interval.high is not None]
    return dataclasses.replace(there[0], low=min(lows, default=None), high=max(highs, default=None))


def _keywords(sources: tuple[Source, ...]) -> str | None:
    """The keyword to be named when a value is wrong: the first that was asked for."""
    for source in sources:
        if source.keyword:
            return source.keyword[0]
        if source.expression is not None:
            keywords = parse_expression(source.expression).keywords
            if keywords:
                return min(keywords)
        if source.wcs:
            return "CTYPE1"
    return None


def _converted(column: str, value: Value, source: Source) -> float:
    keyword = _keywords((source,))
    try:
        number = float(value)  # type: ignore[arg-type]
        result = (number * units.Unit(source.unit)).to_value(COLUMN_UNITS[column], units.spectral())
    except (TypeError, ValueError, OverflowError, ZeroDivisionError) as error:
        raise HeaderError(f"{column}: expected a number, found {value!r}", None, keyword) from error
    if not math.isfinite(result):
        raise HeaderError(f"{column}: {value!r} is out of range", None, keyword)
    return float(f"{result:.15g}")  # 400 nm are 4e-7 m, without the noise of the product
