"""The `vo-service` command: what an operator does, in the order in which it is done.

An error that a person can mend is one line on standard error and exit status 1; a wrong call
is answered with how to call, and exit status 2.
"""

from __future__ import annotations

import os
import sys

import psycopg
from sqlalchemy.exc import DBAPIError

from vo_service.errors import VOError

__all__ = ["main"]


def main() -> None:
    """Run the command line; the entry point of the package."""
    # Arrow's own pools keep most of what a large answer once took; malloc gives it back. Read
    # when pyarrow is imported.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    # Here, not above: `vo_service.cli` is imported by tests of its parts.
    from vo_service.cli.commands import app  # noqa: PLC0415 - see above

    try:
        app()
    except VOError as error:
        _fail(str(error))
    except UnicodeEncodeError as error:  # an argument that the shell gave as other bytes
        _fail(f"{error.object!r}: expected text in UTF-8")
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except psycopg.Error as error:
        _fail(f"PostgreSQL says: {str(error).strip() or type(error).__name__}")
    except DBAPIError as error:
        _fail(f"PostgreSQL says: {str(error.orig).strip()}")


def _fail(message: str) -> None:
    print(f"vo-service: {message}", file=sys.stderr)
    sys.exit(1)
