"""The words of ADQL: what is reserved, and how the parser's tokens are called in a message.

Source: ADQL 2.1, "Keywords", "Reserved Words", "ADQL Reserved Words".
"""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["AGGREGATES", "CAST_TYPES", "FUNCTION_WORDS", "RESERVED", "TYPE_WORDS", "expected_words"]

_SQL92 = """
ABSOLUTE ACTION ADD ALL ALLOCATE ALTER AND ANY ARE AS ASC ASSERTION AT AUTHORIZATION AVG BEGIN
BETWEEN BIT BIT_LENGTH BOTH BY CASCADE CASCADED CASE CAST CATALOG CHAR CHARACTER CHAR_LENGTH
CHARACTER_LENGTH CHECK CLOSE COALESCE COLLATE COLLATION COLUMN COMMIT CONNECT CONNECTION
CONSTRAINT CONSTRAINTS CONTINUE CONVERT CORRESPONDING COUNT CREATE CROSS CURRENT CURRENT_DATE
CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER CURSOR DATE DAY DEALLOCATE DECIMAL DECLARE DEFAULT
DEFERRABLE DEFERRED DELETE DESC DESCRIBE DESCRIPTOR DIAGNOSTICS DISCONNECT DISTINCT DOMAIN DOUBLE
DROP ELSE END ESCAPE EXCEPT EXCEPTION EXEC EXECUTE EXISTS EXTERNAL EXTRACT FALSE FETCH
FIRST FLOAT FOR FOREIGN FOUND FROM FULL GET GLOBAL GO GOTO GRANT GROUP HAVING HOUR IDENTITY
IMMEDIATE IN INDICATOR INITIALLY INNER INPUT INSENSITIVE INSERT INT INTEGER INTERSECT INTERVAL
INTO IS ISOLATION JOIN KEY LANGUAGE LAST LEADING LEFT LEVEL LIKE LOCAL LOWER MATCH MAX MIN MINUTE
MODULE MONTH NAMES NATIONAL NATURAL NCHAR NEXT NO NOT NULL NULLIF NUMERIC OCTET_LENGTH OF ON ONLY
OPEN OPTION OR ORDER OUTER OUTPUT OVERLAPS PAD PARTIAL POSITION PRECISION PREPARE PRESERVE PRIMARY
PRIOR PRIVILEGES PROCEDURE PUBLIC READ REAL REFERENCES RELATIVE RESTRICT REVOKE RIGHT ROLLBACK
ROWS SCHEMA SCROLL SECOND SECTION SELECT SESSION SESSION_USER SET SIZE SMALLINT SOME SPACE SQL
SQLCODE SQLERROR SQLSTATE SUBSTRING SUM SYSTEM_USER TABLE TEMPORARY THEN TIME TIMESTAMP
TIMEZONE_HOUR TIMEZONE_MINUTE TO TRAILING TRANSACTION TRANSLATE TRANSLATION TRIM TRUE UNION UNIQUE
UNKNOWN UPDATE UPPER USAGE USER USING VALUE VALUES VARCHAR VARYING VIEW WHEN WHENEVER WHERE WITH
WORK WRITE YEAR ZONE
"""

#: Reserved words that are called like functions.
FUNCTION_WORDS = frozenset(
    [
        "ABS",
        "ACOS",
        "ASIN",
        "ATAN",
        "ATAN2",
        "CEILING",
        "COS",
        "COT",
        "DEGREES",
        "EXP",
        "FLOOR",
        "LOG",
        "LOG10",
        "MOD",
        "PI",
        "POWER",
        "RADIANS",
        "RAND",
        "ROUND",
        "SIN",
        "SQRT",
        "TAN",
        "TRUNCATE",
        "AREA",
        "BOX",
        "CENTROID",
        "CIRCLE",
        "CONTAINS",
        "COORD1",
        "COORD2",
        "COORDSYS",
        "DISTANCE",
        "INTERSECTS",
        "POINT",
        "POLYGON",
        "REGION",
        "COALESCE",
        "IN_UNIT",
        "LOWER",
        "UPPER",
    ]
)

AGGREGATES = frozenset({"COUNT", "AVG", "MAX", "MIN", "SUM"})

#: Names of types in CAST; DOUBLE PRECISION and geometries are told apart by the grammar.
TYPE_WORDS = frozenset({"INTEGER", "SMALLINT", "BIGINT", "REAL", "CHAR", "VARCHAR", "TIMESTAMP"})

RESERVED = frozenset(_SQL92.split()) | FUNCTION_WORDS | TYPE_WORDS | {"ILIKE", "OFFSET", "TOP"}

_SYMBOLS = {
    "COMMA": '","',
    "LPAR": '"("',
    "RPAR": '")"',
    "DOT": '"."',
    "STAR": '"*"',
    "SEMICOLON": None,
    "IDENTIFIER": "a name",
    "DELIMITED": "a name",
    "NUMBER": "a number",
    "STRING": "a string",
    "TYPE": "a type",
    "FUNCTION": "a function",
    "AGGREGATE": "a function",
    "PLUS": '"+"',
    "MINUS": '"-"',
    "SLASH": '"/"',
    "CONCATENATE": '"||"',
    "COMPARISON": "a comparison",
    "$END": "the end of the query",
}

_VALUE = frozenset(
    [
        "IDENTIFIER",
        "DELIMITED",
        "NUMBER",
        "STRING",
        "FUNCTION",
        "AGGREGATE",
        "CAST",
        "NULL",
        "PLUS",
        "MINUS",
        "LPAR",
    ]
)
_OPERATOR = frozenset({"PLUS", "MINUS", "STAR", "SLASH", "CONCATENATE"})
_PREDICATE = frozenset(["COMPARISON", "_BETWEEN", "_IN", "LIKE", "ILIKE", "_IS"])
#: What a value may be cast to.
CAST_TYPES = (
    "a type (SMALLINT, INTEGER, BIGINT, REAL, DOUBLE PRECISION, CHAR, VARCHAR, TIMESTAMP, POINT, "
    "CIRCLE, POLYGON)"
)
_GROUPS = (
    (_VALUE | {"NOT", "EXISTS"}, "a condition"),
    (_VALUE, "an expression"),
    (_OPERATOR, "an operator"),
    (frozenset({"TYPE", "DOUBLE", "FUNCTION"}), CAST_TYPES),
    (_PREDICATE | {"NOT"}, "a comparison"),
)


def expected_words(tokens: Collection[str]) -> str:
    """Say which tokens could have come: "a name, WHERE or the end of the query"."""
    left = set(tokens)
    words: list[str] = []
    for group, word in _GROUPS:
        if group <= left:
            words.append(word)
            left -= group
    for token in sorted(left):
        word_or_none = _SYMBOLS.get(token, token.removeprefix("_"))
        if word_or_none and word_or_none not in words:
            words.append(word_or_none)
    if not words:
        return "nothing more"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
