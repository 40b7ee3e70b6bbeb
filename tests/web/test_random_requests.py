"""Random queries, bytes and uploads over HTTP: answered or refused, never a defect, no leak.

What the translator makes of random queries is tested in `tests.adql.test_random_queries`; here
it is what a stranger can see of it.
"""
# ruff: noqa: E501 - a list of words reads best on one line

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, Phase, event, example, given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.adql.grammar import QUERIES, mutated
from tests.jobs.archive import command
from tests.web.conftest import Archive, free_port
from vo_service.db.connect import Role
from vo_service.db.roles import ADMIN
from vo_service.formats.output import FORMATS
from vo_service.services.examples import EXAMPLES

#: What tells of the inside: SQL of ours, programs, roles. Clients may well say such words
#: themselves, and then read them again.
INSIDE = (
    "archive.", "tap_schema.columns_", "uws.", "spoint(", "scircle(", "spoly(", "spoint_", "::", "CAST(CAST",
    "obscore_1", "anon_1", "psycopg", "adbc", "sqlalchemy", "lark", "Traceback", ".py", "SQLSTATE", "XX000",
    "pg_sphere", "pg_temp", "search_path", ADMIN, *Role,
)  # fmt: skip

#: Answered; refused with a reason; too large.
STATUS = {200, 400, 413}

MANY = settings(
    max_examples=150, deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a failure is short enough to read
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
FORMAT_NAMES = [name for known in FORMATS for name in (known.media_type, *known.aliases)]


@pytest.fixture(scope="module")
def http(archive: Archive) -> Iterator[httpx.Client]:
    """The demonstration archive, served a second time, with little patience."""
    hasty = archive.settings.model_copy(
        update={"port": free_port(), "sync_limit_s": 2.0, "worker_in_serve": False}
    )
    with (
        command(hasty, "serve"),
        httpx.Client(base_url=f"http://localhost:{hasty.port}/tap", timeout=30) as client,
    ):
        yield client


def harmless(archive: Archive, response: httpx.Response, said: str) -> None:
    """The answer is one of those that are right, and tells nothing of the inside."""
    assert response.status_code in STATUS, (response.status_code, said, response.text[:500])
    event(str(response.status_code))
    text = response.text
    words = [word for word in (*INSIDE, str(archive.settings.home)) if word in text]
    leaks = [word for word in words if word.lower() not in said.lower()]
    assert not leaks, (leaks, said, text[:3000])
    if response.status_code != 200:
        assert response.headers["content-type"] == "application/x-votable+xml"
        (info,) = etree.fromstring(response.content).iterfind(".//{*}INFO[@name='QUERY_STATUS']")
        assert info.get("value") == "ERROR"
        assert info.text


def ask(http: httpx.Client, query: str, **more: str) -> httpx.Response:
    form = {"LANG": "ADQL", "QUERY": query, "MAXREC": "20", "RESPONSEFORMAT": "votable/td"} | more
    return http.post("/sync", data=form)


@MANY
@given(query=QUERIES)
def test_a_random_query(archive: Archive, http: httpx.Client, query: str) -> None:
    harmless(archive, ask(http, query), query)


@MANY
@given(query=mutated(st.one_of(QUERIES, st.sampled_from([e.query for e in EXAMPLES]))))
@example(query="SELECT obs_id FROM ivoa.obscore WHERE obs_id = '\0'")
@example(query="SELECT %s, %(x)s, $1, :a FROM ivoa.obscore")
@example(query="SELECT obs_id AS \"%s ' :a $1 {x}\" FROM ivoa.obscore WHERE obs_id LIKE '%:a{x}$1'")
def test_a_mutated_query(archive: Archive, http: httpx.Client, query: str) -> None:
    text = query.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    harmless(archive, ask(http, text), text)


@MANY
@given(
    name=st.sampled_from(FORMAT_NAMES), query=st.sampled_from([
        "SELECT TOP 3 * FROM ivoa.obscore", "SELECT 1/0 FROM ivoa.obscore", "SELECT obs_id FROM ivoa.obscore WHERE 1=0",
        "SELECT CIRCLE(s_ra, s_dec, t_exptime * 1000 - 1) FROM ivoa.obscore", "SELECT obs_id FROM archive.product",
        "SELECT CAST(obs_id AS INTEGER) FROM ivoa.obscore", "SELECT EXP(1000 + s_ra) FROM ivoa.obscore",
        "SELECT POLYGON(s_ra, s_dec, 1, 2, s_ra, s_dec) FROM ivoa.obscore", "SELECT POINT(1, s_dec * 1000) FROM ivoa.obscore",
    ]),
)  # fmt: skip
def test_any_format_of_good_and_of_failing_queries(
    archive: Archive, http: httpx.Client, name: str, query: str
) -> None:
    harmless(archive, ask(http, query, RESPONSEFORMAT=name, MAXREC="3"), query)


_PARAMETERS = st.sampled_from(
    ["LANG", "QUERY", "MAXREC", "RESPONSEFORMAT", "FORMAT", "UPLOAD", "RUNID", "REQUEST", "VERSION", "PHASE", "x"]
)  # fmt: skip
_VALUES = st.one_of(
    st.sampled_from([
        "ADQL", "ADQL-2.1", "SELECT TOP 1 obs_id FROM ivoa.obscore", "doQuery", "csv", "0", "-1", "1e3", "99999999999999999999",
        "t,param:t", "t,http://127.0.0.1/x", "t,file:///etc/passwd", "t,http://[::1", "a,b,c;d,e", "RUN", "",
    ]),
    st.text(max_size=20),
)  # fmt: skip


@MANY
@given(
    first=st.sampled_from([[], [("LANG", "ADQL"), ("QUERY", "SELECT TOP 2 s_ra FROM ivoa.obscore")]]),
    pairs=st.lists(st.tuples(_PARAMETERS, _VALUES), max_size=6),
    post=st.booleans(),
)  # fmt: skip
def test_random_parameters(
    archive: Archive,
    http: httpx.Client,
    first: list[tuple[str, str]],
    pairs: list[tuple[str, str]],
    post: bool,
) -> None:
    clean = [(name, value.encode("utf-8", "replace").decode()) for name, value in first + pairs]
    form = urlencode(clean)
    if post:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        response = http.post("/sync", content=form, headers=kind)
    else:
        response = http.get(f"/sync?{form}")
    harmless(archive, response, " ".join(value for _, value in clean))


@MANY
@given(
    body=st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=60).map(b"LANG=ADQL&QUERY=SELECT+".__add__),
        st.binary(max_size=60).map(b'--b\r\nContent-Disposition: form-data; name="QUERY"\r\n\r\n'.__add__),
    ),
    kind=st.sampled_from([
        "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "multipart/form-data",
        "application/x-www-form-urlencoded; charset=klingon", "multipart/form-data; boundary=", "text/xml", "", "\x80/;=",
    ]),
)  # fmt: skip
def test_random_bytes_as_a_request(
    archive: Archive, http: httpx.Client, body: bytes, kind: str
) -> None:
    headers = {b"Content-Type": kind.encode("latin-1")}
    harmless(archive, http.post("/sync", content=body, headers=headers), body.decode("latin-1"))


