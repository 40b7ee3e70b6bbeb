"""What collection files say of the end of their frames, brought up to date before it is used.

An operator who edits ``withdrawn``, ``lifetime_days`` or ``expired_files`` need not ingest
anything to be heard, as with the rules of release.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import psycopg

from vo_service.db.connect import Role, conninfo
from vo_service.db.rules import RuleStore
from vo_service.db.selection import SelectionStore
from vo_service.db.visibility import place_collection
from vo_service.errors import ConfigError
from vo_service.services.ingest import read_again
from vo_service.settings import Settings

__all__ = ["Policies", "refresh_policies"]

_FIELDS = {"withdrawn", "lifetime_days", "expired_files"}


@dataclass(frozen=True, slots=True)
class Policies:
    """Collections of which it is known what their files say, and what is wrong with the others."""

    known: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def refresh_policies(settings: Settings) -> Policies:
    """Read the files of all collections again; one whose file is gone keeps what it said."""
    policies = Policies()
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as connection:
        store = SelectionStore(connection)
        for collection in RuleStore(connection).registered():
            try:
                found = read_again(settings, collection.name, collection.file)
            except ConfigError as error:
                policies.problems.append(str(error))
                continue
            if found is not None:
                with connection.transaction():
                    policy = found.model_dump(mode="json", include=_FIELDS)
                    if store.set_policy(collection.name, policy):
                        place_collection(connection, collection.name)
            policies.known.append(collection.name)
    return policies
