"""Provenance as tables for everybody: what was made of what, by which run and code.

The classes and attributes of the Provenance Data Model 1.0 as tables and columns; there is no
IVOA standard for this. The views are in ``schema/sql/0014_provenance.sql``. Times are UTC.
"""

from __future__ import annotations

from vo_service.model.table import Column, ForeignKey, Schema, Table

__all__ = ["PROVENANCE", "PROVENANCE_KEYS"]

_ENTITY = "publisher DID; of an old version, with # and its number"


def _text(
    name: str, description: str, utype: str | None, ucd: str, *, indexed: bool = False
) -> Column:
    return Column(
        name=name, datatype="char", arraysize="*", ucd=ucd, description=description,
        utype=utype and f"voprov:{utype}", principal=True, indexed=indexed,
    )  # fmt: skip


def _time(name: str, description: str, utype: str, ucd: str) -> Column:
    return Column(
        name=name, datatype="char", arraysize="*", xtype="timestamp", ucd=ucd,
        description=description, utype=f"voprov:{utype}", principal=True,
    )  # fmt: skip


def _number(name: str, description: str, ucd: str) -> Column:
    return Column(name=name, datatype="int", ucd=ucd, description=description, principal=True)


def _table(name: str, utype: str | None, description: str, *columns: Column) -> Table:
    full = f"provenance.{name}"
    return Table(
        name=full, relation=full, kind="view", description=description, columns=columns,
        utype=utype and f"voprov:{utype}",
    )  # fmt: skip


_COLLECTION = _text(
    "collection", "Collection, as obs_collection has it", "Collection.id", "meta.id;meta.dataset"
)
_ROLE = "What for: progenitor, calibration, bias, dark or flat"

PROVENANCE = Schema(
    name="provenance",
    description="What files were made of, by which run of which code",
    utype="ivo://ivoa.net/std/ProvenanceDM",
    tables=(
        _table(
            "entity", "Entity", "Files and their old versions; a reduction anew is a new one",
            _text("id", f"Identifier: {_ENTITY}", "Entity.id", "meta.id;meta.main", indexed=True),
            _text("name", "The frame", "Entity.name", "meta.title"),
            _text("location", "Address of the file, if it is public", "Entity.location",
                  "meta.ref.url"),
            _time("generated_at_time", "When the file was made", "Entity.generatedAtTime",
                  "time.creation"),
            _time("invalidated_at_time", "When it was withdrawn or replaced, or expired",
                  "Entity.invalidatedAtTime", "time.end"),
            _COLLECTION,
            _number("version", "Of the file, counted from 1", "meta.version"),
        ),
        _table(
            "activity", "Activity", "Runs of pipelines, each with one version of the code",
            _text("id", "Identifier: collection/run@version", "Activity.id", "meta.id;meta.main",
                  indexed=True),
            _text("name", "The run", "Activity.name", "meta.title"),
            _time("start_time", "When it began", "Activity.startTime", "time.start"),
            _time("end_time", "When it ended", "Activity.endTime", "time.end"),
            _text("comment", "Comment", "Activity.comment", "meta.note"),
            _text("description_name", "The software", "ActivityDescription.name",
                  "meta.software"),
            _text("description_version", "Its version: a release, or a commit of the code",
                  "ActivityDescription.version", "meta.version"),
            _COLLECTION,
        ),
        _table(
            "was_generated_by", "WasGeneratedBy", "Which run made which file",
            _text("entity_id", f"The file: {_ENTITY}", "WasGeneratedBy.entity", "meta.id",
                  indexed=True),
            _text("activity_id", "The run", "WasGeneratedBy.activity", "meta.id", indexed=True),
        ),
        _table(
            "was_derived_from", "Entity.wasDerivedFrom", "Which file was made of which",
            _text("generated_entity_id", f"The file that was made: {_ENTITY}", "Entity.id",
                  "meta.id", indexed=True),
            _text("used_entity_id", "The file that was used; its name, where it is not here",
                  "Entity.wasDerivedFrom", "meta.id", indexed=True),
            _text("role", _ROLE, "Used.role", "meta.code"),
        ),
        _table(
            "used", "Used", "Which run used which file",
            _text("activity_id", "The run", "Activity.id", "meta.id", indexed=True),
            _text("entity_id", "The file; its name, where it is not here", "Used.entity",
                  "meta.id"),
            _text("role", _ROLE, "Used.role", "meta.code"),
        ),
        _table(
            "ancestor", None, "What files were made of, back to the third generation",
            _text("entity_id", f"The file: {_ENTITY}", "Entity.id", "meta.id", indexed=True),
            _text("ancestor_id", "A file that was used; its name, where it is not here",
                  "Entity.wasDerivedFrom", "meta.id"),
            _text("role", _ROLE, "Used.role", "meta.code"),
            _number("generation", "1: used for the file itself; 2: for one of those",
                    "meta.number"),
        ),
    ),
)  # fmt: skip


def _key(number: int, source: str, column: str, target: str) -> ForeignKey:
    return ForeignKey(
        key_id=f"provenance_{number}",
        from_table=f"provenance.{source}",
        target_table=f"provenance.{target}",
        columns=((column, "id"),),
    )


PROVENANCE_KEYS = (
    _key(1, "was_generated_by", "entity_id", "entity"),
    _key(2, "was_generated_by", "activity_id", "activity"),
    _key(3, "was_derived_from", "generated_entity_id", "entity"),
    _key(4, "was_derived_from", "used_entity_id", "entity"),
    _key(5, "used", "activity_id", "activity"),
    _key(6, "used", "entity_id", "entity"),
    _key(7, "ancestor", "entity_id", "entity"),
    _key(8, "ancestor", "ancestor_id", "entity"),
)
