"""The database roles of ours, each with the least that it needs."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ADMIN", "Role"]

#: Superuser of the private cluster; makes roles, the database and its extension.
ADMIN = "vo_admin"


class Role(StrEnum):
    """Who connects for what.

    *owner* migrates, *writer* ingests and releases, *reader* may only read published tables
    and runs whatever came from outside; *member* the same for people who are known, with the
    rows of their proposals; *door* asks who somebody is and who may have which file; *jobs*
    keeps the table of asynchronous jobs and reaches nothing else; *upload* makes the tables that
    clients upload, in a schema of their own.
    """

    OWNER = "vo_owner"
    WRITER = "vo_writer"
    READER = "vo_reader"
    MEMBER = "vo_member"
    DOOR = "vo_door"
    JOBS = "vo_jobs"
    UPLOAD = "vo_upload"
