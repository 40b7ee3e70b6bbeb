"""What a column of an uploaded VOTable holds, in its own terms and in ours.

Our model knows fewer types: unsigned bytes become ``short``, bits ``boolean``, complex numbers
pairs of numbers; every value survives. Source: VOTable 1.4, "FIELD Element", "Table Cell Values".
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from vo_service.errors import UsageError
from vo_service.model.table import Field

__all__ = ["ELEMENT_BYTES", "TEXT", "Spec", "spec_of"]

#: Bytes of one element in the binary serialisations; bits are packed and have none of their own.
ELEMENT_BYTES = {
    "boolean": 1,
    "bit": 0,
    "unsignedByte": 1,
    "short": 2,
    "int": 4,
    "long": 8,
    "char": 1,
    "unicodeChar": 2,
    "float": 4,
    "double": 8,
    "floatComplex": 8,
    "doubleComplex": 16,
}
TEXT = frozenset({"char", "unicodeChar"})

_OURS = {
    "bit": "boolean",
    "unsignedByte": "short",
    "floatComplex": "float",
    "doubleComplex": "double",
}
_ARRAYSIZE = re.compile(r"(\d{1,9}x)*(\d{1,9}\*?|\*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One FIELD.

    Parameters
    ----------
    field
        As our model says it.
    datatype
        As VOTable says it.
    count
        Elements of *datatype* in each value, None where it varies.
    null
        The text that stands for an absent value, where one was declared.
    """

    field: Field
    datatype: str
    count: int | None
    null: str | None = None

    @property
    def name(self) -> str:
        """The column's name, for messages."""
        return self.field.name

    @property
    def is_text(self) -> bool:
        """Whether a value is a string."""
        return self.datatype in TEXT

    @property
    def is_list(self) -> bool:
        """Whether a value is several numbers of ours."""
        return self.field.arraysize is not None and not self.is_text

    @property
    def width(self) -> int | None:
        """Bytes of each value in the binary serialisations, None where it varies."""
        return None if self.count is None else self.bytes_of(self.count)

    def bytes_of(self, count: int) -> int:
        """Bytes of a value of *count* elements in the binary serialisations."""
        if self.datatype == "bit":
            return (count + 7) // 8
        return count * ELEMENT_BYTES[self.datatype]


def spec_of(number: int, attributes: Mapping[str, str], **inside: str | None) -> Spec:
    """A FIELD element.

    Parameters
    ----------
    number
        Its place among the FIELDs, from 1.
    attributes
        Of the element.
    inside
        What its children say: ``null`` and ``description``.

    Raises
    ------
    UsageError
        Name, datatype or arraysize are missing or unknown; names the FIELD.
    """
    name = attributes.get("name", "").strip() or attributes.get("ID", "").strip()
    if not name:
        raise UsageError(f"FIELD {number} has no name")
    datatype = attributes.get("datatype", "")
    if datatype not in ELEMENT_BYTES:
        known = ", ".join(ELEMENT_BYTES)
        raise UsageError(f"FIELD {name}: datatype {datatype[:60]!r}: expected one of {known}")
    arraysize = attributes.get("arraysize", "").strip() or None
    if arraysize is not None and not _ARRAYSIZE.fullmatch(arraysize):
        raise UsageError(
            f"FIELD {name}: arraysize {arraysize[:60]!r}: expected numbers as in 8, 8*, *, 2x3"
        )
    count = None if arraysize and arraysize.endswith("*") else _elements(arraysize)
    field = Field(
        name=name,
        datatype=_OURS.get(datatype, datatype),
        arraysize=_our_arraysize(datatype, arraysize),
        **{key: attributes.get(key) or None for key in ("xtype", "unit", "ucd", "utype")},
        description=" ".join((inside.get("description") or "").split()) or None,
    )
    return Spec(field=field, datatype=datatype, count=count, null=inside.get("null"))


def _elements(arraysize: str | None) -> int:
    return math.prod(int(side) for side in (arraysize or "1").split("x"))


def _our_arraysize(datatype: str, arraysize: str | None) -> str | None:
    sides = arraysize.split("x") if arraysize else []
    if datatype in TEXT:
        # A string of any length; a list of strings keeps its shape (and its padding).
        return arraysize if len(sides) > 1 else "*"
    if sides and _is_zero(sides):
        return "*"
    if datatype.endswith("Complex"):
        return "x".join(["2", *(side for side in sides if side != "1")])
    return None if sides == ["1"] else arraysize


def _is_zero(sides: list[str]) -> bool:
    return any(side.rstrip("*") and int(side.rstrip("*")) == 0 for side in sides)
