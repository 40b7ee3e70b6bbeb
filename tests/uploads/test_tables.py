"""Uploaded tables in the database: how they are found, who sees them, when they are gone."""

from __future__ import annotations

import gc
import io
import re
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.uploads.support import Uploads
from vo_service.db.connect import Role, conninfo
from vo_service.db.uploads import position_columns, sweep
from vo_service.errors import QueryError, UsageError, VOError
from vo_service.model.table import Field
from vo_service.params.tap import TapQuery
from vo_service.params.upload import UploadSpec
from vo_service.services.uploads import Part
from vo_service.settings import Settings

pytestmark = pytest.mark.anyio


def statement(settings: Settings, text: str) -> list[Any]:
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        cursor = connection.execute(text.encode())
        return cursor.fetchall() if cursor.description else []


def left(settings: Settings) -> int:
    """Relations in the upload schema."""
    found = statement(
        settings, "SELECT count(*) FROM pg_class WHERE relnamespace = 'tap_upload'::regnamespace"
    )
    return int(found[0][0])


async def test_columns_keep_their_names_and_what_is_said_of_them(uploads: Uploads) -> None:
    content = (
        b"<VOTABLE><RESOURCE><TABLE>"
        b"<FIELD name='RA' datatype='double' unit='deg' ucd='pos.eq.ra;meta.main' utype='u:v'/>"
        b"<FIELD name='xmin' datatype='int'/><FIELD name='g' datatype='float'/>"
        b"<FIELD name='G' datatype='float'/><FIELD name='a \"b&quot; &lt;x>' datatype='int'/>"
        b"<FIELD name='select' datatype='int'/><FIELD name='position' datatype='int'/>"
        b"<FIELD name='DEC' datatype='double' ucd='pos.eq.dec;meta.main'/>"
        b"<DATA><TABLEDATA><TR><TD>1.5</TD><TD>2</TD><TD>3</TD><TD>4</TD><TD>5</TD><TD>6</TD>"
        b"<TD>7</TD><TD>8</TD></TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    )
    fields, rows = await uploads.query("SELECT * FROM TAP_UPLOAD.t", content)
    names = ["RA", "xmin", "g", "G", 'a "b" <x>', "select", "position", "DEC"]
    # Names that differ in case alone get numbers in a result, whoever made the table.
    assert [f.name for f in fields][:3] + [f.name for f in fields][4:] == names[:3] + names[4:]
    assert list(rows[0].values()) == [1.5, 2, 3.0, 4.0, 5, 6, 7, 8.0]
    assert (fields[0].unit, fields[0].ucd, fields[0].utype) == ("deg", "pos.eq.ra;meta.main", "u:v")
    _, rows = await uploads.query(
        'SELECT "g" + "G" AS s, XMIN, "a ""b"" <x>" AS q, "select" AS w, ra FROM tap_upload.T',
        content,
    )
    assert list(rows[0].values()) == [7.0, 2, 5, 6, 1.5]


async def test_several_tables_of_one_request_can_be_joined(
    uploads: Uploads, tmp_path: Path
) -> None:
    parts = {}
    for name, content in (("x", b"id,v\n1,10\n2,20\n"), ("y", b"id,w\n2,5\n3,6\n")):
        path = tmp_path / name
        path.write_bytes(content)
        parts[name] = Part(path)
    specs = [UploadSpec("a", "param:x", "x"), UploadSpec("b", "param:y", "y")]
    _, rows = await uploads.run(
        "SELECT id, v * w AS p FROM TAP_UPLOAD.a JOIN TAP_UPLOAD.b USING (id)", specs, parts
    )
    assert rows == [{"id": 2, "p": 100}]


async def test_geometries_are_native_and_come_back(uploads: Uploads) -> None:
    content = (
        b"<VOTABLE><RESOURCE><TABLE>"
        b"<FIELD name='p' datatype='double' arraysize='2' xtype='point'/>"
        b"<FIELD name='c' datatype='float' arraysize='3' xtype='circle'/>"
        b"<FIELD name='s' datatype='double' arraysize='*' xtype='polygon'/><DATA><TABLEDATA>"
        b"<TR><TD>10 20</TD><TD>10 20 5</TD><TD>0 0 10 0 10 10</TD></TR>"
        b"<TR><TD/><TD/><TD/></TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    )
    fields, rows = await uploads.query("SELECT * FROM TAP_UPLOAD.t", content)
    assert [(f.xtype, f.datatype) for f in fields] == [
        ("point", "double"), ("circle", "double"), ("polygon", "double")
    ]  # fmt: skip
    assert rows[0]["p"] == pytest.approx([10, 20])
    assert rows[0]["c"] == pytest.approx([10, 20, 5])
    assert rows[0]["s"] == pytest.approx([0, 0, 10, 0, 10, 10])
    assert list(rows[1].values()) == [None, None, None]
    _, rows = await uploads.query(
        "SELECT CONTAINS(POINT(10, 24), c) AS a, CONTAINS(POINT(9, 1), s) AS b, "
        "DISTANCE(p, POINT(10, 30)) AS d FROM TAP_UPLOAD.t WHERE p IS NOT NULL",
        content,
    )
    assert (rows[0]["a"], rows[0]["b"]) == (1, 1)
    assert rows[0]["d"] == pytest.approx(10)


async def test_a_polygon_that_pgsphere_cannot_hold_is_refused(uploads: Uploads) -> None:
    content = (
        b"<VOTABLE><RESOURCE><TABLE>"
        b"<FIELD name='s' datatype='double' arraysize='*' xtype='polygon'/><DATA><TABLEDATA>"
        b"<TR><TD>0 0 10 10 10 0 0 10</TD></TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    )
    with pytest.raises(UsageError, match=r"upload t: column s: the polygon .* crossing edges"):
        await uploads.query("SELECT * FROM TAP_UPLOAD.t", content)


def test_a_null_among_the_numbers_of_a_polygon_does_not_take_the_server_down(
    settings: Settings,
) -> None:
    # pgSphere 1.1.1: its aggregate of points crashes the whole server on a NULL.
    with psycopg.connect(conninfo(settings, Role.UPLOAD)) as connection:
        for numbers in ("NULL", "NULL,NULL,NULL,NULL,NULL,NULL", "0,0,10,NULL,10,10", "0,0"):
            row = connection.execute(
                f"SELECT tap_upload.polygon(ARRAY[{numbers}]::float8[])".encode()
            ).fetchone()
            assert row == (None,)


async def test_times_are_times(uploads: Uploads) -> None:
    content = b"t\n2020-01-01T00:00:00.25\n2021-01-01T00:00:00\n"
    fields, rows = await uploads.query(
        "SELECT t FROM TAP_UPLOAD.t WHERE t < '2020-06-01T00:00:00'", content
    )
    assert rows == [{"t": "2020-01-01T00:00:00.25"}]
    assert fields[0].xtype == "timestamp"


async def test_every_table_is_gone_when_its_rows_are_closed(
    uploads: Uploads, settings: Settings
) -> None:
    request = TapQuery("SELECT a FROM TAP_UPLOAD.t", 10, uploads=(UploadSpec("t", "param:p", "p"),))
    rows = await uploads.tap.query(request, {"p": uploads.part(b"a\n1\n")})
    assert left(settings) == 2  # table and view
    await rows.aclose()
    await rows.aclose()
    assert left(settings) == 0


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("SELECT nonsense FROM TAP_UPLOAD.t", QueryError),
        ("SELECT 1 / (a - a) FROM TAP_UPLOAD.t", UsageError),
        ("SELECT * FROM TAP_UPLOAD.u", QueryError),
    ],
)
async def test_a_query_that_fails_leaves_nothing(
    uploads: Uploads, settings: Settings, query: str, kind: type[VOError]
) -> None:
    with pytest.raises(kind):
        await uploads.query(query, b"a\n1\n")
    assert left(settings) == 0


async def test_a_client_that_leaves_leaves_nothing(uploads: Uploads, settings: Settings) -> None:
    content = b"a\n" + b"1\n" * 2000
    for wait in (0.0, 0.05, 0.1, 0.2, 0.4, 0.8):
        with anyio.move_on_after(wait):
            await uploads.query(
                "SELECT COUNT(*) FROM TAP_UPLOAD.t x, TAP_UPLOAD.t y, TAP_UPLOAD.t z", content
            )
        assert left(settings) == 0


async def test_uploads_do_not_show_in_tap_schema(uploads: Uploads) -> None:
    _, rows = await uploads.query(
        "SELECT COUNT(*) AS n FROM tap_schema.tables, TAP_UPLOAD.t "
        "WHERE LOWER(table_name) LIKE 'tap_upload%'",
        b"a\n1\n",
    )
    assert rows == [{"n": 0}]
    assert "tap_upload" not in {s.name for s in (await uploads.tap.catalog()).schemas}


async def test_another_query_cannot_name_an_upload(uploads: Uploads, settings: Settings) -> None:
    request = TapQuery("SELECT a FROM TAP_UPLOAD.t", 10, uploads=(UploadSpec("t", "param:p", "p"),))
    rows = await uploads.tap.query(request, {"p": uploads.part(b"a\n1\n")})
    names = statement(
        settings,
        "SELECT relname FROM pg_class WHERE relnamespace = 'tap_upload'::regnamespace",
    )
    try:
        assert all(re.fullmatch("[tv]_[0-9a-f]{32}", name) for (name,) in names)
        for name in ("t", *(name for (name,) in names)):
            with pytest.raises(QueryError, match="no table"):
                await uploads.tap.query(TapQuery(f"SELECT * FROM tap_upload.{name}", 10))
    finally:
        await rows.aclose()


def test_the_upload_role_reaches_nothing_but_its_schema(settings: Settings) -> None:
    with psycopg.connect(conninfo(settings, Role.UPLOAD), autocommit=True) as connection:
        for forbidden in (
            "SELECT * FROM archive.product",
            "SELECT * FROM tap_schema.tables",
            "CREATE TABLE archive.x (a int)",
            "CREATE TABLE public.x (a int)",
            "CREATE TEMPORARY TABLE x (a int)",
            "CREATE SCHEMA x",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden.encode())
        connection.execute("CREATE TABLE tap_upload.x (a int)")
        connection.execute("DROP TABLE tap_upload.x")


def test_the_reader_cannot_write_where_uploads_are(settings: Settings) -> None:
    with psycopg.connect(conninfo(settings, Role.READER), autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE tap_upload.x (a int)")


KILLED = """
    import sys, time
    from pathlib import Path
    import anyio
    from tests.uploads.support import Uploads
    from vo_service.params.upload import UploadSpec
    from vo_service.settings import Settings

    async def main():
        home = Path(sys.argv[1])
        uploads = Uploads(Settings(home=home, database_url=sys.argv[2]), home)
        part = uploads.part(b"a\\n1\\n")
        async with uploads.service.open([UploadSpec("t", "param:p", "p")], {"p": part}):
            print("loaded", flush=True)
            time.sleep(60)

    anyio.run(main)
"""


async def test_what_a_killed_process_leaves_is_swept_and_nothing_else(
    uploads: Uploads, settings: Settings, tmp_path: Path
) -> None:
    command = (
        sys.executable,
        "-c",
        textwrap.dedent(KILLED),
        str(tmp_path),
        settings.database_url or "",
    )
    with subprocess.Popen(  # noqa: ASYNC220 - it is only started here
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loaded\n"
        own = conninfo(settings, Role.UPLOAD)
        assert (sweep(own), left(settings)) == (0, 2)  # in use: its session lives
        process.kill()
    request = TapQuery("SELECT a FROM TAP_UPLOAD.t", 10, uploads=(UploadSpec("t", "param:p", "p"),))
    rows = await uploads.tap.query(request, {"p": uploads.part(b"a\n1\n")})
    deadline = time.monotonic() + 60
    dropped = 0
    while not dropped and time.monotonic() < deadline:  # PostgreSQL notices the death soon
        dropped = sweep(own)
        await anyio.sleep(0.1)
    assert (dropped, left(settings)) == (1, 2)
    assert [b.num_rows async for b in rows.batches()] == [1]
    await rows.aclose()
    assert left(settings) == 0


async def test_rows_of_an_upload_are_not_lost_with_its_file(uploads: Uploads) -> None:
    part = uploads.part(b"a\n1\n")
    async with uploads.service.open([UploadSpec("t", "param:p", "p")], {"p": part}) as schema:
        part.path.unlink()
        assert schema is not None
        assert [table.name for table in schema.tables] == ["tap_upload.t"]
    gc.collect()


async def test_no_upload_is_no_schema(uploads: Uploads) -> None:
    async with uploads.service.open([], {}) as schema:
        assert schema is None


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (UploadSpec("t", "param:q", "q"), "the request has no part 'q'"),
        (UploadSpec("t", "http://127.0.0.1/x"), "upload t: 127.0.0.1 has the address 127.0.0.1"),
    ],
)
async def test_an_upload_that_is_not_there_is_told(
    uploads: Uploads, spec: UploadSpec, said: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        await uploads.run("SELECT * FROM TAP_UPLOAD.t", [spec], {})


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


async def test_a_table_comes_from_an_address_where_the_operator_allows_it(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_bytes(b"a\n1\n")
    allowing = settings.model_copy(update={"upload_private_addresses": True})
    uploads = Uploads(allowing, tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://localhost:{server.server_port}/t.csv"
        _, rows = await uploads.run("SELECT * FROM TAP_UPLOAD.t", [UploadSpec("t", url)], {})
        with pytest.raises(UsageError, match=r"upload t: .* answered 404"):
            await uploads.run("SELECT * FROM TAP_UPLOAD.t", [UploadSpec("t", url + "x")], {})
        server.shutdown()
    assert rows == [{"a": 1}]
    await uploads.aclose()


async def test_limits_are_named_with_what_was_found(uploads: Uploads) -> None:
    with pytest.raises(UsageError, match="upload t: more than 2000 rows"):
        await uploads.query("SELECT * FROM TAP_UPLOAD.t", b"a\n" + b"1\n" * 2001)
    with pytest.raises(UsageError, match="upload t: 1000002 bytes: expected at most 1000000"):
        await uploads.query("SELECT * FROM TAP_UPLOAD.t", b"a\n" + b"1" * 1_000_000)


async def test_a_file_that_needs_too_much_memory_harms_nothing_here(
    settings: Settings, tmp_path: Path
) -> None:
    # 2000 rows that name the same text of 900 kB: 1.8 GB once it is written out.
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), ["x" * 900_000])
    out = io.BytesIO()
    pq.write_table(pa.table({"a": text}), out, compression="zstd")
    assert len(out.getvalue()) < 20_000
    small = Uploads(settings.model_copy(update={"upload_memory_limit": 500_000_000}), tmp_path)
    with pytest.raises(UsageError, match=r"upload t: .* 500000000 bytes of memory"):
        await small.query("SELECT * FROM TAP_UPLOAD.t", out.getvalue())
    _, rows = await small.query("SELECT * FROM TAP_UPLOAD.t", b"a\n1\n")
    assert rows == [{"a": 1}]
    await small.aclose()


def fields(*names: str, **all_have: Any) -> list[Field]:
    return [replace(Field(name=name, datatype="double"), **all_have) for name in names]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (fields("ra", "dec"), (0, 1)),
        (fields("x", "DEC", "RA"), (2, 1)),
        (fields("s_ra", "s_dec"), (0, 1)),
        (fields("RAJ2000", "DEJ2000", unit="deg"), (0, 1)),
        (fields("ra", "dec", unit="rad"), None),
        (fields("ra", "dec", datatype="char", arraysize="*"), None),
        (fields("ra", "de"), None),
        (
            [Field(name="a", datatype="float", ucd="POS.EQ.DEC;META.MAIN"),
             Field(name="b", datatype="float", ucd="pos.eq.ra; meta.main"),
             *fields("ra", "dec")],
            (1, 0),
        ),
        (
            [Field(name="a", datatype="float", ucd="pos.eq.ra"),
             Field(name="b", datatype="float", ucd="pos.eq.ra"),
             Field(name="c", datatype="float", ucd="pos.eq.dec")],
            None,
        ),
    ],
)  # fmt: skip
def test_a_position_is_recognised(columns: list[Field], expected: tuple[int, int] | None) -> None:
    assert position_columns(columns) == expected
