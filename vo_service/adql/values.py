"""A value of a query: its SQL expression, its type, and what VOTable says of it.

Types follow ADQL 2.1, "Type System"; what PostgreSQL computes with and what leaves the query
(`output`) are told apart, since geometries, timestamps and footprints leave as something else.
Geometry: degrees for users, radians inside pgSphere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Double,
    Integer,
    SmallInteger,
    Text,
    case,
    cast,
    column,
    func,
    null,
    select,
)
from sqlalchemy import literal as bound
from sqlalchemy.dialects.postgresql import ARRAY, REAL, TIMESTAMP, aggregate_order_by, array
from sqlalchemy.types import TypeEngine, UserDefinedType

from vo_service.adql.nodes import Place
from vo_service.errors import QueryError
from vo_service.model.region import Region
from vo_service.model.table import Field

if TYPE_CHECKING:
    from vo_service.adql.moc import Moc

__all__ = [
    "DOUBLE",
    "NUMBERS",
    "SMOC",
    "SPOINT",
    "SPOLY",
    "SQL_TYPES",
    "Kind",
    "Row",
    "Shape",
    "ShapeKind",
    "Sql",
    "Test",
    "Value",
    "common_kind",
    "described",
    "literal",
    "output",
    "polygon_numbers",
    "require_number",
    "require_text",
    "typed",
]

Sql: TypeAlias = ColumnElement[Any]

ShapeKind: TypeAlias = Literal["point", "circle", "polygon", "moc"]

Kind: TypeAlias = Literal[
    "short", "int", "long", "float", "double",
    "char", "timestamp", "boolean", "array", "shape", "null",
]  # fmt: skip

NUMBERS: tuple[Kind, ...] = ("short", "int", "long", "float", "double")

#: One for all: SQLAlchemy works out anew for each object what a type means in PostgreSQL.
DOUBLE: Double[float] = Double()

#: The PostgreSQL type that COPY must show for a datatype.
SQL_TYPES: dict[Kind, TypeEngine[Any]] = {
    "short": SmallInteger(),
    "int": Integer(),
    "long": BigInteger(),
    "float": REAL(),
    "double": DOUBLE,
    "char": Text(),
    "boolean": Boolean(),
    "timestamp": TIMESTAMP(),
}

_LARGEST = {"short": 2**15 - 1, "int": 2**31 - 1, "long": 2**63 - 1}


class _PgSphere(UserDefinedType[Any]):
    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        return self.name


SMOC = _PgSphere("smoc")
SPOINT = _PgSphere("spoint")
SPOLY = _PgSphere("spoly")


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Where the rows of one table reference lie: *ra* in degrees, *point* an indexed spoint.

    *partitioned* tells whether plain bounds of *ra* save work, *uploaded* that the table came
    with the query and so is smaller than a published one.
    """

    ra: Sql
    point: Sql
    partitioned: bool
    uploaded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A geometry.

    Parameters
    ----------
    kind
        ``point``, ``circle``, ``polygon`` or ``moc``.
    sql
        The pgSphere value: spoint, scircle, spoly or smoc. pgSphere knows no circle larger than a
        hemisphere: where `large`, this is the circle of all that lies outside.
    parts
        DALI's numbers (degrees) where they are known: lon, lat; lon, lat, r; lon1, lat1, ...
    region
        The geometry itself, where no row has a say in it.
    row, reach
        The rows whose position lies within *reach* degrees of all of this geometry.
    centre, radius
        Of a circle: its centre, and the radius in degrees.
    constant_radius
        The radius as a number where no row has a say in it.
    """

    kind: ShapeKind
    sql: Sql
    parts: tuple[Sql, ...] | None = None
    region: Region | Moc | None = None
    row: Row | None = None
    reach: float = 0.0
    centre: Shape | None = None
    radius: Sql | None = None
    constant_radius: float | None = None

    @property
    def large(self) -> bool:
        """Whether this is a circle of more than 90 degrees."""
        return self.constant_radius is not None and self.constant_radius > 90.0


@dataclass(frozen=True, slots=True)
class Test:
    """CONTAINS or INTERSECTS: *holds* decides, *bounds* is implied by it and cheaper.

    *opposite* is what can serve an index where the answer is no.
    """

    holds: Sql
    bounds: Sql | None = None
    opposite: Test | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A typed expression.

    *field* is its metadata (datatype and xtype of char and array values included), *constant*
    a number known beforehand, *shape* the geometry that the value is or, for footprints kept
    as text, stands for; *row* and *axis* tell the two coordinates of a table's position. *test*
    is what a value of 1 or 0 says, *ends* are two points whose DISTANCE it is, times *scale*.
    """

    sql: Sql
    kind: Kind
    field: Field
    constant: float | int | None = None
    text: str | None = None
    shape: Shape | None = None
    row: Row | None = None
    axis: Literal["ra", "dec"] | None = None
    test: Test | None = None
    ends: tuple[Shape, Shape] | None = None
    scale: float = 1.0

    @property
    def is_number(self) -> bool:
        """Whether arithmetic may be done with it."""
        return self.kind in NUMBERS


