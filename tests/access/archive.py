"""An archive in which every value of what is closed is a canary, and its twin without that."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from astropy.io import fits

from vo_service.db.connect import Role, conninfo
from vo_service.db.frames import FrameStore
from vo_service.db.schema import upgrade
from vo_service.model.observation import Frame, HDUHeader, Observation, Product
from vo_service.model.region import Circle
from vo_service.services.publication import publish, withdraw
from vo_service.services.setup import initialise
from vo_service.settings import Settings

__all__ = ["CANARIES", "CLOSED", "OPEN", "fill", "frame"]

#: Stand in every closed value: texts hold the word, numbers these digits.
CANARIES = ("canary", "7654321")

#: Path, proposal: frames before release in a collection whose metadata are closed.
CLOSED = {f"canary-{n}.fits": "canary-p1" if n < 3 else "canary-p2" for n in range(4)}

#: Collection, path: public, before release with open metadata, public of the closed collection.
OPEN = [
    *(("open", f"public-{n}.fits") for n in range(4)),
    ("open", "waiting.fits"),
    ("secret", "old.fits"),
]
_OLD, _NEW = date(2000, 1, 1), date(2998, 1, 1)

#: A night is released after 18 months, so daily runs of a worker leave all as it is.
_RELEASE = '"release": {"months": 18}, "withdrawn": "hide"'


def frame(
    home: Path,
    collection: str,
    path: str,
    *,
    proposal: str | None = None,
    old: bool = False,
    **observed: Any,
) -> Frame:
    """A frame whose file is really there, of one row."""
    source = home / "store" / collection / path
    source.parent.mkdir(parents=True, exist_ok=True)
    if not source.exists():
        data = np.full((4, 4), len(path), dtype=np.int16)
        fits.PrimaryHDU(data, fits.Header({"OBJECT": path})).writeto(source)
    header = HDUHeader(index=0, name="", kind="PRIMARY", cards=(("SIMPLE", True, ""),))
    values: dict[str, Any] = {"obs_collection": collection, "obs_id": path, "calib_level": 1}
    return Frame(
        product=Product(
            collection=collection,
            path=path,
            source=str(source),
            size=source.stat().st_size,
            modified=datetime.fromtimestamp(source.stat().st_mtime, UTC),
            did=f"ivo://x/{collection}?{path}",
            media_type="image/fits",
            headers=(header,),
            night=_OLD if old else _NEW,
            release_date=date(2001, 7, 1) if old else date(2999, 7, 1),
            proposal_id=proposal,
        ),
        observation=Observation(**(values | observed)),
    )


def _canary(home: Path, number: int, path: str, proposal: str) -> Frame:
    ra, dec = 10.07654321 + number, 20.07654321
    values: dict[str, Any] = {
        "obs_id": f"canary-{number}", "target_name": "canary", "dataproduct_type": "canary",
        "o_ucd": "canary", "pol_states": "canary", "facility_name": "canary",
        "instrument_name": "canary", "s_ra": ra, "s_dec": dec, "s_fov": 7.654321,
        "region": Circle(ra, dec, 7.654321 / 2),
    }  # fmt: skip
    numbers = ("s_resolution", "t_min", "t_max", "t_exptime", "t_resolution", "em_min", "em_max")
    values |= dict.fromkeys((*numbers, "em_res_power"), 7654321.0)
    values |= dict.fromkeys(("s_xel1", "s_xel2", "t_xel", "em_xel", "pol_xel"), 7654321)
    # A division by zero that only a closed row would cause.
    values["calib_level"] = 3
    return frame(home, "secret", path, proposal=proposal, **values)


def fill(url: str, home: Path, *, closed: bool, **chosen: Any) -> Settings:
    """Make the archive in an empty database, with or without what is closed."""
    initialise(home)
    settings = Settings(home=home, database_url=url, **chosen)
    upgrade(settings)
    _keep_autovacuum_away(url)
    with psycopg.connect(conninfo(settings, Role.WRITER), autocommit=True) as writer:
        store = FrameStore(writer)
        store.register("open", "Open", "", f'{{"metadata": "open", {_RELEASE}}}')
        store.register("secret", "Secret", "", f'{{"metadata": "closed", {_RELEASE}}}')
        for name in ("open", "secret"):
            store.add_roots(name, [str(home / "store" / name)])
        ids = {}
        for number, (collection, path) in enumerate(OPEN):
            proposal = "p1" if path == "waiting.fits" else None
            ra, dec = 10.0 + number / 4, 20.0
            made = frame(
                home, collection, path, proposal=proposal, calib_level=number % 2 + 1,
                dataproduct_type="image", target_name=f"star {number}", s_ra=ra, s_dec=dec,
                s_fov=1.0, region=Circle(ra, dec, 0.5), t_min=60000.0 + number,
                old=path != "waiting.fits",
            )  # fmt: skip
            assert store.store([made])[1] == []
            ids[path] = _number(writer, path)
        done = publish(
            settings, [ids[p] for _, p in OPEN if p != "waiting.fits"], rule="test", actor="test"
        )
        assert (done.count, done.problems) == (5, [])
        if closed:
            canaries = [_canary(home, n, *pair) for n, pair in enumerate(CLOSED.items())]
            assert store.store(canaries)[1] == []
            gone = frame(home, "open", "canary-gone.fits", proposal="p1", s_ra=11.07654321,
                         s_dec=20.0, target_name="canary", t_min=7654321.0)  # fmt: skip
            assert store.store([gone])[1] == []
            withdraw(
                settings, [_number(writer, "canary-gone.fits")], rule="test", actor="test",
                reason="a test",
            )  # fmt: skip
    with psycopg.connect(url, autocommit=True) as admin:
        # Rows in one order, and counted at one moment: twins whatever was written how often.
        for table in ("schemas", "tables", "columns", "keys", "key_columns"):
            admin.execute(f"CLUSTER tap_schema.{table} USING {table}_pkey".encode())
        admin.execute("VACUUM ANALYZE")
    return settings


def _keep_autovacuum_away(url: str) -> None:
    """It would come to one twin and not to the other, and change what the planner counts on."""
    with psycopg.connect(url, autocommit=True) as admin:
        tables = admin.execute(
            "SELECT oid::regclass::text FROM pg_class "
            "WHERE relkind IN ('r', 'm') AND relnamespace IN ('archive'::regnamespace, "
            "'tap_schema'::regnamespace, 'ivoa'::regnamespace)"
        ).fetchall()
        for (table,) in tables:
            admin.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)".encode())


def _number(writer: psycopg.Connection[Any], path: str) -> int:
    rows = writer.execute("SELECT product_id FROM archive.product WHERE path = %s", (path,))
    return int(next(rows)[0])
