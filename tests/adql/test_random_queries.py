"""Random queries from the grammar, right and slightly wrong, run as the reader.

Whatever comes in: a usage error, or SQL that names published relations and known functions
only, and that PostgreSQL runs or refuses for its data.
"""
# ruff: noqa: E501, PT017 - a rule reads best on one line; errors are expected, not demanded

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from sqlalchemy.sql import visitors
from sqlalchemy.sql.expression import TableClause

from tests.adql.grammar import QUERIES
from tests.db.frames import frame
from tests.support import settings_at
from vo_service.adql import translate
from vo_service.adql.functions import FUNCTIONS
from vo_service.adql.udf import USER_FUNCTIONS
from vo_service.db.connect import Role, conninfo
from vo_service.db.frames import FrameStore
from vo_service.db.schema import upgrade
from vo_service.db.stream import render
from vo_service.errors import UsageError
from vo_service.model.published import PUBLISHED
from vo_service.model.region import Circle

#: What PostgreSQL may say of values that only it sees: data exceptions, limits, pgSphere's own.
REFUSALS = ("21", "22", "54", "57014", "XX000")

#: Every function that may appear in SQL, and words that stand before a bracket.
_WORDS = """
array_positions cardinality
    abs acos area array_agg array asin atan atan2 avg cast ceil center
    centre_of_healpix_nest coalesce cos cot count degrees exp floor format generate_series
    gnomonic_inv greatest healpix_nest lat least length ln log long lower max min mod npoints nullif
    pi plainto_tsquery point power radians radius random regexp_match replace round rtrim scircle
    sign sin smoc smoc_degrade smoc_info spoint sqrt string_agg string_to_array strans substring sum
    tan to_char to_tsvector translate trunc unnest upper width_bucket extract
    select exists in and or not as on from where when then else over distinct all any union except
    intersect having by select case join using values with varchar null is filter between like
    ilike timestamp
"""
ALLOWED = set(_WORDS.split())


@pytest.fixture(scope="module")
def reader(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    home: Path = tmp_path_factory.mktemp("home")
    chosen = settings_at(database_url, home)
    upgrade(chosen)
    with psycopg.connect(conninfo(chosen, Role.WRITER), autocommit=True) as writer:
        store = FrameStore(writer)
        store.register("c", "Title", "", "{}")
        store.store(
            [
                frame(str(n), obs_id=str(n), s_ra=ra, s_dec=dec, s_fov=1.0, region=Circle(ra, dec, 0.5).polygon(8))
                for n, (ra, dec) in enumerate([(0.2, 0.0), (10.0, 20.0), (11.0, 20.0), (200.0, -89.8)])
            ]
        )  # fmt: skip
    with psycopg.connect(conninfo(chosen, Role.READER), autocommit=True) as connection:
        # As in the cluster of our own: compiling such plans takes seconds that no limit stops.
        connection.execute("SET jit = off")
        connection.execute("SET statement_timeout = '1s'")
        yield connection


RELATIONS = {table.relation for table in PUBLISHED.tables}


@settings(
    max_examples=200, deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a failure is short enough to read
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(
    query=QUERIES,
    cut=st.one_of(st.none(), st.none(), st.tuples(st.integers(0, 200), st.integers(1, 3))),
)
def test_random_query_is_answered_or_refused_for_a_reason(
    reader: Any, query: str, cut: tuple[int, int] | None
) -> None:
    if cut is not None:
        query = query[: cut[0]] + query[cut[0] + cut[1] :]
    try:
        translation = translate(query, PUBLISHED, limit=100)
    except UsageError as error:
        assert "Traceback" not in str(error)
        event("refused")
        return
    tables = {
        part for part in visitors.iterate(translation.select) if isinstance(part, TableClause)
    }
    assert {table.fullname for table in tables} <= RELATIONS
    text = render(translation.select)
    assert called(text) <= ALLOWED, called(text) - ALLOWED
    try:
        cursor = reader.execute(text.encode())
    except psycopg.Error as error:
        assert (error.sqlstate or "").startswith(REFUSALS), (query, str(error))
        event("refused by the database")
        return
    event("answered")
    assert len(cursor.description) == len(translation.fields)


def called(text: str) -> set[str]:
    """The names before brackets in SQL whose strings and quoted names are taken out."""
    plain = re.sub(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"", "''", text)
    names = {name.lower() for name in re.findall(r"([A-Za-z_][\w.]*)\s*\(", plain)}
    return {name for name in names if not re.fullmatch(r"anon_\d+", name)}


def test_every_function_of_the_tables_calls_only_what_is_allowed() -> None:
    assert not ALLOWED & {
        "pg_sleep",
        "pg_read_file",
        "set_config",
        "current_setting",
        "dblink",
        "query_to_xml",
    }
    assert {"MOC", "IVO_TO_JD"} <= set(USER_FUNCTIONS)
    assert "POINT" in FUNCTIONS