def typed(sql: Sql, kind: Kind, like: Value | None = None, **metadata: Any) -> Value:
    """A value of *kind*, with the unit, UCD and description of *like* where given."""
    old = like.field if like else Field(name="", datatype="")
    arraysize = (old.arraysize or "*") if kind in ("char", "timestamp") else None
    xtype = "timestamp" if kind == "timestamp" else old.xtype if kind == "char" else None
    fixed = {"datatype": "char" if kind in ("timestamp", "null") else kind, "xtype": xtype}
    field = Field(
        **{
            "name": old.name,
            "arraysize": "*" if kind == "null" else arraysize,
            "unit": old.unit,
            "ucd": old.ucd,
            "description": old.description,
            **fixed,
            **metadata,
        }
    )
    return Value(sql=sql, kind=kind, field=field)


def literal(value: float | int | str | None) -> Value:
    """A constant as a bound parameter."""
    if value is None:
        return typed(cast(null(), Text()), "null")
    if isinstance(value, str):
        text = typed(bound(value, SQL_TYPES["char"]), "char")
        return dataclasses.replace(text, text=value)
    kind: Kind = "double"
    if isinstance(value, int):
        kind = next((k for k in ("int", "long") if abs(value) <= _LARGEST[k]), "double")
    number = float(value) if kind == "double" else value
    # Without a type a number is numeric to PostgreSQL, and no term of ORDER BY.
    sql = cast(bound(number, SQL_TYPES[kind]), SQL_TYPES[kind])
    return dataclasses.replace(typed(sql, kind), constant=number)


def require_number(value: Value, where: str, at: Place) -> Value:
    """*value*, if it is a number or NULL; a `QueryError` otherwise."""
    if value.is_number:
        return value
    if value.kind == "null":
        return dataclasses.replace(value, sql=cast(value.sql, SQL_TYPES["double"]), kind="double")
    raise QueryError(f"{where}: expected a number, found {described(value)}", at.line, at.column)


def require_text(value: Value, where: str, at: Place) -> Value:
    """*value*, if it is a string or NULL; a `QueryError` otherwise."""
    if value.kind == "char":
        return value
    if value.kind == "timestamp":
        return dataclasses.replace(value, sql=output(value)[0], kind="char")
    if value.kind == "null":
        return dataclasses.replace(value, sql=cast(value.sql, SQL_TYPES["char"]), kind="char")
    raise QueryError(f"{where}: expected a string, found {described(value)}", at.line, at.column)


