"""Pages of people: log in, log out, who am I.

``POST /login`` takes ``username`` and ``password`` in a form, as AuthVO has it
(tls-with-password), answers 200 with the cookie and ``X-VO-Bearer``, or leads a browser back to
where it came from. Nothing secret is taken from, or put into, an address.
"""

from __future__ import annotations

from html import escape
from string import Template

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from vo_service.errors import ForbiddenError, UnauthorizedError, UsageError, VOError
from vo_service.services.access import AccessService
from vo_service.settings import Settings
from vo_service.web.authentication import COOKIE
from vo_service.web.browsers import page_response, wants_page
from vo_service.web.exchange import request_pairs
from vo_service.web.faults import error_headers, status_of
from vo_service.web.visitors import visitor_of

__all__ = ["login_routes"]

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in - $publisher</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.55 system-ui, sans-serif; max-width: 24rem; margin: 4rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.4rem; } label { display: block; margin: .8rem 0 .2rem; }
input { font: inherit; width: 100%; box-sizing: border-box; padding: .4rem .6rem; }
button { font: inherit; margin-top: 1rem; padding: .4rem 1.1rem; border-radius: .4rem; border: 0;
  background: #2563eb; color: #fff; cursor: pointer; }
.wrong { border-left: .3rem solid #b45309; padding-left: .7rem; font-weight: 600; }
</style>
</head>
<body>
<h1>$publisher</h1>
$content
</body>
</html>
""")
_FORM = Template("""$said<form action="$root/login" method="post">
<label for="username">Name</label>
<input id="username" name="username" autocomplete="username" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<input name="next" type="hidden" value="$next">
<button>Log in</button>
</form>
<p>For frames of your proposals before their release. Everything else needs no login.</p>""")
_KNOWN = Template("""$said<p>You are <b>$name</b>; your proposals: $proposals.</p>
<form action="$root/logout" method="post"><button>Log out</button></form>
<p><a href="$root/">To the archive</a></p>""")


def login_routes(settings: Settings, service: AccessService) -> list[Route]:
    """The routes of ``/login``, ``/logout`` and ``/whoami``."""
    pages = _Pages(settings, service)
    return [
        Route("/login", pages.show, methods=["GET"]),
        Route("/login", pages.login, methods=["POST"]),
        Route("/logout", pages.logout, methods=["POST"]),
        Route("/whoami", pages.whoami),
    ]


class _Pages:
    def __init__(self, settings: Settings, service: AccessService) -> None:
        self._settings = settings
        self._service = service

    async def show(self, request: Request) -> Response:
        """The form, or who is logged in."""
        return self._page(request, "", _back(request.query_params.get("next")))

    async def login(self, request: Request) -> Response:
        """Begin a session."""
        after: str | None = None
        try:
            _refuse_foreign(request)
            given = await _form(request)
            after = given.get("next")
            visitor = await self._service.by_password(
                given["username"], given["password"], visitor_of(request).address
            )
            secret = await self._service.begin_session(visitor.name or "")
        except VOError as error:
            if not wants_page(request):
                return _refusal(error)
            response = self._page(request, str(error), _back(after), status_of(error))
            response.headers.update(error_headers(error))
            return response
        if after is None:
            response = PlainTextResponse("OK\n", headers={"X-VO-Bearer": secret})
        else:
            response = RedirectResponse(f"{self._settings.root_url}{_back(after)}", 303)
        request.scope["visitor"] = visitor
        self._set(response, secret, self._settings.session_s)
        return response

    async def logout(self, request: Request) -> Response:
        """End the session of the cookie."""
        try:
            _refuse_foreign(request)
            if secret := request.cookies.get(COOKIE):
                await self._service.end_session(secret)
        except VOError as error:
            return _refusal(error)
        response = RedirectResponse(f"{self._settings.root_url}/", 303)
        self._set(response, "", 0)
        return response

    async def whoami(self, request: Request) -> Response:
        """The name and proposals of who asks; 401 for one who has not said."""
        visitor = visitor_of(request)
        if visitor.name is None:
            return _refusal(UnauthorizedError("you are not logged in"))
        told = {"name": visitor.name, "proposals": sorted(visitor.proposals)}
        return JSONResponse(told, headers={"Cache-Control": "no-store"})

    def _set(self, response: Response, secret: str, seconds: int) -> None:
        response.set_cookie(
            COOKIE, secret, max_age=seconds, path="/", httponly=True, samesite="lax",
            secure=self._settings.root_url.startswith("https://"),
        )  # fmt: skip
        response.headers["Cache-Control"] = "no-store"

    def _page(self, request: Request, said: str, after: str, status: int = 200) -> Response:
        visitor = visitor_of(request)
        notice = f'<p class="wrong">{escape(said)}</p>\n' if said else ""
        root = escape(self._settings.root_url)
        if visitor.name is None:
            content = _FORM.substitute(said=notice, root=root, next=escape(after))
        else:
            content = _KNOWN.substitute(
                said=notice, root=root, name=escape(visitor.name),
                proposals=escape(", ".join(sorted(visitor.proposals)) or "none"),
            )  # fmt: skip
        page = _PAGE.substitute(publisher=escape(self._settings.publisher), content=content)
        return page_response(page.encode(), status)


def _refusal(error: VOError) -> Response:
    return PlainTextResponse(f"{error}\n", status_of(error), error_headers(error))


async def _form(request: Request) -> dict[str, str]:
    if request.url.query:
        raise UsageError("login takes nothing from the address: send username and password as form")
    given = dict(await request_pairs(request))
    for name in ("username", "password"):
        if not given.get(name):
            raise UsageError(f"{name} is missing: expected username and password in a form")
    return given


def _back(path: str | None) -> str:
    """A place on this site to go on to, never on another: two slashes would lead there."""
    if path is None or not path.startswith("/") or path.startswith("//") or not path.isprintable():
        return "/"
    return "/" if "\\" in path else path


def _refuse_foreign(request: Request) -> None:
    """Refuse a form of another site: nobody shall be logged in, or out, unknowingly."""
    site = request.headers.get("sec-fetch-site")
    if site not in {None, "same-origin", "none"}:
        raise ForbiddenError("a page of another site asked for this: do it from a page of this one")
