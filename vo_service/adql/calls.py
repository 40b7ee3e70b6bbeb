"""Calls of functions: the arguments as the function wants them, and the entry of a table.

Functions of ADQL (`functions`) and functions beyond it (`udf`) are made of these.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from sqlalchemy import cast

from vo_service.adql import geometry, sphere
from vo_service.adql.nodes import Place
from vo_service.adql.values import (
    DOUBLE,
    Shape,
    Sql,
    Value,
    described,
    require_number,
    require_text,
    typed,
)
from vo_service.errors import QueryError

__all__ = ["Arguments", "Function", "shape_value"]


@dataclass(frozen=True, slots=True)
class Arguments:
    """The values a function was called with, and where."""

    name: str
    values: tuple[Value, ...]
    at: Place

    def __len__(self) -> int:
        return len(self.values)

    def fail(self, reason: str) -> NoReturn:
        """Refuse the call."""
        raise QueryError(f"{self.name}: {reason}", self.at.line, self.at.column)

    def number(self, index: int) -> Value:
        """The argument as a number."""
        return require_number(self.values[index], self.name, self.at)

    def double(self, index: int) -> Sql:
        """The argument as double precision."""
        return cast(self.number(index).sql, DOUBLE)

    def text(self, index: int) -> Value:
        """The argument as a string."""
        return require_text(self.values[index], self.name, self.at)

    def shape(self, index: int) -> Shape:
        """The argument as a geometry."""
        value = self.values[index]
        if value.shape is None:
            self.fail(f"expected a geometry, found {described(value)}")
        return value.shape

    def point(self, index: int) -> Shape:
        """The argument as a point."""
        shape = self.shape(index)
        if shape.kind != "point":
            self.fail(f"expected a point, found a {shape.kind}")
        return shape

    def without_frame(self) -> Arguments:
        """The arguments after the deprecated coordinate system, which must mean ICRS."""
        if not self.values or self.values[0].text is None:
            return self
        sphere.check_frame(self.values[0].text)
        return dataclasses.replace(self, values=self.values[1:])

    def position(self) -> tuple[Shape, Arguments]:
        """A leading point, or two leading numbers, and the arguments after it."""
        if self.values and self.values[0].shape is not None:
            return self.point(0), dataclasses.replace(self, values=self.values[1:])
        if len(self) < 2:
            self.fail("expected a point, or a longitude and a latitude")
        place = geometry.point(self.number(0), self.number(1))
        return place, dataclasses.replace(self, values=self.values[2:])


@dataclass(frozen=True, slots=True)
class Function:
    """An entry of the table: how many arguments, and what to make of them."""

    build: Callable[[Arguments], Value]
    least: int
    most: int | None

    def __call__(self, arguments: Arguments) -> Value:
        """The value of a call.

        Raises
        ------
        QueryError
            Wrong number or kind of arguments, or constants out of range.
        """
        count = len(arguments)
        if count < self.least or (self.most is not None and count > self.most):
            arguments.fail(f"expected {self._wanted()}, found {count}")
        try:
            return self.build(arguments)
        except ValueError as error:
            arguments.fail(str(error))

    def _wanted(self) -> str:
        if self.most is None:
            return f"at least {self.least} arguments"
        if self.least == self.most:
            return f"{self.least} argument{'' if self.least == 1 else 's'}"
        return f"{self.least} to {self.most} arguments"


def shape_value(shape: Shape, **metadata: Any) -> Value:
    """A geometry as a value."""
    value = typed(shape.sql, "shape", **metadata)
    return dataclasses.replace(value, shape=shape)
