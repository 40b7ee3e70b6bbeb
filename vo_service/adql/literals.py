"""Queries that say the same as one before with other values: what was parsed is used again.

A text is taken apart into its literals and the words between them. Two texts with the same words
differ for the parser in nothing but the values of numbers and strings, so that the tree of one is
that of the other with other values in it. Only those of WHERE may differ: a number in TOP, OFFSET,
ORDER BY or a type is no value. Lexical elements are those of ``grammar.lark``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from vo_service.adql import nodes as n
from vo_service.adql.outline import where_of
from vo_service.adql.parse import UNWRITABLE, unquoted

__all__ = ["Known", "Written", "known", "written"]

#: What a text is made of, as far as it matters where a literal begins: strings, numbers, others.
_PART = re.compile(
    r"('[^']*(?:''[^']*)*')"
    r"|((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[Ee][+-]?[0-9]+)?(?![A-Za-z0-9_]))"
    r'|"[^"]*(?:""[^"]*)*"|--[^\n]*|[A-Za-z][A-Za-z0-9_]*'
)

#: What stands in the words for a string and for a number: no text may hold these characters.
_STRING, _NUMBER = "\1", "\2"

_Fill: TypeAlias = Callable[[Sequence[str]], n.Node]


@dataclass(frozen=True, slots=True)
class Written:
    """A text: its words, and its literals as they are written, in order."""

    words: str
    literals: tuple[str, ...]


def written(text: str) -> Written | None:
    """*text* taken apart; None where it holds what no query may hold."""
    if _STRING in text or _NUMBER in text or UNWRITABLE.search(text):
        return None
    literals: list[str] = []

    def word(found: re.Match[str]) -> str:
        if found.lastindex is None:
            return found[0]
        literals.append(found[0])
        return _STRING if found.lastindex == 1 else _NUMBER

    return Written(_PART.sub(word, text), tuple(literals))


@dataclass(frozen=True, slots=True)
class Known:
    """A query that was parsed, for texts with the same words.

    *bare* is all of it but WHERE; *fixed* are its literals outside of WHERE, by number; *fill*
    makes a WHERE of all literals of a text.
    """

    key: tuple[str, ...]
    bare: n.Statement
    fixed: Mapping[int, str]
    fill: _Fill

    def where(self, literals: Sequence[str]) -> n.Node | None:
        """The WHERE of a text with the same words; None if it differs outside of it as well.

        Nodes keep the places that they have in the text that was parsed.
        """
        if any(literals[number] != text for number, text in self.fixed.items()):
            return None
        return self.fill(literals)


def known(text: str, statement: n.Statement, parts: Written) -> Known | None:
    """A *text* that says *statement*, to be said again; None where `where_of` knows no WHERE."""
    found = where_of(statement)
    if found is None:
        return None
    bare, where = found
    values = {node.at for node in n.walk(where) if isinstance(node, n.Number | n.String)}
    places = {place: number for number, place in enumerate(_places(text)) if place in values}
    varying = set(places.values())
    fixed = {i: literal for i, literal in enumerate(parts.literals) if i not in varying}
    fill = _filler(where, places) or partial(_unchanged, where)
    return Known((parts.words, *fixed.values()), bare, fixed, fill)


def _places(text: str) -> Iterator[n.Place]:
    """Where the literals of *text* begin."""
    for found in _PART.finditer(text):
        if found.lastindex:
            start = found.start()
            yield n.Place(text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start))


def _filler(node: n.Node, places: Mapping[n.Place, int]) -> _Fill | None:
    """What makes *node* of literals; None if none of them is in it."""
    match node:
        case n.Number():
            return partial(_number, node, places[node.at])
        case n.String():
            return partial(_string, node, places[node.at])
        case n.Query():
            return None
    same = {item.name: getattr(node, item.name) for item in dataclasses.fields(node)}
    made: dict[str, _Fill | list[_Fill]] = {}
    for name, value in tuple(same.items()):
        if isinstance(value, n.Node) and (one := _filler(value, places)):
            made[name] = one
        elif isinstance(value, tuple) and any(isinstance(part, n.Node) for part in value):
            made[name] = [_filler(part, places) or partial(_unchanged, part) for part in value]
    for name in made:
        del same[name]
    return partial(_composed, type(node), same, made) if made else None


def _number(node: n.Number, index: int, literals: Sequence[str]) -> n.Node:
    return n.Number(at=node.at, depth=node.depth, text=literals[index])


def _string(node: n.String, index: int, literals: Sequence[str]) -> n.Node:
    return n.String(at=node.at, depth=node.depth, text=unquoted(literals[index]))


def _unchanged(node: n.Node, _: Sequence[str]) -> n.Node:
    return node


def _composed(
    kind: type[n.Node],
    same: Mapping[str, Any],
    made: Mapping[str, _Fill | list[_Fill]],
    literals: Sequence[str],
) -> n.Node:
    values: dict[str, Any] = {
        name: tuple(one(literals) for one in fill) if isinstance(fill, list) else fill(literals)
        for name, fill in made.items()
    }
    return kind(**same, **values)
