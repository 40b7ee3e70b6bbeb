"""One frame: what the archive knows of a file, and what ObsCore says of its content."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from vo_service.model.provenance import Provenance
from vo_service.model.region import Circle, Polygon

__all__ = ["Frame", "HDUHeader", "Observation", "Product", "Refusal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HDUHeader:
    """One header and where it lies in the (uncompressed) file.

    *cards* are (keyword, value, comment) in file order; a value is str, int, float, bool or
    None (undefined or commentary without text). Offsets and sizes are bytes; None where the
    file is compressed as a whole or only its header is here.
    """

    index: int
    name: str
    kind: str
    cards: tuple[tuple[str, Any, str], ...]
    header_offset: int | None = None
    data_offset: int | None = None
    data_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A file and its way to release (MISSION A1).

    *path* is where the file stands in the public tree, below its collection, with ``/`` and
    without ``..``; *source* is the absolute path of the file itself, None where only the header
    is here; *elsewhere* tells that it is then at the collection's data server. *size* is bytes,
    *modified* UTC. *night* is the civil date on which the night began, *release_date* the first
    day on which the file may be read by everybody, *release_rule* why. *origin* is where it
    came from (MISSION A1). *frame_id* is what the observatory calls the frame, *provenance* what
    its headers say that it was made of, None where the collection does not look.
    """

    collection: str
    path: str
    source: str | None
    size: int
    modified: datetime
    did: str
    media_type: str
    headers: tuple[HDUHeader, ...]
    md5: str | None = None
    md5_given: str | None = None
    night: date | None = None
    release_date: date | None = None
    release_rule: str | None = None
    origin: str | None = None
    frame_id: str | None = None
    proposal_id: str | None = None
    data_typ: str | None = None
    obs_mod: str | None = None
    observer: str | None = None
    object_name: str | None = None
    elsewhere: bool = False
    provenance: Provenance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The ObsCore values of a product; names, units and meaning as in ObsCore 1.1, Table 4.

    Columns that follow from the product or the server (access_url, access_format,
    access_estsize, obs_publisher_did) are not here. *region* is the footprint, from which
    s_region is written; *s_fov* is twice the distance from (s_ra, s_dec) to its farthest
    vertex, so a circle of that diameter holds it.
    """

    obs_collection: str
    obs_id: str
    calib_level: int
    dataproduct_type: str | None = None
    target_name: str | None = None
    s_ra: float | None = None
    s_dec: float | None = None
    s_fov: float | None = None
    region: Polygon | Circle | None = None
    s_resolution: float | None = None
    s_xel1: int | None = None
    s_xel2: int | None = None
    t_min: float | None = None
    t_max: float | None = None
    t_exptime: float | None = None
    t_resolution: float | None = None
    t_xel: int | None = None
    em_min: float | None = None
    em_max: float | None = None
    em_res_power: float | None = None
    em_xel: int | None = None
    o_ucd: str | None = None
    pol_states: str | None = None
    pol_xel: int | None = None
    facility_name: str | None = None
    instrument_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A product with its observation, ready to be stored."""

    product: Product
    observation: Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A file that cannot be mapped, and why (MISSION A9)."""

    collection: str
    source: str
    reason: str
    hdu: int | None = None
    keyword: str | None = None
