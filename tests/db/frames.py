"""Frames made by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from vo_service.model.observation import Frame, HDUHeader, Observation, Product

__all__ = ["frame"]


def frame(path: str, **observed: Any) -> Frame:
    """A frame of collection ``c`` with the ObsCore values given."""
    values: dict[str, Any] = {"obs_collection": "c", "obs_id": "1", "calib_level": 1} | observed
    header = HDUHeader(index=0, name="", kind="PRIMARY", cards=(("SIMPLE", True, ""),))
    return Frame(
        product=Product(
            collection="c",
            path=path,
            source=f"/store/{path}",
            size=2880,
            modified=datetime(2020, 1, 1, tzinfo=UTC),
            did=f"ivo://x/c?{path}",
            media_type="image/fits",
            headers=(header,),
            night=date(2020, 1, 1),
            release_date=date(2021, 7, 1),
        ),
        observation=Observation(**values),
    )
