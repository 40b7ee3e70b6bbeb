"""Where the database speaks: SQLSTATE to the kind of error a client is told about.

PostgreSQL's own sentence is passed on only for the classes listed here; it never holds the
SQL text. Everything else is a defect of ours: logged by the edge, its text withheld.
"""

from __future__ import annotations

import re

from vo_service.errors import TransientError, UsageError, VOError

__all__ = ["DATABASE_FAULTS", "database_error"]

#: SQLSTATE, or its two-letter class, to the kind of error a client is told about.
DATABASE_FAULTS: dict[str, type[VOError]] = {
    "21": UsageError,  # cardinality violation
    "22": UsageError,  # data exception: division by zero, value out of range
    "54": UsageError,  # program limit exceeded: statement too complex
    "57014": UsageError,  # statement_timeout ran out, or the client left
    "08": TransientError,  # connection lost
    "53": TransientError,  # out of connections, memory or disk
    "57": TransientError,  # shutdown, crash, starting up
    "40": TransientError,  # serialization failure, deadlock
}

#: pgSphere reports bad values as internal errors; these are its own words.
_PGSPHERE = re.compile(r"sphere|spoint|scircle|spoly|sline|radius|polygon|line segment", re.I)


def database_error(sqlstate: str | None, message: str, limit_s: float) -> VOError:
    """The error to raise for a failed statement.

    Parameters
    ----------
    sqlstate, message
        As the driver gives them; the SQL that a driver adds to the message is cut off.
    limit_s
        The statement timeout in force, for the message about it.
    """
    state = sqlstate or ""
    if state == "57014":
        return UsageError(
            f"the query ran longer than the limit of {limit_s:g} s and was stopped; "
            "ask for less, or add a condition on an indexed column"
        )
    found = re.search(r"ERROR:\s+([^\n]+)", message)
    if state == "XX000" and found and _PGSPHERE.search(found[1]):
        return UsageError(f"a geometry cannot be made: {found[1]}")
    kind = DATABASE_FAULTS.get(state) or DATABASE_FAULTS.get(state[:2])
    if kind is None:
        return VOError("the query failed in the database; the operator finds the cause in the log")
    if kind is TransientError:
        return TransientError("the database is not available now; try again in a moment")
    return kind(found[1] if found else "the database refused a value")
