"""What the archive holds, for the operator."""

from __future__ import annotations

import psycopg

from vo_service.db.connect import Role, conninfo
from vo_service.db.products import ProductStore, Summary
from vo_service.settings import Settings

__all__ = ["summaries"]


def summaries(settings: Settings) -> list[Summary]:
    """One line a collection."""
    with psycopg.connect(conninfo(settings, Role.WRITER)) as connection:
        return ProductStore(connection).summaries()
