"""Rows off the socket, and through libpq: what arrives is what PostgreSQL has, however it comes."""

from __future__ import annotations

import datetime
import os
import select
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
import trustme
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.clusters import lay_cluster
from tests.web.conftest import free_port
from vo_service.db.decode import Decoder
from vo_service.db.wire import asked

Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def encrypted(place: Path) -> Iterator[str]:
    """Connection string of a server that speaks TLS."""
    cluster = lay_cluster(place / "encrypted")
    made = trustme.CA().issue_cert("localhost")
    port = free_port()
    for name, part in (
        ("server.crt", made.cert_chain_pems[0]),
        ("server.key", made.private_key_pem),
    ):
        path = cluster.data / name
        path.write_bytes(part.bytes())
        path.chmod(0o600)
        owner = cluster.data.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
    (cluster.data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c ssl=on -k {cluster.socket}"
    cluster._pg_ctl("start", "--wait", f"--log={cluster.log}", f"--options={options}")
    yield make_conninfo(
        host="127.0.0.1", port=str(port), dbname="postgres", user="vo_admin", sslmode="require"
    )
    cluster._pg_ctl("stop", "--mode=fast")


@pytest.fixture(scope="module", params=["socket", "tls"])
def connection(request: pytest.FixtureRequest, server: str) -> Iterator[Connection]:
    dsn = server if request.param == "socket" else request.getfixturevalue("encrypted")
    with psycopg.connect(dsn, autocommit=True, client_encoding="UTF8") as made:
        assert made.pgconn.ssl_in_use == (request.param == "tls")
        yield made


def batches(connection: Connection, statement: str) -> Iterator[pa.RecordBatch]:
    answer = asked(connection, statement)
    decoder = Decoder(answer.headings())
    while (rows := answer.rows()) is not None:
        yield decoder.batch(*rows)


def fetched(connection: Connection, statement: str) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for batch in batches(connection, statement):
        batch.validate(full=True)
        found += zip(*(column.to_pylist() for column in batch.columns), strict=True)
    return found


def integers(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


_TIMES = st.datetimes(datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31))
_TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=40)
_FLOATS = st.floats(allow_nan=False)  # not equal to itself: below
#: PostgreSQL's types, and values of each.
TYPES: dict[str, st.SearchStrategy[Any]] = {
    "int2": integers(16),
    "int4": integers(32),
    "int8": integers(64),
    "float4": st.floats(allow_nan=False, width=32),
    "float8": _FLOATS,
    "bool": st.booleans(),
    "text": _TEXT,
    "varchar": _TEXT,
    "bytea": st.binary(max_size=40),
    "timestamp": _TIMES,
    "float8[]": st.lists(st.none() | _FLOATS, max_size=5),
    "int4[]": st.lists(st.none() | integers(32), max_size=5),
}
ROWS = st.lists(
    st.tuples(*(st.none() | values for values in TYPES.values())), min_size=1, max_size=30
)


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS)
def test_values_of_every_type_arrive_as_they_are(
    connection: Connection, rows: list[tuple[Any, ...]]
) -> None:
    lines = sql.SQL(", ").join(
        sql.SQL("({})").format(sql.SQL(", ").join(
            sql.SQL("({})::{}").format(sql.Literal(value), sql.SQL(kind))
            for value, kind in zip(row, TYPES, strict=True)
        ))
        for row in rows
    )  # fmt: skip
    statement = sql.SQL("SELECT * FROM (VALUES {}) AS v").format(lines).as_string(connection)
    assert fetched(connection, statement) == rows


def test_what_is_not_finite_and_what_has_no_loop(connection: Connection) -> None:
    found = fetched(
        connection,
        "SELECT 'NaN'::float8, '-Infinity'::float4, 'infinity'::timestamp, 1.50::numeric, "
        "'2026-11-21'::date, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, '{a,null}'::text[], "
        "null::numeric, '\\x00ff'::bytea, 'Kiso'::name, '2026-11-21 12:00+09'::timestamptz",
    )
    moment = datetime.datetime(2026, 11, 21, 3, tzinfo=datetime.UTC)
    assert str(found[0][0]) == "nan"
    assert found[0][1:] == (
        float("-inf"), None, "1.50", "2026-11-21", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ["a", None], None, b"\x00\xff", "Kiso", moment,
    )  # fmt: skip


def test_no_rows_are_no_batches(connection: Connection) -> None:
    assert list(batches(connection, "SELECT 1 AS a WHERE false")) == []


@pytest.mark.parametrize("longest", [1, 40_000, 3_000_000])
def test_rows_that_end_anywhere_in_a_batch_are_whole(connection: Connection, longest: int) -> None:
    count = 12_000_000 // longest if longest > 1 else 400_000
    statement = (
        f"SELECT n, repeat(chr(65 + n % 26), (n::int8 * 7919 % {longest + 1})::int4) "
        f"FROM generate_series(1, {count}) n"
    )
    seen = 0
    for batch in batches(connection, statement):
        for n, text in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            seen += 1
            assert n == seen
            assert text == chr(65 + n % 26) * (n * 7919 % (longest + 1))
    assert seen == count


