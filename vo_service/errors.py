"""What can go wrong, by kind. No status codes, no SQLSTATEs: the edges translate.

The text of a `VOError` is written for the person who reads it (client or operator) and
may be shown as it is; any other exception is a defect, logged and never shown.
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "ForbiddenError",
    "GoneError",
    "HeaderError",
    "MultiValuedError",
    "NotFoundError",
    "QueryError",
    "TooLargeError",
    "TooManyError",
    "TransientError",
    "UnauthorizedError",
    "UsageError",
    "VOError",
]


class VOError(Exception):
    """Something a reader must be told; the base of all errors of ours."""


class UsageError(VOError):
    """The request is wrong and will stay wrong."""


class MultiValuedError(UsageError):
    """A parameter that may be given once was given again."""


class TooLargeError(UsageError):
    """The request itself is larger than this service takes."""


class QueryError(UsageError):
    """A query text is wrong at a known place.

    Parameters
    ----------
    message
        What is wrong and what was expected.
    line, column
        Place of the first wrong character, both counted from 1.
    """

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {message}")
        self.message = message
        self.line = line
        self.column = column


class NotFoundError(VOError):
    """What was asked for is not here."""


class GoneError(NotFoundError):
    """It was here, and will not come back."""


class ForbiddenError(VOError):
    """It is here, but not for this client now."""


class UnauthorizedError(ForbiddenError):
    """It is here, but not for somebody who has not said (or not rightly) who it is."""


class TransientError(VOError):
    """It failed now and may work later."""


class TooManyError(TransientError):
    """A client asked too often.

    Parameters
    ----------
    message
        What was too often.
    wait_s
        Seconds after which it may ask again.
    """

    def __init__(self, message: str, wait_s: int) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class ConfigError(VOError):
    """A file that an operator wrote is wrong: names file, field and what was expected."""


class HeaderError(VOError):
    """A FITS header cannot be mapped.

    Parameters
    ----------
    reason
        What is wrong, in words.
    hdu
        Number of the HDU, 0 for the primary; None where the file as a whole is meant.
    keyword
        The FITS keyword at fault, where there is one.
    """

    def __init__(self, reason: str, hdu: int | None = None, keyword: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hdu = hdu
        self.keyword = keyword