@settings(MANY, max_examples=60)
@given(raw=st.binary(max_size=60))
def test_random_bytes_in_the_address(archive: Archive, http: httpx.Client, raw: bytes) -> None:
    path = b"/tap/sync?" + b"".join(b"%%%02X" % byte if byte % 3 else bytes([byte]) for byte in raw)
    safe = bytes(byte if 0x21 <= byte < 0x7F else 0x2B for byte in path)
    url = http.base_url.copy_with(raw_path=safe)
    harmless(archive, http.get(url), raw.decode("latin-1") + safe.decode())


_VOTABLE = (
    b"<?xml version='1.0'?><VOTABLE version='1.4'><RESOURCE><TABLE><FIELD name='ra' datatype='double'/>"
    b"<FIELD name='dec' datatype='double'/><FIELD name='t' datatype='char' arraysize='*'/><DATA><TABLEDATA>"
    b"<TR><TD>10.5</TD><TD>-20</TD><TD>abc</TD></TR><TR><TD/><TD>NaN</TD><TD/></TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
)  # fmt: skip
_CSV = b'ra,dec,"a ""b"""\n10.5,-20,x\n,,\n'


def _changed(content: bytes, place: int, length: int, piece: bytes) -> bytes:
    place %= len(content) + 1
    return content[:place] + piece + content[place + length :]


_FILES = st.one_of(
    st.binary(max_size=300),
    st.builds(
        _changed, st.sampled_from([_VOTABLE, _VOTABLE, _CSV]), st.integers(0, 5000), st.integers(0, 40),
        st.one_of(st.sampled_from([b"", b"<", b"&x;", b"1e999", b"'", b'"', b"\0", b"\xff", b"int", b"unicodeChar"]), st.binary(max_size=5)),
    ),
)  # fmt: skip


@MANY
@given(
    file=_FILES,
    kind=st.sampled_from(["application/x-votable+xml", "text/csv", "application/fits", "", "x"]),
    name=st.sampled_from([*["t"] * 9, "T", "a b", "x.y", "select", "1", "", "é"]),
)
@example(file=_VOTABLE, kind="application/x-votable+xml", name="t")
@example(file=_CSV, kind="text/csv", name="t")
def test_random_uploads(
    archive: Archive, http: httpx.Client, file: bytes, kind: str, name: str
) -> None:
    query = "SELECT u.*, o.obs_id FROM tap_upload.t AS u, ivoa.obscore AS o"
    form = {"LANG": "ADQL", "QUERY": query, "UPLOAD": f"{name},param:p", "MAXREC": "5"}
    response = http.post(
        "/sync", data=form | {"RESPONSEFORMAT": "csv"}, files={"p": ("../p", file, kind)}
    )
    harmless(archive, response, query + name + file.decode("latin-1"))
