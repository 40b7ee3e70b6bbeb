"""ADQL text to nodes, or a `QueryError` that says what was expected where.

The text is the client's: its depth and the length of its lists are bounded here, so that
nothing behind the parser can run out of stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, cast

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedToken, VisitError

from vo_service.adql import nodes as n
from vo_service.adql.words import (
    AGGREGATES,
    CAST_TYPES,
    FUNCTION_WORDS,
    RESERVED,
    TYPE_WORDS,
    expected_words,
)
from vo_service.errors import QueryError

__all__ = ["MAX_DEPTH", "MAX_LIST", "UNWRITABLE", "parse", "unquoted"]

#: Levels of nesting (operators, functions, subqueries) in one query. Everything behind the
#: parser works recursively, some 15 Python frames a level, of the 1000 that there are.
MAX_DEPTH = 50

#: Functions that become a subquery, or several functions, and so count for more levels.
_LEVELS = {"BOX": 10, "CENTROID": 10, "POLYGON": 10} | dict.fromkeys(
    ("CIRCLE", "CONTAINS", "DISTANCE", "INTERSECTS", "POINT", "ROUND", "TRUNCATE", "MOD"), 3
)

#: Members of one list: terms of AND and OR, values of IN, columns, vertices.
MAX_LIST = 20_000

#: Characters that PostgreSQL cannot store.
UNWRITABLE = re.compile("[\0\ud800-\udfff]")

#: ``TOP`` and ``OFFSET`` are 64-bit in PostgreSQL.
_MAX_COUNT = 2**63 - 1

_N = TypeVar("_N", bound=n.Node)


def parse(text: str) -> n.Statement:
    """The syntax tree of a query.

    Raises
    ------
    QueryError
        Not ADQL 2.1, or nested too deeply; names the place and what was expected.
    """
    _check_characters(text)
    try:
        return cast(n.Statement, _PARSER.parse(text))
    except UnexpectedToken as error:
        raise _unexpected_token(error, text) from None
    except UnexpectedCharacters as error:
        raise _unexpected_character(error, text) from None
    except VisitError as error:
        raise error.orig_exc from None


def unquoted(literal: str) -> str:
    """The text that a string literal stands for."""
    return literal[1:-1].replace("''", "'")


def _check_characters(text: str) -> None:
    """Refuse what PostgreSQL cannot store, even inside strings."""
    if bad := UNWRITABLE.search(text):
        code = ord(bad.group())
        raise QueryError(f"U+{code:04X} is no character of a query", *_position(text, bad.start()))


def _unexpected_token(error: UnexpectedToken, text: str) -> QueryError:
    token: Token = error.token
    tokens = error.accepts or error.expected
    expected = expected_words(tokens)
    if token.type == "$END":
        line, column = _position(text, len(text.rstrip()))
        return QueryError(f"the query ends too early, expected {expected}", line, column)
    message = f"found {_shown(token.value)}, expected {expected}"
    before = re.search(r"([A-Za-z]\w*)\s*$", text[: token.start_pos or 0])
    if token.value.upper() in RESERVED and "IDENTIFIER" in tokens:
        message += f'; a reserved word can be a name only in quotes: "{token.value}"'
    elif before and before[1].upper() in RESERVED and set(tokens) == {"LPAR"}:
        message += f'; {before[1]} is a reserved word, as a name it needs quotes: "{before[1]}"'
    return _error(token, message)


def _position(text: str, index: int) -> tuple[int, int]:
    """Line and column of a character, both from 1."""
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def _unexpected_character(error: UnexpectedCharacters, text: str) -> QueryError:
    match text[error.pos_in_stream or 0]:
        case "'":
            reason = "this string is not closed, expected another '"
        case '"':
            reason = 'this quoted name is not closed, expected another "'
        case "_":
            reason = "a name starts with a letter; in quotes it may start with _"
        case digit if digit.isascii() and digit.isdigit():
            reason = "a number is followed by a letter, expected a space or an operator"
        case character:
            reason = f"{_shown(character)} has no meaning here outside of a string or quoted name"
    return QueryError(reason, error.line, error.column)


def _shown(text: str) -> str:
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[:40])
    return f"{shown}..." if len(text) > 40 else shown


def _place(token: Token) -> n.Place:
    return n.Place(token.line or 1, token.column or 1)


def _error(token: Token, message: str) -> QueryError:
    place = _place(token)
    return QueryError(message, place.line, place.column)


def _make(kind: type[_N], at: n.Place, /, levels: int = 1, **fields: Any) -> _N:
    """A node so many levels deeper than the deepest of its parts."""
    depth = levels
    for value in fields.values():
        parts: Iterable[Any] = value if isinstance(value, tuple) else (value,)
        if isinstance(value, tuple) and len(value) > MAX_LIST:
            raise QueryError(f"a list is longer than {MAX_LIST} members", at.line, at.column)
        depth = max([depth, *(levels + p.depth for p in parts if isinstance(p, n.Node))])
    if depth > MAX_DEPTH:
        raise QueryError(f"nested more than {MAX_DEPTH} levels deep", at.line, at.column)
    return kind(at=at, depth=depth, **fields)


def _count(token: Token, what: str) -> int:
    if not token.isdigit() or len(token) > 19 or int(token) > _MAX_COUNT:
        raise _error(token, f"found {_shown(token)}, expected a whole number of rows after {what}")
    return int(token)


@v_args(inline=True)
class _Nodes(Transformer[Token, n.Statement]):
    """One method per rule of the grammar; called by lark as it reduces, bottom up."""

    def start(self, tables: Any, query: n.Query, *_: Any) -> n.Statement:
        return _make(n.Statement, query.at, tables=tables or (), query=query)

    def common_table(self, name: n.Name, query: n.Query) -> n.CommonTable:
        return _make(n.CommonTable, name.at, name=name, query=query)

    def query(self, body: n.Node, order: Any, offset: int | None) -> n.Query:
        return _make(n.Query, body.at, body=body, order=order or (), offset=offset)

    def sort(self, value: n.Node, direction: Token | None) -> n.Sort:
        return _make(
            n.Sort,
            value.at,
            value=value,
            descending=direction is not None and direction.type == "DESC",
        )

    def offset(self, token: Token) -> int:
        return _count(token, "OFFSET")

    def top(self, token: Token) -> int:
        return _count(token, "TOP")

    def set_operation(
        self, left: n.Node, operator: Token, every: Token | None, right: n.Node
    ) -> n.SetOperation:
        return _make(
            n.SetOperation,
            left.at,
            operator=operator.type,
            all=every is not None,
            left=left,
            right=right,
        )

    def select(  # noqa: PLR0917 - the parts of a SELECT, in order
        self,
        word: Token,
        quantifier: Token | None,
        top: int | None,
        items: tuple[n.AllColumns | n.Item, ...],
        sources: tuple[n.Node, ...],
        where: n.Node | None,
        groups: tuple[n.Node, ...] | None,
        having: n.Node | None,
    ) -> n.Select:
        return _make(
            n.Select,
            _place(word),
            distinct=quantifier is not None and quantifier.type == "DISTINCT",
            top=top,
            items=items,
            sources=sources,
            where=where,
            groups=groups or (),
            having=having,
        )

    def all_columns(self, star: Token) -> n.AllColumns:
        return _make(n.AllColumns, _place(star))

    def all_columns_of(self, name: tuple[n.Name, ...], _: Token) -> n.AllColumns:
        return _make(n.AllColumns, name[0].at, qualifier=name)

    def select_item(self, value: Any, alias: n.Name | None = None) -> n.Item:
        return _make(n.Item, value.at, value=value, alias=alias)

    def where(self, condition: n.Node) -> n.Node:
        return condition

    having = join_on = where

    def join(
        self, left: n.Node, kind: str | None, word: Token, right: n.Node, how: Any = None
    ) -> n.Join:
        using = how if isinstance(how, tuple) else ()
        condition = how if isinstance(how, n.Node) else None
        if how is None:
            raise _error(
                word, "expected ON or USING after the joined table (or NATURAL before JOIN)"
            )
        return _make(
            n.Join,
            _place(word),
            left=left,
            right=right,
            kind=kind or "INNER",
            condition=condition,
            using=using,
        )

    def natural_join(
        self, left: n.Node, _: Token, kind: str | None, word: Token, right: n.Node
    ) -> n.Join:
        return _make(
            n.Join, _place(word), left=left, right=right, kind=kind or "INNER", natural=True
        )

    def join_kind(self, kind: Token) -> str:
        return kind.type

    def table_name(self, name: tuple[n.Name, ...], alias: n.Name | None) -> n.TableName:
        return _make(n.TableName, name[0].at, parts=name, alias=alias)

    def derived_table(self, query: n.Query, alias: n.Name) -> n.DerivedTable:
        return _make(n.DerivedTable, query.at, query=query, alias=alias)

    def disjunction(self, *terms: n.Node) -> n.Disjunction:
        return _make(n.Disjunction, terms[0].at, terms=terms)

    def all_of(self, *terms: n.Node) -> n.AllOf:
        return _make(n.AllOf, terms[0].at, terms=terms)

    def negated(self, word: Token, term: n.Node) -> n.Negated:
        return _make(n.Negated, _place(word), term=term)

    def comparison(self, left: n.Node, operator: Token, right: n.Node) -> n.Comparison:
        sign = "<>" if operator == "!=" else str(operator)
        return _make(n.Comparison, left.at, operator=sign, left=left, right=right)

    def between(self, value: n.Node, negated: Token | None, low: n.Node, high: n.Node) -> n.Between:
        return _make(n.Between, value.at, value=value, low=low, high=high, negated=bool(negated))

    def in_list(self, value: n.Node, negated: Token | None, *items: n.Node) -> n.InList:
        return _make(n.InList, value.at, value=value, items=items, negated=bool(negated))

    def in_query(self, value: n.Node, negated: Token | None, query: n.Query) -> n.InQuery:
        return _make(n.InQuery, value.at, value=value, query=query, negated=bool(negated))

    def like(self, value: n.Node, negated: Token | None, word: Token, pattern: n.Node) -> n.Like:
        return _make(
            n.Like,
            value.at,
            value=value,
            pattern=pattern,
            negated=bool(negated),
            ignore_case=word.type == "ILIKE",
        )

    def is_null(self, value: n.Node, negated: Token | None, _: Token) -> n.IsNull:
        return _make(n.IsNull, value.at, value=value, negated=bool(negated))

    def exists(self, word: Token, query: n.Query) -> n.Exists:
        return _make(n.Exists, _place(word), query=query)

    def operation(self, left: n.Node, operator: Token, right: n.Node) -> n.Operation:
        return _make(n.Operation, left.at, operator=str(operator), left=left, right=right)

    def signed(self, sign: Token, operand: n.Node) -> n.Signed:
        return _make(n.Signed, _place(sign), sign=str(sign), operand=operand)

    def number(self, token: Token) -> n.Number:
        return _make(n.Number, _place(token), text=str(token))

    def string(self, token: Token) -> n.String:
        return _make(n.String, _place(token), text=unquoted(token))

    def null(self, token: Token) -> n.Null:
        return _make(n.Null, _place(token))

    def column(self, name: tuple[n.Name, ...]) -> n.ColumnName:
        return _make(n.ColumnName, name[0].at, parts=name)

    def call(self, name: Token, *arguments: n.Node | None) -> n.Call:
        given = tuple(argument for argument in arguments if argument is not None)
        word = name.upper()
        levels = _LEVELS.get(word, 2)
        return _make(n.Call, _place(name), levels=levels, name=word, arguments=given)

    def aggregate(self, name: Token, quantifier: Token | None, argument: n.Node) -> n.Aggregate:
        distinct = quantifier is not None and quantifier.type == "DISTINCT"
        return _make(
            n.Aggregate, _place(name), name=name.upper(), argument=argument, distinct=distinct
        )

    def count_rows(self, name: Token, star: Token) -> n.Aggregate:
        if name.upper() != "COUNT":
            raise _error(star, f"found *, expected an expression in {name.upper()}()")
        return _make(n.Aggregate, _place(name), name="COUNT", argument=None)

    def cast(self, word: Token, operand: n.Node, kind: tuple[str, int | None]) -> n.Cast:
        return _make(n.Cast, _place(word), operand=operand, type=kind[0], length=kind[1])

    def type(self, name: Token, length: Token | None) -> tuple[str, int | None]:
        if length is None:
            return name.upper(), None
        if name.upper() not in {"CHAR", "VARCHAR"} or not length.isdigit() or len(length) > 7:
            raise _error(
                length,
                f"found {name.upper()}({_shown(length)}), expected a length only after CHAR or "
                "VARCHAR, and a whole number of characters",
            )
        return name.upper(), int(length)

    def double_precision(self, _: Token) -> tuple[str, None]:
        return "DOUBLE PRECISION", None

    def geometry_type(self, name: Token) -> tuple[str, None]:
        if name.upper() not in {"POINT", "CIRCLE", "POLYGON"}:
            raise _error(name, f"{name} is no type to cast to, expected {CAST_TYPES}")
        return name.upper(), None

    def identifier(self, token: Token | n.Name) -> n.Name:
        return token if isinstance(token, n.Name) else n.Name(str(token), False, _place(token))

    def delimited(self, token: Token) -> n.Name:
        text = token[1:-1].replace('""', '"')
        if not text:
            raise _error(token, 'a name in quotes is empty: ""')
        return n.Name(text, True, _place(token))

    def _members(self, *members: Any) -> tuple[Any, ...]:
        return members

    def name(self, *parts: Any) -> tuple[n.Name, ...]:
        first, *rest = parts
        return (first if isinstance(first, tuple) else (first,)) + tuple(rest)

    common_tables = order_by = select_list = sources = group_by = join_using = _members


def _classify(token: Token) -> Token:
    """Give a reserved word its own type, so that it cannot be taken for a name."""
    word = token.value.upper()
    if word in _KEYWORDS:
        token.type = _KEYWORDS[word]
    elif word in FUNCTION_WORDS:
        token.type = "FUNCTION"
    elif word in AGGREGATES:
        token.type = "AGGREGATE"
    elif word in TYPE_WORDS:
        token.type = "TYPE"
    elif word in RESERVED:
        token.type = "RESERVED"
    return token


_PARSER = Lark(
    Path(__file__).with_name("grammar.lark").read_text("ascii"),
    parser="lalr",
    lexer="basic",
    maybe_placeholders=True,
    transformer=_Nodes(),
    lexer_callbacks={"IDENTIFIER": _classify},
)

#: Reserved words that the grammar names, with their token types.
_KEYWORDS = {
    symbol.name.removeprefix("_"): symbol.name
    for rule in _PARSER.rules
    for symbol in rule.expansion
    if symbol.is_term and symbol.name.removeprefix("_") in RESERVED
}