def described(value: Value) -> str:
    """The kind of a value in a user's words."""
    if value.kind == "shape" and value.shape:
        return "a MOC" if value.shape.kind == "moc" else f"a {value.shape.kind}"
    words = {"char": "a string", "boolean": "a boolean", "array": "an array", "null": "NULL"}
    return words.get(value.kind, "a timestamp" if value.kind == "timestamp" else "a number")


def common_kind(kinds: Sequence[Kind]) -> Kind | None:
    """The type that values of all *kinds* can have together, None where there is none.

    As PostgreSQL decides it: an integer of any size and a REAL make a DOUBLE PRECISION.
    """
    left = set(kinds) - {"null"}
    if not left:
        return "null"
    if left <= set(NUMBERS):
        if "double" in left or ("float" in left and len(left) > 1):
            return "double"
        return max(left, key=NUMBERS.index)
    if len(left) == 1:
        return left.pop()
    return None


def output(value: Value) -> tuple[Sql, Field]:
    """What leaves the query: SQL whose PostgreSQL type is exactly that of the field.

    Returns
    -------
    sql, field
        Geometries as DALI arrays of degrees, timestamps as ISO text without zone.
    """
    match value.kind:
        case "shape":
            assert value.shape is not None  # noqa: S101 - what "shape" means
            return _dali(value.shape), _geometry_field(value)
        case "array":
            if value.field.datatype not in NUMBERS:
                return value.sql, value.field
            return cast(value.sql, ARRAY(SQL_TYPES[value.field.datatype])), value.field
        case "timestamp":
            stamp = func.to_char(value.sql, 'YYYY-MM-DD"T"HH24:MI:SS.US')
            return cast(func.rtrim(func.rtrim(stamp, "0"), "."), Text()), value.field
        case "null":
            return cast(value.sql, Text()), value.field
        case kind:
            return cast(value.sql, SQL_TYPES[kind]), value.field


def _geometry_field(value: Value) -> Field:
    assert value.shape is not None  # noqa: S101 - asked by `output` alone
    kind = value.shape.kind
    if kind == "moc":
        return dataclasses.replace(value.field, datatype="char", arraysize="*", xtype="moc")
    return dataclasses.replace(
        value.field,
        datatype="double",
        arraysize={"point": "2", "circle": "3", "polygon": "*"}[kind],
        xtype=kind,
        unit=value.field.unit or "deg",
    )


def _dali(shape: Shape) -> Sql:
    """A geometry as an array of degrees (DALI 1.1, "Geometry values"); NULL where it is NULL.

    A MOC leaves in its ASCII form (DALI 1.2, "MOC").
    """
    numbers: ARRAY[float] = ARRAY(DOUBLE)
    if shape.parts is not None:
        parts = shape.parts
    elif shape.kind == "point":
        parts = (func.degrees(func.long(shape.sql)), func.degrees(func.lat(shape.sql)))
    elif shape.kind == "moc":
        return cast(shape.sql, Text())
    elif shape.kind == "circle":
        centre = func.center(shape.sql)
        parts = tuple(
            func.degrees(angle)
            for angle in (func.long(centre), func.lat(centre), func.radius(shape.sql))
        )
    else:
        return _polygon_degrees(shape.sql)
    return case((shape.sql.is_not(None), cast(array(parts), numbers)), else_=null())


def polygon_numbers(polygon: Sql) -> Sql:
    """Vertices of an spoly as an array of radians; pgSphere 1.1 shows them only as text."""
    inside = func.translate(cast(polygon, Text()), "{}() ", "")
    return cast(func.string_to_array(inside, ","), ARRAY(DOUBLE))


def _polygon_degrees(polygon: Sql) -> Sql:
    numbers = (
        func.unnest(polygon_numbers(polygon))
        .table_valued(column("angle", DOUBLE), with_ordinality="place")
        .render_derived()
    )
    ordered = aggregate_order_by(func.degrees(numbers.c.angle), numbers.c.place)
    return select(func.array_agg(ordered)).select_from(numbers).scalar_subquery()
