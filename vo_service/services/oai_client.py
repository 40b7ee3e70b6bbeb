"""Questions to an OAI-PMH repository, put politely: one at a time, with pauses, by name.

The address is one that an operator names, so it may be anywhere; http and https only. Where the
repository is overloaded it is asked again when it says. An answer goes to a temporary file.
Source: OAI-PMH 2.0, "HTTP Response Format", "Status Codes". Times are seconds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import IO
from urllib.parse import urlencode, urlsplit

import httpx

from vo_service import __version__
from vo_service.errors import TooLargeError, TransientError, UsageError
from vo_service.registry.oai_page import OaiAnswer

__all__ = ["OaiClient", "checked_address"]

_BYTES_LIMIT = 200_000_000
_ANSWER_LIMIT_S = 900.0
_PATIENCE = httpx.Timeout(30.0, read=180.0)
_REDIRECTS = 5

#: Where nothing is said about when to come again, after each failure in a row.
_WAIT_S = (1.0, 5.0, 20.0, 60.0)
#: A repository that wants to be left alone for longer than this is.
_LONGEST_WAIT_S = 600.0

_BUSY = frozenset({429, 500, 502, 503, 504})


def checked_address(url: str) -> str:
    """An address of a repository without what clients are to add.

    Raises
    ------
    UsageError
        It is no http or https address, or holds credentials.
    """
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{url[:200]!r} is no address: {error}") from None
    if parts.scheme not in ("http", "https") or not host or not url.isascii():
        raise UsageError(f"{url[:200]!r}: expected an address as https://archive.example.org/oai")
    if "@" in parts.netloc:
        raise UsageError(f"the address at {host} holds a user name: expected none")
    if "verb=" in parts.query:
        raise UsageError(f"{url[:200]!r}: expected the address without ?verb=...")
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path or '/'}{query}"


class _BusyError(Exception):
    """It may work in *wait_s* seconds; None: it has not said when."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        when = f", and asks to come back in {wait_s:.0f} s" if wait_s else ""
        super().__init__(message + when)
        self.wait_s = wait_s


class OaiClient(AbstractContextManager["OaiClient"]):
    """Asks the repository at *url*; *say* is told when it has to be waited for."""

    def __init__(
        self, url: str, contact: str, *, pause_s: float, say: Callable[[str], None]
    ) -> None:
        self._url = url
        self._pause_s = pause_s
        self._say = say
        self._asked = 0.0
        agent = f"vo-service/{__version__} (registry harvester)"
        if not contact.isascii():
            contact = ""
        self._http = httpx.Client(
            headers={"User-Agent": agent, **({"From": contact} if contact else {})},
            timeout=_PATIENCE, follow_redirects=True, max_redirects=_REDIRECTS,
        )  # fmt: skip

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, arguments: Mapping[str, str]) -> OaiAnswer:
        """The answer to one request, in a file of its own.

        Raises
        ------
        UsageError
            The repository does not give such an answer, and will not.
        TransientError
            It cannot be reached now.
        """
        joint = "&" if "?" in self._url else "?"
        address = f"{self._url}{joint}{urlencode(arguments)}"
        waits = iter(_WAIT_S)
        while True:
            self._pause()
            try:
                return self._get(address)
            except _BusyError as error:
                usual = next(waits, None)
                wait = usual if error.wait_s is None else error.wait_s
                if usual is None or wait is None or wait > _LONGEST_WAIT_S:
                    raise TransientError(f"{self._url} {error}") from error
                self._say(f"{error}; waiting {wait:.0f} s")
                time.sleep(wait)

    def _pause(self) -> None:
        if self._asked:
            time.sleep(max(0.0, self._asked + self._pause_s - time.monotonic()))

    def _get(self, address: str) -> OaiAnswer:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the answer owns it
        try:
            with self._http.stream("GET", address) as response:
                if response.status_code in _BUSY:
                    raise _BusyError(
                        f"answers with status {response.status_code}", _retry_after(response)
                    )
                if response.status_code != 200:
                    raise UsageError(f"{self._url} answers with status {response.status_code}")
                self._save(response, file)
        except BaseException as error:
            file.close()
            match error:
                case httpx.InvalidURL() | httpx.UnsupportedProtocol():
                    raise UsageError(f"{self._url}: {error}") from error
                case httpx.TooManyRedirects():
                    said = f"{self._url} redirects more than {_REDIRECTS} times"
                    raise UsageError(said) from error
                case httpx.TransportError() | httpx.DecodingError():
                    said = str(error) or type(error).__name__
                    raise _BusyError(f"cannot be reached ({said[:200]})") from error
            raise
        finally:
            self._asked = time.monotonic()
        return OaiAnswer(file)

    def _save(self, response: httpx.Response, file: IO[bytes]) -> None:
        size, until = 0, time.monotonic() + _ANSWER_LIMIT_S
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > _BYTES_LIMIT:
                raise TooLargeError(f"{self._url}: an answer has more than {_BYTES_LIMIT} bytes")
            if time.monotonic() > until:
                raise httpx.ReadTimeout(f"an answer took more than {_ANSWER_LIMIT_S:.0f} s")
            file.write(chunk)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds of a Retry-After header, which may be a number or a date."""
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