def test_one_row_may_be_larger_than_any_batch(connection: Connection) -> None:
    found = fetched(connection, "SELECT repeat('x', 20000000), 7")
    assert (len(found[0][0]), found[0][1]) == (20_000_000, 7)


@pytest.mark.parametrize("first", [1, 200_000])
def test_an_error_comes_after_the_rows_before_it_and_the_connection_goes_on(
    connection: Connection, first: int
) -> None:
    seen = 0
    statement = f"SELECT n, 1 / ({first} - n) FROM generate_series(1, 300000) n"
    with pytest.raises(psycopg.errors.DivisionByZero):  # noqa: PT012 - rows come before it
        for batch in batches(connection, statement):
            seen += batch.num_rows
    assert seen <= first - 1
    assert fetched(connection, "SELECT 1") == [(1,)]


@pytest.mark.parametrize("statement", ["SELECT 1; SELECT 2", "SELEC 1", "SELECT nowhere"])
def test_what_is_not_one_statement_is_an_error_with_its_sqlstate(
    connection: Connection, statement: str
) -> None:
    with pytest.raises(psycopg.Error) as failed:
        fetched(connection, statement)
    assert failed.value.sqlstate in {"42601", "42703"}
    assert fetched(connection, "SELECT 1") == [(1,)]


def test_a_nul_is_refused(connection: Connection) -> None:
    with pytest.raises(ValueError, match="NUL"):
        fetched(connection, "SELECT 1\0")


def test_notices_between_rows_are_passed_over(connection: Connection) -> None:
    connection.execute(
        "CREATE OR REPLACE FUNCTION pg_temp.told(n int) RETURNS int LANGUAGE plpgsql AS "
        "$$BEGIN RAISE NOTICE 'row %', n; RETURN n; END$$"
    )
    found = fetched(connection, "SELECT pg_temp.told(n) FROM generate_series(1, 3000) n")
    assert found == [(n,) for n in range(1, 3001)]


def test_a_cancel_ends_the_rows_and_the_connection_goes_on(connection: Connection) -> None:
    stop = threading.Timer(0.3, connection.pgconn.get_cancel().cancel)
    stop.start()
    began = time.monotonic()
    with pytest.raises(psycopg.errors.QueryCanceled):
        fetched(connection, "SELECT pg_sleep(20)::text")
    assert time.monotonic() - began < 10
    stop.join()
    assert fetched(connection, "SELECT 1") == [(1,)]


def test_a_server_that_goes_away_is_an_error(server: str) -> None:
    with psycopg.connect(server, autocommit=True) as lost:
        stop = threading.Timer(0.3, _terminate, (server, lost.info.backend_pid))
        stop.start()
        with pytest.raises(psycopg.Error) as failed:
            fetched(lost, "SELECT pg_sleep(20)::text")
        assert failed.value.sqlstate in (None, "57P01")
        stop.join()
        with pytest.raises(psycopg.Error):
            fetched(lost, "SELECT 1")


def _terminate(server: str, process: int) -> None:
    with psycopg.connect(server) as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", (process,))


def test_an_answer_can_be_taken_as_it_comes(server: str) -> None:
    with psycopg.connect(server, autocommit=True, client_encoding="UTF8") as asking:
        answer = asked(asking, "SELECT n, pg_sleep(0.1)::text FROM generate_series(1, 3) n")
        waited = 0
        while not answer.arrived():
            waited += bool(select.select([answer], [], [], 10)[0])
        assert waited > 0
        assert answer.over
        assert not answer.ended
        rows = answer.rows()
        assert rows is not None
        batch = Decoder(answer.headings()).batch(*rows)
        assert batch.column(0).to_pylist() == [1, 2, 3]
        assert answer.rows() is None
        assert answer.ended
        assert asking.execute("SELECT 1").fetchone() == (1,)


def test_much_is_not_taken_as_it_comes(server: str) -> None:
    with psycopg.connect(server, autocommit=True, client_encoding="UTF8") as asking:
        answer = asked(asking, "SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
        while not answer.arrived():
            select.select([answer], [], [], 10)
        assert not answer.over
        count = 0
        while (rows := answer.rows()) is not None:
            count += rows[1]
        assert count == 20_000


def test_very_many_columns_are_announced_as_well(server: str) -> None:
    names = [f"{'c' * 58}{number:04}" for number in range(1600)]
    listed = ", ".join(f"{number} AS {name}" for number, name in enumerate(names))
    with psycopg.connect(server, autocommit=True, client_encoding="UTF8") as asking:
        answer = asked(asking, f"SELECT {listed}")
        while not answer.arrived():
            select.select([answer], [], [], 10)
        rows = answer.rows()
        assert rows is not None
        batch = Decoder(answer.headings()).batch(*rows)
        assert batch.schema.names == names
        assert [column[0].as_py() for column in batch.columns] == list(range(1600))
