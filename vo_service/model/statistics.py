"""Statistics that everybody may query: what nights brought, what coming weeks will open.

Views over counts that the database keeps (``schema/sql/0007_rules.sql``); frames whose metadata
are closed to the public are not in them. Source: MISSION A1, C8. Volumes are bytes.
"""

from __future__ import annotations

from vo_service.model.table import Column, Schema, Table

__all__ = ["STATISTICS"]


def _text(name: str, ucd: str, description: str, arraysize: str = "*") -> Column:
    return Column(
        name=name, datatype="char", arraysize=arraysize, ucd=ucd, description=description,
        principal=True,
    )  # fmt: skip


def _number(name: str, ucd: str, description: str, unit: str | None = None) -> Column:
    return Column(
        name=name, datatype="long", ucd=ucd, unit=unit, description=description, principal=True
    )


_COLLECTION = _text("collection", "meta.id;meta.dataset", "Collection, as obs_collection has it")

STATISTICS = Schema(
    name="archive_stats",
    description="How much there is and will be: counts by night and by week of release",
    tables=(
        Table(
            name="archive_stats.night",
            relation="archive_stats.night",
            kind="view",
            description="Files and volume by collection, night and instrument",
            columns=(
                _COLLECTION,
                _text(
                    "night", "time.epoch;obs",
                    "Date on which the night began, at the telescope (YYYY-MM-DD)", "10",
                ),
                _text("instrument_name", "meta.id;instr", "Instrument, as in ivoa.obscore"),
                _number("files", "meta.number;meta.file", "Files of the night"),
                _number("volume", "phys.size;meta.file", "Size of these files", "byte"),
                _number("public_files", "meta.number;meta.file", "Those that are public"),
                _number("public_volume", "phys.size;meta.file", "Size of those", "byte"),
            ),
        ),
        Table(
            name="archive_stats.release_week",
            relation="archive_stats.release_week",
            kind="view",
            description="Files and volume that are planned to become public, by week",
            columns=(
                _COLLECTION,
                _text(
                    "week", "time.release", "Monday with which the week begins (YYYY-MM-DD)", "10"
                ),
                _number("files", "meta.number;meta.file", "Files to become public in the week"),
                _number("volume", "phys.size;meta.file", "Size of these files", "byte"),
            ),
        ),
        Table(
            name="archive_stats.download_month",
            relation="archive_stats.download_month",
            kind="view",
            description="Downloads by collection and month (UTC), of days that are over",
            columns=(
                _COLLECTION,
                _text("calendar_month", "time.epoch", "The month (YYYY-MM)", "7"),
                _number(
                    "files", "meta.number;meta.file",
                    "Files sent; a file counts once for each visitor and day",
                ),
                _number("volume", "phys.size;meta.file", "Bytes sent", "byte"),
                _number(
                    "visitor_days", "meta.number",
                    "Visitors; one who comes on several days counts on each",
                ),
            ),
        ),
    ),
)  # fmt: skip
