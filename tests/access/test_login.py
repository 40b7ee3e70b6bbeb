"""Who asks: passwords, tokens, cookies; what is wrong, too much, over or from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import httpx
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from tests.access.archive import CLOSED
from tests.access.conftest import PASSWORD, People, Twins
from tests.people import bearer, known_person
from vo_service.db.connect import Role, conninfo
from vo_service.errors import TooManyError, UnauthorizedError
from vo_service.services import access
from vo_service.services.access import Attempts
from vo_service.services.people import change_password, drop_tokens, remove_person, revoke

OURS = next(path for path, proposal in CLOSED.items() if proposal == "canary-p1")
WAITING = "/data/open/waiting.fits"


@pytest.fixture
def http(served: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served, timeout=30) as client:
        yield client


def basic(name: str, password: str) -> dict[str, str]:
    pair = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def test_nobody_is_asked_to_log_in_for_what_is_public(http: httpx.Client) -> None:
    for path in ("/", "/tap/capabilities", "/data/open/public-0.fits", "/login"):
        response = http.get(path)
        assert response.status_code == 200
        assert "X-VO-Authenticated" not in response.headers
        assert "Set-Cookie" not in response.headers


def test_capabilities_offer_every_way_to_log_in(http: httpx.Client, served: str) -> None:
    login = f'standard_id="ivo://ivoa.net/sso#tls-with-password", access_url="{served}/login"'
    for method in ("GET", "HEAD"):
        offered = http.request(method, "/tap/capabilities").headers.get_list("WWW-Authenticate")
        assert offered[0].startswith('Basic realm="')
        assert offered[1].startswith('Bearer realm="')
        assert offered[2:] == [f"ivoa_cookie {login}", f"ivoa_bearer {login}"]
    text = http.get("/tap/capabilities").text
    for name in ("BasicAA", "OAuth", "cookie"):
        assert f'standardID="ivo://ivoa.net/sso#{name}"' in text


def test_a_file_before_its_release_is_for_its_people(http: httpx.Client, people: People) -> None:
    nobody = http.get(WAITING)
    assert nobody.status_code == 401
    assert "proprietary; it will be released on 2999-07-01" in nobody.text
    assert nobody.headers.get_list("WWW-Authenticate")
    other = http.get(WAITING, headers=bearer(people.mallory))
    assert other.status_code == 403
    assert other.headers["X-VO-Authenticated"] == "mallory"
    for headers in (bearer(people.alice), basic("alice", PASSWORD)):
        ours = http.get(WAITING, headers=headers)
        assert ours.status_code == 200
        assert ours.content.startswith(b"SIMPLE  =                    T")
        assert ours.headers["X-VO-Authenticated"] == "alice"
        assert ours.headers["Cache-Control"] == "private"
    part = http.get(WAITING, headers=bearer(people.alice) | {"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, ours.content[10:20])


def test_a_file_nobody_may_know_of_is_there_for_its_people_alone(
    http: httpx.Client, people: People
) -> None:
    path = f"/data/secret/{OURS}"
    assert http.get(path).status_code == 404
    assert http.get(path, headers=bearer(people.mallory)).status_code == 404
    assert http.get(path, headers=bearer(people.alice)).content.startswith(b"SIMPLE")
    other = next(path for path, proposal in CLOSED.items() if proposal == "canary-p2")
    assert http.get(f"/data/secret/{other}", headers=bearer(people.alice)).status_code == 404


def test_what_was_withdrawn_is_gone_for_its_people_too(http: httpx.Client, people: People) -> None:
    never = http.get("/data/open/never.fits", headers=bearer(people.alice))
    gone = http.get("/data/open/canary-gone.fits", headers=bearer(people.alice))
    assert (gone.status_code, never.status_code) == (404, 404)
    assert gone.text == never.text.replace("never", "canary-gone")


def test_datalink_leads_people_to_what_is_theirs(http: httpx.Client, people: People) -> None:
    for path in ("secret?" + OURS, "open?waiting.fits"):
        query = {"ID": f"ivo://x/{path}"}
        mine = http.get("/datalink/links", params=query, headers=bearer(people.alice)).text
        assert "/data/" + path.replace("?", "/") in mine
        assert "<TD>true</TD><TD>true</TD>" in mine
        nobodys = http.get("/datalink/links", params=query).text
        assert "/data/" not in nobodys.partition("<TABLEDATA>")[2]


@pytest.mark.parametrize(
    "header",
    [
        "Basic", "Basic !!!", "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(), "Bearer", "Bearer a b", "Bearer é",
        "Digest x", "Bearer vo_wrong", "bearer ' OR 1=1 --", "Basic " + "A" * 5000, "",
    ],
)  # fmt: skip
def test_wrong_credentials_are_refused_everywhere(http: httpx.Client, header: str) -> None:
    for path in ("/data/open/public-0.fits", "/tap/capabilities", "/whoami", "/nothing"):
        response = http.get(path, headers=[(b"Authorization", header.encode())])
        assert response.status_code == 401
        assert len(response.headers.get_list("WWW-Authenticate")) == 4
        assert "X-VO-Authenticated" not in response.headers


def test_two_authorization_headers_are_refused(http: httpx.Client, people: People) -> None:
    one = ("Authorization", f"Bearer {people.alice}")
    assert http.get("/whoami", headers=[one, one]).status_code == 401


def test_who_am_i(http: httpx.Client, people: People) -> None:
    assert http.get("/whoami").status_code == 401
    told = http.get("/whoami", headers=bearer(people.alice))
    assert told.json() == {"name": "alice", "proposals": ["canary-p1", "p1"]}
    assert told.headers["Cache-Control"] == "no-store"


def test_a_login_gives_a_cookie_that_scripts_and_other_sites_cannot_use(
    http: httpx.Client,
) -> None:
    response = http.post("/login", data={"username": "alice", "password": PASSWORD})
    assert (response.status_code, response.text) == (200, "OK\n")
    cookie = response.headers["Set-Cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=43200"))
    assert "Secure" not in cookie  # the address of this archive is http
    assert http.get("/whoami").json()["name"] == "alice"
    assert http.get(WAITING).status_code == 200
    again = bearer(response.headers["X-VO-Bearer"])
    assert httpx.get(f"{http.base_url}/whoami", headers=again).status_code == 200
    old = dict(http.cookies)
    assert http.post("/logout").headers["Location"].endswith("/")
    assert http.get("/whoami").status_code == 401
    for path in ("/whoami", WAITING):  # the session itself is over, not only the cookie
        assert httpx.get(f"{http.base_url}{path}", cookies=old).status_code == 401
    assert httpx.get(f"{http.base_url}/whoami", headers=again).status_code == 401


def test_a_browser_is_led_back_where_it_came_from_and_nowhere_else(http: httpx.Client) -> None:
    form = {"username": "alice", "password": PASSWORD}
    for after, place in (
        ("/tap/async", "/tap/async"), ("//evil.example/", "/"), ("https://evil.example", "/"),
        ("/\\evil.example", "/"), ("/a\r\nX: y", "/"), ("", "/"),
    ):  # fmt: skip
        response = http.post("/login", data=form | {"next": after})
        assert response.status_code == 303
        assert response.headers["Location"] == f"{str(http.base_url).rstrip('/')}{place}"
    page = http.get("/login", params={"next": '"><script>'})
    assert "<script>" not in page.text
    assert "You are <b>alice</b>" in page.text


def test_a_wrong_password_on_the_page_is_told_there_and_asked_for_by_no_other_form(
    http: httpx.Client,
) -> None:
    form = {"username": "nobody", "password": "wrong", "next": "/"}
    response = http.post("/login", data=form, headers={"Accept": "text/html"})
    assert response.status_code == 401
    assert "name or password is wrong" in response.text
    offered = response.headers.get_list("WWW-Authenticate")
    assert [text.partition(" ")[0] for text in offered] == ["ivoa_cookie", "ivoa_bearer"]


def test_nothing_secret_is_taken_from_an_address(http: httpx.Client) -> None:
    query = {"username": "alice", "password": PASSWORD}
    assert http.post("/login", params=query).status_code == 400
    assert http.post("/login", params=query, data=query).status_code == 400


def test_a_form_of_another_site_logs_nobody_in_or_out(http: httpx.Client) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    form = {"username": "alice", "password": PASSWORD}
    assert http.post("/login", data=form, headers=foreign).status_code == 403
    assert http.post("/logout", headers=foreign).status_code == 403


@pytest.mark.parametrize("form", [{}, {"username": "alice"}, {"username": "", "password": "x"}])
def test_an_incomplete_login_says_what_is_missing(http: httpx.Client, form: dict[str, str]) -> None:
    response = http.post("/login", data=form)
    assert response.status_code == 400
    assert "is missing" in response.text


def test_what_is_revoked_counts_from_the_next_request_on(http: httpx.Client, twins: Twins) -> None:
    settings = twins.with_closed
    token = known_person(settings, "carol", "p1", password="carols password")
    known = basic("carol", "carols password")
    for headers in (bearer(token), known):
        assert http.get(WAITING, headers=headers).status_code == 200
    revoke(settings, "carol", "p1", None)
    assert http.get(WAITING, headers=bearer(token)).status_code == 403
    change_password(settings, "carol", "another password")
    assert http.get("/whoami", headers=known).status_code == 401  # though it was remembered
    assert http.get("/whoami", headers=bearer(token)).status_code == 200
    assert drop_tokens(settings, "carol", None) == 1
    assert http.get("/whoami", headers=bearer(token)).status_code == 401
    remove_person(settings, "carol")
    assert http.get("/whoami", headers=basic("carol", "another password")).status_code == 401


def test_a_token_ends_with_its_time(http: httpx.Client, twins: Twins) -> None:
    token = known_person(twins.with_closed, "dave")
    assert http.get("/whoami", headers=bearer(token)).status_code == 200
    with psycopg.connect(twins.with_closed.database_url or "") as admin:
        used, kept = next(
            admin.execute("SELECT last_used = current_date, digest::text FROM archive.token "
                          "WHERE person = 'dave'")
        )  # fmt: skip
        assert used
        assert token not in kept
        admin.execute("UPDATE archive.token SET expires = now() WHERE person = 'dave'")
    assert http.get("/whoami", headers=bearer(token)).status_code == 401


def test_a_membership_has_a_first_and_a_last_day(http: httpx.Client, twins: Twins) -> None:
    token = known_person(twins.with_closed, "erin", "p1")
    days = [("0", "0", 200), ("-5", "-1", 403), ("1", "5", 403), ("-1", "1", 200)]
    for first, last, status in days:
        with psycopg.connect(twins.with_closed.database_url or "") as admin:
            admin.execute(
                "UPDATE archive.membership SET first_day = (now() AT TIME ZONE 'UTC')::date + "
                "%s::int, last_day = (now() AT TIME ZONE 'UTC')::date + %s::int "
                "WHERE person = 'erin'",
                (first, last),
            )
        assert http.get(WAITING, headers=bearer(token)).status_code == status


def test_a_membership_may_be_of_one_collection(http: httpx.Client, twins: Twins) -> None:
    here = known_person(twins.with_closed, "frank", "p1", collection="open")
    elsewhere = known_person(twins.with_closed, "grace", "p1", collection="secret")
    assert http.get(WAITING, headers=bearer(here)).status_code == 200
    assert http.get(WAITING, headers=bearer(elsewhere)).status_code == 403


def test_guessing_is_stopped_for_the_account_and_what_is_known_goes_on(
    http: httpx.Client, twins: Twins
) -> None:
    token = known_person(twins.with_closed, "heidi", password="heidis password")
    right = basic("heidi", "heidis password")
    assert http.get("/whoami", headers=right).status_code == 200
    answers = [
        http.get("/whoami", headers=basic("heidi", f"guess {n}")).status_code for n in range(12)
    ]
    assert answers == [401] * 10 + [429] * 2
    refused = http.post("/login", data={"username": "heidi", "password": "guess"})
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 300
    assert http.get("/whoami", headers=bearer(token)).status_code == 200
    assert http.get("/whoami", headers=right).status_code == 200  # known a moment ago


def test_attempts_slide_and_right_ones_do_not_count() -> None:
    now = [0.0]
    attempts = Attempts(lambda: now[0])
    for second in range(3):
        now[0] = float(second)
        attempts.begin([("a", 3)])
    with pytest.raises(TooManyError) as refused:
        attempts.begin([("a", 3)])
    assert refused.value.wait_s == 298
    now[0] = 300.0
    attempts.begin([("a", 3)])()  # the one of second 0 is forgotten; this one was right
    attempts.begin([("a", 3)])
    with pytest.raises(TooManyError):
        attempts.begin([("b", 1), ("a", 3)])
    attempts.begin([("b", 1)])  # a refused attempt counted nowhere


@pytest.mark.anyio
async def test_a_name_that_nobody_has_costs_what_a_wrong_password_costs(
    twins: Twins, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked_out: list[str] = []
    fits = access._fits

    def watched(stored: str, password: str) -> bool:
        worked_out.append(stored.rpartition("$")[0].rpartition("$")[0])  # without salt and hash
        return fits(stored, password)

    monkeypatch.setattr(access, "_fits", watched)
    pool: AsyncConnectionPool = AsyncConnectionPool(
        conninfo(twins.with_closed, Role.DOOR), min_size=1, max_size=1, open=False
    )
    said = set()
    async with pool:
        service = access.AccessService(pool, 60)
        for name in ("alice", "mallory", "nobody"):  # wrong, without a password, not here
            with pytest.raises(UnauthorizedError) as refused:
                await service.by_password(name, "wrong password", "192.0.2.1")
            said.add(str(refused.value))
    assert worked_out == ["$argon2id$v=19$m=65536,t=3,p=4"] * 3
    assert len(said) == 1
