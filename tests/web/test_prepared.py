"""Queries made ready: what is remembered, and for how long."""

from __future__ import annotations

import dataclasses

import pytest

from vo_service.adql import Translation, translate
from vo_service.errors import QueryError
from vo_service.model.published import OBSCORE_TABLE
from vo_service.model.table import Catalog, Schema
from vo_service.services import prepared
from vo_service.services.prepared import PreparedQueries, prepare

pytestmark = pytest.mark.anyio

ALL = "SELECT * FROM ivoa.obscore"


def catalog(reach: float = 0.0) -> Catalog:
    assert OBSCORE_TABLE.position is not None
    position = dataclasses.replace(OBSCORE_TABLE.position, reach=reach)
    table = dataclasses.replace(OBSCORE_TABLE, position=position)
    return Catalog(schemas=(Schema(name="ivoa", tables=(table,)),))


@pytest.fixture
def translated(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The queries that were translated and not remembered."""
    seen: list[object] = []

    def noted(query: str, catalog: Catalog, limit: int) -> Translation:
        seen.append(query)
        return translate(query, catalog, limit)

    monkeypatch.setattr(prepared, "translate", noted)
    return seen


async def test_the_same_query_is_translated_once(translated: list[object]) -> None:
    queries, known = PreparedQueries(), catalog()
    first = await queries.get(ALL, known, 10)
    assert await queries.get(ALL, known, 10) is first
    assert len(translated) == 1
    assert len(first.fields) == len(OBSCORE_TABLE.columns)
    assert "LIMIT 10" in first.sql


async def test_another_limit_is_another_query(translated: list[object]) -> None:
    queries, known = PreparedQueries(), catalog()
    sql = [(await queries.get(ALL, known, limit)).sql for limit in (10, 11)]
    assert sql[0] != sql[1]
    assert len(translated) == 2


async def test_a_new_catalogue_forgets_what_was_made_for_the_old_one() -> None:
    """A wider footprint changes the bounds that a search by footprint needs."""
    queries = PreparedQueries()
    text = "SELECT obs_id FROM ivoa.obscore WHERE CONTAINS(POINT(10, 20), s_region) = 1"
    narrow = await queries.get(text, catalog(0.5), 10)
    wide = await queries.get(text, catalog(1.5), 10)
    assert narrow.sql != wide.sql
    assert [narrow, wide] == [prepare(text, catalog(reach), 10) for reach in (0.5, 1.5)]


async def test_only_the_latest_queries_are_kept(translated: list[object]) -> None:
    queries, known = PreparedQueries(), catalog()
    for number in range(502):
        await queries.get(f"SELECT obs_id AS n{number} FROM ivoa.obscore", known, 10)
    await queries.get("SELECT obs_id AS n501 FROM ivoa.obscore", known, 10)
    assert len(translated) == 502
    await queries.get("SELECT obs_id AS n0 FROM ivoa.obscore", known, 10)
    assert len(translated) == 503


async def test_a_query_that_is_wrong_is_wrong_each_time(translated: list[object]) -> None:
    queries, known = PreparedQueries(), catalog()
    for _ in range(2):
        with pytest.raises(QueryError, match="no column nonsense"):
            await queries.get("SELECT nonsense FROM ivoa.obscore", known, 10)
    assert len(translated) == 2


async def test_a_table_twice_in_a_query_is_two_tables_each_time() -> None:
    queries, known = PreparedQueries(), catalog()
    for limit in (10, 11):
        made = await queries.get(
            "SELECT a.obs_id FROM ivoa.obscore AS a JOIN ivoa.obscore AS b ON a.s_ra < b.s_ra",
            known, limit,
        )  # fmt: skip
        assert "obscore_1.s_ra < obscore_2.s_ra" in made.sql


@pytest.mark.parametrize("column", ["'vo_where_of_an_outline'", "1 AS vo_where_of_an_outline"])
async def test_text_like_the_mark_of_where_is_only_text(column: str) -> None:
    queries, known = PreparedQueries(), catalog()
    for level in (1, 2, 3):
        text = f"SELECT {column} FROM ivoa.obscore WHERE calib_level = {level}"
        assert (await queries.get(text, known, 10)).sql == prepare(text, known, 10).sql
