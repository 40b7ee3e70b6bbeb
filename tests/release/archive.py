"""An archive of tiny files, put into the database by hand, for tests of the rules."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psycopg

from vo_service.settings import Settings

__all__ = ["Made", "Product", "archive_at", "make_archive"]


@dataclass(frozen=True)
class Product:
    """A file of eight bytes, and what rules look at."""

    path: str
    night: date | None
    proposal: str | None = None
    instrument: str | None = None
    closed: bool = False


@dataclass(frozen=True)
class Made:
    settings: Settings
    connection: psycopg.Connection[Any]

    def states(self, collection: str = "c") -> dict[str, tuple[str, date | None]]:
        rows = self.connection.execute(
            "SELECT path, state, release_date FROM archive.product WHERE collection = %s",
            (collection,),
        )
        return {path: (state, day) for path, state, day in rows}

    def public(self, collection: str = "c") -> set[str]:
        return {path for path, (state, _) in self.states(collection).items() if state == "public"}

    def linked(self, collection: str = "c") -> set[str]:
        top = self.settings.public / collection
        return {str(file.relative_to(top)) for file in top.rglob("*") if file.is_symlink()}

    def clear(self) -> None:
        """Forget everything."""
        self.connection.execute(
            "TRUNCATE archive.collection, archive.release_run, archive.volume CASCADE"
        )
        shutil.rmtree(self.settings.public, ignore_errors=True)

    def put_list(self, name: str, text: str) -> Path:
        file = self.settings.home / name
        file.write_text(text, "utf-8")
        return file


def archive_at(settings: Settings) -> Made:
    """The archive as its owner sees it; other sessions see each statement at once."""
    url = settings.database_url
    assert url is not None
    return Made(settings, psycopg.connect(url, autocommit=True))


def make_archive(
    made: Made, release: Mapping[str, Any], products: Iterable[Product], collection: str = "c"
) -> None:
    """Add a collection with these products, all of them arrived and none planned."""
    home = made.settings.home
    store = home / "store" / collection
    definition = {"release": release}
    made.connection.execute(
        "INSERT INTO archive.collection (name, title, definition, roots) VALUES (%s, '', %s, %s)",
        (collection, json.dumps(definition, default=str), [str(store)]),
    )
    with made.connection.cursor() as cursor:
        for product in products:
            file = store / product.path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"12345678")
            cursor.execute(
                "INSERT INTO archive.product (collection, path, did, source, size, modified, "
                "media_type, night, proposal_id, instrument, closed, frame_id, headers) "
                "VALUES (%s, %s, %s, %s, 8, now(), 'image/fits', %s, %s, %s, %s, "
                "archive.frame_name(%s), '[]')",
                (
                    collection, product.path, f"ivo://x/{collection}?{product.path}", str(file),
                    product.night, product.proposal, product.instrument, product.closed,
                    product.path,
                ),
            )  # fmt: skip
