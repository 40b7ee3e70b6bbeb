"""The syntax tree of a query: frozen values, each knowing where it stands in the text.

Names are as written, nothing is looked up yet. Source: ADQL 2.1, Appendix A (BNF).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = [
    "Aggregate",
    "AllColumns",
    "AllOf",
    "Between",
    "Call",
    "Cast",
    "ColumnName",
    "CommonTable",
    "Comparison",
    "DerivedTable",
    "Disjunction",
    "Exists",
    "InList",
    "InQuery",
    "IsNull",
    "Item",
    "Join",
    "Like",
    "Name",
    "Negated",
    "Node",
    "Null",
    "Number",
    "Operation",
    "Place",
    "Query",
    "Select",
    "SetOperation",
    "Signed",
    "Sort",
    "Statement",
    "String",
    "TableName",
    "negation",
    "walk",
]


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column of the first character, both from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Name:
    """An identifier; *quoted* ones compare exactly, others without regard to case."""

    text: str
    quoted: bool
    at: Place = field(compare=False)

    def matches(self, other: str, other_quoted: bool = False) -> bool:
        """Whether this reference means a thing stored under the name *other*."""
        if self.quoted:
            return self.text == other
        return not other_quoted and self.text.lower() == other.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Base of all nodes; *depth* counts the levels of the tree below and with this one."""

    at: Place = field(compare=False)
    depth: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(Node):
    """An unsigned number as written."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class String(Node):
    """A character string, quotes removed."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Null(Node):
    """NULL as a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnName(Node):
    """``[qualifier.]column``."""

    parts: tuple[Name, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed(Node):
    """``+x`` or ``-x``."""

    sign: str
    operand: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Node):
    """``left + right``, also ``- * / ||``."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Node):
    """A function of ADQL or of the user; *name* in upper case."""

    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate(Node):
    """COUNT, MIN, MAX, SUM or AVG; *argument* is None for ``COUNT(*)``."""

    name: str
    argument: Node | None
    distinct: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast(Node):
    """``CAST(x AS type)``; *length* of CHAR and VARCHAR where given."""

    operand: Node
    type: str
    length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AllOf(Node):
    """Terms joined by AND."""

    terms: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disjunction(Node):
    """Terms joined by OR."""

    terms: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Negated(Node):
    """``NOT condition``."""

    term: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Node):
    """``left = right``, also ``<> < > <= >=``."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Between(Node):
    """``value [NOT] BETWEEN low AND high``."""

    value: Node
    low: Node
    high: Node
    negated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InList(Node):
    """``value [NOT] IN (a, b, ...)``."""

    value: Node
    items: tuple[Node, ...]
    negated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Like(Node):
    """``value [NOT] LIKE pattern``, or ILIKE."""

    value: Node
    pattern: Node
    negated: bool
    ignore_case: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IsNull(Node):
    """``value IS [NOT] NULL``."""

    value: Node
    negated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InQuery(Node):
    """``value [NOT] IN (SELECT ...)``."""

    value: Node
    query: Query
    negated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Exists(Node):
    """``EXISTS (SELECT ...)``."""

    query: Query


@dataclass(frozen=True, slots=True, kw_only=True)
class TableName(Node):
    """A table named in FROM."""

    parts: tuple[Name, ...]
    alias: Name | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedTable(Node):
    """A subquery in FROM."""

    query: Query
    alias: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Join(Node):
    """Two tables joined; *kind* is INNER, LEFT, RIGHT or FULL."""

    left: Node
    right: Node
    kind: str
    natural: bool = False
    condition: Node | None = None
    using: tuple[Name, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AllColumns(Node):
    """``*`` (no qualifier) or ``qualifier.*`` in a select list."""

    qualifier: tuple[Name, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item(Node):
    """One expression of a select list."""

    value: Node
    alias: Name | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Select(Node):
    """SELECT .. FROM .. WHERE .. GROUP BY .. HAVING."""

    distinct: bool
    top: int | None
    items: tuple[AllColumns | Item, ...]
    sources: tuple[Node, ...]
    where: Node | None
    groups: tuple[Node, ...]
    having: Node | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetOperation(Node):
    """UNION, EXCEPT or INTERSECT; an operand is a Select, a SetOperation or a Query."""

    operator: str
    all: bool
    left: Node
    right: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort(Node):
    """One term of ORDER BY."""

    value: Node
    descending: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Query(Node):
    """A select or set operation with its ORDER BY and OFFSET."""

    body: Node
    order: tuple[Sort, ...] = ()
    offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonTable(Node):
    """One name of a WITH clause."""

    name: Name
    query: Query


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement(Node):
    """A whole query text."""

    tables: tuple[CommonTable, ...]
    query: Query


def children(node: Node) -> Iterator[Node]:
    """The nodes that *node* is made of, in order of its fields."""
    for item in dataclasses.fields(node):
        value = getattr(node, item.name)
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            yield from (part for part in value if isinstance(part, Node))


def walk(node: Node) -> Iterator[Node]:
    """*node* and all nodes below it that belong to the same query, subqueries left out."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(part for part in children(node) if not isinstance(part, Query))


_OPPOSITE = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


def negation(node: Node) -> Node | None:
    """What NOT makes of a condition, said without NOT; None where that cannot be.

    True, false and unknown alike: an index can serve ``a <= b``, never ``NOT a > b``.
    """
    match node:
        case Negated():
            return node.term
        case AllOf() | Disjunction():
            other = Disjunction if isinstance(node, AllOf) else AllOf
            return other(
                at=node.at, terms=tuple(Negated(at=term.at, term=term) for term in node.terms)
            )
        case Comparison():
            return dataclasses.replace(node, operator=_OPPOSITE[node.operator])
        case Between() | InList() | InQuery() | Like() | IsNull():
            return dataclasses.replace(node, negated=not node.negated)
    return None
